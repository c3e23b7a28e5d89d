"""One folder holds everything an embedded mesh keeps; one process works in it at a time."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from intentmesh.embedded.errors import DataFolderInUseError


class DataFolder:
    """The folder of one embedded mesh: `logs/NAME.log`, one sub-folder per part, and a lock.

    As a context manager it holds the lock. The lock belongs to the open file, so it is gone with the process however
    that ends. Raises DataFolderInUseError on entry when another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock_descriptor: int | None = None

    def log_file(self, part_name: str) -> Path:
        """Where a part's output goes; the folder exists afterwards."""
        folder = self.path / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{part_name}.log"

    def part_folder(self, part_name: str) -> Path:
        """The folder of one part, made when it is not there."""
        folder = self.path / part_name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        lock_file = self.path / "lock"
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            holder = lock_file.read_text(encoding="ascii", errors="replace").strip()
            raise DataFolderInUseError(self.path, holder) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()}\n".encode("ascii"))
        self._lock_descriptor = descriptor
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._lock_descriptor is not None:
            # The file stays: removing a lock file lets two processes hold "the" lock on two different files.
            os.close(self._lock_descriptor)
            self._lock_descriptor = None
