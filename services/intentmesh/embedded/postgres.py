"""PostgreSQL 18 from a Python package: a whole server in one folder, reachable by TCP on 127.0.0.1 with a password.

The folder holds `data/` (the cluster), and the passwords of two roles: the superuser, used here only to make
databases, and `intentmesh`, which owns them and is what the mesh connects as. fsync stays on: what was committed is
there after any kill. The server's shared memory lies in files of the cluster, so a kill leaves nothing in /dev/shm.
"""

import asyncio
import re
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NewType

import asyncpg

from intentmesh.embedded.account import Account, unprivileged_account
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import PartFailedError
from intentmesh.embedded.ports import LOOPBACK
from intentmesh.embedded.process import ChildProcess, ProcessSpec
from intentmesh.embedded.programs import postgres_program
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.shared_memory import remove_left_behind
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

Dsn = NewType("Dsn", str)

SUPERUSER = "postgres"
CHECKPOINT_TIMEOUT_S = 600.0
OWNER = "intentmesh"
CONNECT_TIMEOUT_S = 2.0
INITDB_DEADLINE_S = 60.0
# PostgreSQL's own limit of names is 63 bytes; what passes here never needs quoting.
_DATABASE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresServer(ServerPart):
    """One PostgreSQL server. `port` 0 takes a free one.

    Raises UnsuitableAccountError on start when it cannot be run by anybody but root.
    """

    def __init__(
        self,
        folder: DataFolder,
        *,
        port: int = 0,
        max_connections: int = 200,
        restart: RestartPolicy | None = None,
        name: str = "postgres",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, port)
        self._folder = folder
        # On top of ours: sizes of memory and of the log, for whoever knows the machine.
        self._settings = dict(settings or {})
        self._max_connections = max_connections
        self._restart = restart
        self._passwords: dict[str, str] = {}

    def dsn(self, database: str) -> Dsn:
        """How the mesh connects to a database."""
        return self._dsn(OWNER, database)

    async def _make_process(self) -> SupervisedProcess:
        folder = self._folder.part_folder(self.name)
        programs = (postgres_program("postgres"), postgres_program("initdb"))
        account = unprivileged_account(folder, programs)
        await asyncio.to_thread(self._prepare_folder, folder, account)
        if not (folder / "data").exists():
            await self._initialise(folder, account)
        spec = self._server_spec(folder / "data", account)
        return SupervisedProcess(spec, self._answers, ready_within_s=60.0, restart=self._restart)

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            await remove_left_behind(self._folder.path / self.name / "data")

    async def create_database(self, name: str) -> Dsn:
        """Make a database owned by the role of the mesh, unless it is there; returns how to connect to it.

        Raises ValueError for a name that is not lower-case letters, digits and underscores.
        """
        connection = await self._connect_as_superuser()
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", checked_name(name)):
                await connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        except asyncpg.DuplicateDatabaseError:
            # Somebody made it between our two statements: that is what was wanted.
            pass
        finally:
            await connection.close()
        return self.dsn(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database, ending its connections, if it is there. Raises ValueError like `create_database`."""
        connection = await self._connect_as_superuser()
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {checked_name(name)} WITH (FORCE)")
        finally:
            await connection.close()

    async def checkpoint(self) -> None:
        """Write out what is only in memory and in the log, so that what follows starts from a quiet server."""
        connection = await self._connect_as_superuser()
        try:
            await connection.execute("CHECKPOINT", timeout=CHECKPOINT_TIMEOUT_S)
        finally:
            await connection.close()

    def _prepare_folder(self, folder: Path, account: Account | None) -> None:
        folder.chmod(0o700)
        # Left by a run that was killed while it made the cluster.
        shutil.rmtree(folder / "data.new", ignore_errors=True)
        for role in (SUPERUSER, OWNER):
            file = folder / f"{role}.password"
            if not file.exists():
                fresh = file.with_suffix(".new")
                fresh.touch(mode=0o600)
                fresh.write_text(secrets.token_hex(24), encoding="ascii")
                fresh.replace(file)
            self._passwords[role] = file.read_text(encoding="ascii").strip()
        if account is not None:
            account.take(folder, *folder.glob("*.password"))

    async def _initialise(self, folder: Path, account: Account | None) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        fresh = folder / "data.new"
        command = (
            *(str(postgres_program("initdb")), "-D", str(fresh), "-U", SUPERUSER, "--no-instructions"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={folder / f'{SUPERUSER}.password'}"),
        )
        log_file = self._folder.log_file(f"{self.name}-initdb")
        child = ChildProcess.spawn(ProcessSpec(f"{self.name}-initdb", command, log_file, account=account))
        try:
            async with asyncio.timeout(INITDB_DEADLINE_S):
                code = await child.exited()
        except TimeoutError:
            raise PartFailedError(self.name, "could not be initialised in time", log_file, child.log_tail()) from None
        finally:
            await child.stop()
        if code != 0:
            raise PartFailedError(self.name, f"could not be initialised (exit {code})", log_file, child.log_tail())
        fresh.rename(folder / "data")

    def _server_spec(self, cluster: Path, account: Account | None) -> ProcessSpec:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self._max_connections,
            "dynamic_shared_memory_type": "mmap",
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
            **self._settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return ProcessSpec(
            name=self.name,
            command=(str(postgres_program("postgres")), "-D", str(cluster), *options),
            log_file=self._folder.log_file(self.name),
            account=account,
            # The "fast" shutdown: ends connections, checkpoints, removes shared memory. SIGTERM would wait for clients.
            stop_signal=signal.SIGINT,
            parent_death_signal=signal.SIGINT,
            stop_grace_s=30.0,
        )

    async def _answers(self) -> bool:
        try:
            connection = await self._connect_as_superuser()
        except asyncpg.CannotConnectNowError:
            return False
        await connection.close()
        return True

    async def _on_ready(self) -> None:
        connection = await self._connect_as_superuser()
        try:
            # A role's name and password are not parameters of these statements; both are ours and need no quoting.
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", OWNER):
                await connection.execute(f"CREATE ROLE {OWNER}")
            await connection.execute(f"ALTER ROLE {OWNER} LOGIN PASSWORD '{self._passwords[OWNER]}'")
        finally:
            await connection.close()

    async def _connect_as_superuser(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(self._dsn(SUPERUSER, "postgres"), timeout=CONNECT_TIMEOUT_S, ssl=False)

    def _dsn(self, role: str, database: str) -> Dsn:
        return Dsn(f"postgresql://{role}:{self._passwords[role]}@{LOOPBACK}:{self.port}/{database}")


def checked_name(name: str) -> str:
    """The name, when it can stand in a statement without quotes; else raises ValueError."""
    if not _DATABASE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a database name: lower-case letters, digits and underscores, at most 63")
    return name
