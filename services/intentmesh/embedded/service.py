"""One service of the mesh as a child process, run as its container would run it: `intentmesh serve NAME`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.ports import LOOPBACK, Port, PortReservation
from intentmesh.embedded.probes import grpc_serving
from intentmesh.embedded.process import ProcessSpec
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

# Longer than the services' own grace: a drain is never cut short from here.
STOP_GRACE_S = 30.0


class ServiceProcess(ServerPart):
    """One replica of one service; `settings` are its INTENTMESH_… variables without the prefix.

    Ready when its gRPC health says SERVING.
    """

    def __init__(
        self,
        folder: DataFolder,
        service: str,
        settings: Mapping[str, str],
        *,
        name: str | None = None,
        restart: RestartPolicy | None = None,
    ) -> None:
        # Chosen now and not at the start, because others are told the address in their settings.
        self._address = PortReservation()
        super().__init__(name or service, self._address.port)
        self._folder = folder
        self._service = service
        self._settings = settings
        self._restart = restart
        self._metrics_port = Port(0)

    @property
    def service(self) -> str:
        """Which service it is a replica of."""
        return self._service

    @property
    def address(self) -> str:
        """host:port of its gRPC server; known before the start."""
        return self._address.address

    def configure(self, settings: Mapping[str, str]) -> None:
        """Replace the settings, for a service that is told its own address."""
        self._settings = settings

    async def stop(self) -> None:
        await super().stop()
        self._address.release()

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes it; only after `start`."""
        return f"http://{LOOPBACK}:{self._metrics_port}/metrics"

    async def _make_process(self) -> SupervisedProcess:
        self._metrics_port = self._reserve(0)
        settings = {
            "listen": self.address,
            "metrics_listen": f"{LOOPBACK}:{self._metrics_port}",
            **self._settings,
        }
        spec = ProcessSpec(
            name=self.name,
            command=(sys.executable, "-m", "intentmesh.cli.main", "serve", self._service),
            log_file=self._folder.log_file(self.name),
            environment={f"INTENTMESH_{key.upper()}": value for key, value in settings.items()},
            working_folder=Path(self._folder.path),
            stop_grace_s=STOP_GRACE_S,
        )
        return SupervisedProcess(spec, grpc_serving(self.address), ready_within_s=60.0, restart=self._restart)
