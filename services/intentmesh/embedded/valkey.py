"""Valkey from a Python package: one server on 127.0.0.1 with a password, for what the mesh may lose."""

import secrets
from pathlib import Path
from typing import NewType

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.ports import LOOPBACK
from intentmesh.embedded.process import ProcessSpec
from intentmesh.embedded.programs import valkey_program
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

ValkeyUrl = NewType("ValkeyUrl", str)

DEFAULT_MEMORY_MB = 256


class ValkeyServer(ServerPart):
    """One Valkey server. `port` 0 takes a free one.

    Its contents are written down on stop and once a minute, so a second start continues where it was; the last minute
    before a kill is lost. When its memory is full the keys used least go first: nothing in it is the only copy.
    """

    def __init__(
        self,
        folder: DataFolder,
        *,
        port: int = 0,
        memory_mb: int = DEFAULT_MEMORY_MB,
        restart: RestartPolicy | None = None,
        name: str = "valkey",
    ) -> None:
        super().__init__(name, port)
        self._folder = folder
        self._memory_mb = memory_mb
        self._restart = restart
        # A new one for every run: clients learn it from us, and a leftover file tells nothing.
        self._password = secrets.token_hex(24)

    @property
    def url(self) -> ValkeyUrl:
        """How to connect; only after `start`."""
        return ValkeyUrl(f"redis://:{self._password}@{LOOPBACK}:{self.port}/0")

    async def _make_process(self) -> SupervisedProcess:
        configuration = self._write_configuration(self._folder.part_folder(self.name))
        spec = ProcessSpec(
            name=self.name,
            command=(str(valkey_program()), str(configuration)),
            log_file=self._folder.log_file(self.name),
        )
        return SupervisedProcess(spec, self._answers, restart=self._restart)

    def _write_configuration(self, folder: Path) -> Path:
        """A file and not arguments: arguments, and so the password, can be read by everybody on the machine."""
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self._password,
            "dir": f'"{folder}"',
            "save": "60 1",
            "appendonly": "no",
            "maxmemory": f"{self._memory_mb}mb",
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
        }
        file = folder / "valkey.conf"
        file.touch(mode=0o600)
        file.write_text("".join(f"{key} {value}\n" for key, value in settings.items()), encoding="utf-8")
        return file

    async def _answers(self) -> bool:
        # Its caller tries again, and knows when the process has died meanwhile.
        async with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(await client.ping())
            except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                return False
