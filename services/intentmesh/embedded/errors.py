"""What can go wrong with an embedded part.

EmbeddedError
├── DataFolderInUseError       another process works in the same data folder
├── PortInUseError             a fixed port is taken by somebody else
├── ProgramNotFoundError       a program that a package should have brought is not there
├── UnsuitableAccountError     a program refuses to run as root and there is nobody to run it as
├── InvalidConfigurationError  a part refused the configuration that was made for it
├── DamagedStateError          what an earlier run left in the data folder cannot be read
└── PartFailedError            a child process is not running and will not be started again
    ├── ExitedTooEarlyError    it ended before it was ready
    ├── NotReadyInTimeError    it runs, but it was not ready in time
    └── GaveUpError            it died again and again
"""

from pathlib import Path


class EmbeddedError(Exception):
    """An embedded part cannot do what was asked. The message tells a person what to do next."""


class DataFolderInUseError(EmbeddedError):
    """Another process holds the lock of the data folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"{folder} is in use by {holder or 'another process'}: stop that mesh or choose another folder"
        )
        self.folder = folder


class PortInUseError(EmbeddedError):
    """Somebody else listens on a port that was asked for by number."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is in use: free it or choose another (0 takes a free one)")
        self.port = port


class ProgramNotFoundError(EmbeddedError):
    """A program is not where the package that ships it puts it."""

    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} was not found: {remedy}")
        self.program = program


class UnsuitableAccountError(EmbeddedError):
    """A program refuses to run as root and no unprivileged account can stand in."""


class InvalidConfigurationError(EmbeddedError):
    """A program refused its configuration; the message holds what it said."""


class DamagedStateError(EmbeddedError):
    """A file left by an earlier run cannot be read, and neither can its spare copy."""


class PartFailedError(EmbeddedError):
    """A child process is not running and will not be started again. The message ends with the tail of its log."""

    def __init__(self, name: str, what_happened: str, log_file: Path, log_tail: str) -> None:
        shown = log_tail.rstrip() or "(it wrote nothing)"
        super().__init__(f"{name} {what_happened}; the end of {log_file}:\n{shown}")
        self.name = name
        self.log_tail = log_tail


class ExitedTooEarlyError(PartFailedError):
    """The process ended before it was ready."""


class NotReadyInTimeError(PartFailedError):
    """The process runs but did not become ready within its time."""


class GaveUpError(PartFailedError):
    """The process died more often in a row than its restart policy allows."""
