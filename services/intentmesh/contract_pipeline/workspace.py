"""Where the contracts, their builds and the programs that judge them are; and copies of it all to try things in."""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from intentmesh.contract_pipeline.errors import ToolFailedError, ToolMissingError, ToolTimedOutError

_NPM_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SHOWN_OUTPUT_CHARACTERS = 2_000
# What a copy needs to compile and run the tests. Libraries are linked, not copied.
_COPIED = ("src", "test", "tools", "foundry.toml", "package.json")
_LINKED = ("node_modules",)
# Below `build/`: what the tests read and no build of ours makes, and all there is.
_FOREIGN_BUILDS = ("contracts/Permit2.sol",)
_BUILDS = ("contracts", "forge-cache", "formal", "formal-cache")

# Only types and interfaces are declared there.
_DECLARATIONS = ("types", "interfaces")
# Variables that say how forge runs. A shell's would change what a gate promises; each gate passes its own.
_FORGE_SETTINGS = ("FOUNDRY_", "DAPP_")


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def tail(self) -> str:
        """The end of everything it wrote, for a message."""
        return (self.output + self.errors).strip()[-_SHOWN_OUTPUT_CHARACTERS:]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder laid out like the repository: `contracts/`, `build/`, `tests/golden/`.

    `tools` is the repository itself, also for a copy: programs are installed once.
    """

    root: Path
    tools: Path

    @classmethod
    def of(cls, repository: Path) -> "Workspace":
        return cls(repository, repository)

    @property
    def contracts(self) -> Path:
        return self.root / "contracts"

    @property
    def artifacts(self) -> Path:
        return self.root / "build" / "contracts"

    def copy(self, to: Path, *, with_build: bool = False) -> "Workspace":
        """The same sources and libraries in an empty folder: there a change harms nobody.

        `with_build` takes along what is compiled, so that only what is changed compiles again.
        """
        (to / "contracts").mkdir(parents=True)
        for name in _COPIED:
            source = self.contracts / name
            if source.is_dir():
                shutil.copytree(source, to / "contracts" / name)
            else:
                shutil.copy2(source, to / "contracts" / name)
        for name in _LINKED:
            (to / "contracts" / name).symlink_to(self.contracts.resolve() / name)
        golden = self.root / "tests" / "golden"
        if golden.is_dir():
            shutil.copytree(golden, to / "tests" / "golden")
        for name in _BUILDS if with_build else _FOREIGN_BUILDS:
            if (self.root / "build" / name).is_dir():
                shutil.copytree(self.root / "build" / name, to / "build" / name)
        return Workspace(to, self.tools)

    def sources(self) -> list[str]:
        """Files of `contracts/src/` with code in them, relative to it."""
        folder = self.contracts / "src"
        files = [file.relative_to(folder) for file in sorted(folder.rglob("*.sol"))]
        return [file.as_posix() for file in files if file.parts[0] not in _DECLARATIONS]

    def forge(self) -> Path:
        """Raises ToolMissingError."""
        architecture = _NPM_ARCHITECTURES.get(platform.machine(), platform.machine())
        modules = self.tools / "contracts" / "node_modules" / "@foundry-rs"
        return _program("forge", modules / f"forge-linux-{architecture}" / "bin" / "forge", "make contracts")

    def slither(self) -> Path:
        """Raises ToolMissingError."""
        return _program("slither", self.tools / ".envs" / "slither" / "bin" / "slither", "make audit-tools")

    def halmos(self) -> Path:
        """Raises ToolMissingError."""
        return _program("halmos", self.tools / ".envs" / "halmos" / "bin" / "halmos", "make audit-tools")

    def tool_versions(self) -> dict[str, str]:
        """What builds and judges, for a record; a tool that is not there has judged nothing.

        Raises ToolMissingError for the compiler's, ToolFailedError.
        """
        programs = [self.contracts / "tools" / "solc", self.forge()]
        for judge in (self.slither, self.halmos):
            with contextlib.suppress(ToolMissingError):
                programs.append(judge())
        return {program.name: self._version(program) for program in programs}

    def _version(self, program: Path) -> str:
        """The line that holds a number."""
        lines = self.run(program, ("--version",), timeout_seconds=60).tail.splitlines()
        return next((line for line in lines if any(character.isdigit() for character in line)), "unknown")

    def run(
        self,
        program: Path,
        arguments: Sequence[str],
        *,
        timeout_seconds: float,
        environment: Mapping[str, str] | None = None,
        given: str | None = None,
    ) -> Completed:
        """Runs a program in `contracts/`, with forge on its PATH, none of the caller's settings for forge, and `given`
        as its input. Whatever it started ends with it.

        Raises ToolFailedError when it cannot be started, ToolTimedOutError when it takes too long.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FORGE_SETTINGS)}
        variables = {**inherited, "NO_COLOR": "1", "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1", **(environment or {})}
        variables["PATH"] = f"{self.forge().parent}{os.pathsep}{variables.get('PATH', '')}"
        try:
            process = subprocess.Popen(
                [str(program), *arguments],
                cwd=self.contracts,
                env=variables,
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailedError(f"{program} cannot be started: {error.strerror}") from error
        try:
            output, errors = process.communicate(given, timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ToolTimedOutError(f"{program.name} did not end within {timeout_seconds:.0f} s") from None
        finally:
            _end_group(process)
        return Completed(process.returncode, output, errors)


def _end_group(process: subprocess.Popen[str]) -> None:
    """Solvers that a tool left running would outlive it. Its group's number is not reused while we have not waited."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.communicate()


def _program(name: str, packaged: Path, remedy: str) -> Path:
    if packaged.is_file():
        return packaged
    found = shutil.which(name)
    if found is None:
        raise ToolMissingError(f"{name} was not found: run `{remedy}`")
    return Path(found)
