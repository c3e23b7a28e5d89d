"""Envoy from a Python package: the gateway in front of the services of this machine."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import InvalidConfigurationError, PartFailedError
from intentmesh.embedded.gateway_config import DEFAULT_TEMPLATE, Endpoint, GatewayConfig, PublicService
from intentmesh.embedded.ports import LOOPBACK, Port
from intentmesh.embedded.probes import http_ok
from intentmesh.embedded.process import ChildProcess, ProcessSpec
from intentmesh.embedded.programs import envoy_program
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

VALIDATION_DEADLINE_S = 20.0


class EnvoyGateway(ServerPart):
    """The gateway. `upstreams` gives "host:port" of every replica of every public service; `port` 0 takes a free one.

    `settings` overrides fields of GatewayConfig other than addresses and ports. Raises InvalidConfigurationError on
    start, with Envoy's own words, when it refuses the configuration.
    """

    def __init__(
        self,
        folder: DataFolder,
        upstreams: Mapping[PublicService, Sequence[str]],
        *,
        port: int = 0,
        settings: Mapping[str, object] | None = None,
        template: Path = DEFAULT_TEMPLATE,
        threads: int = 2,
        restart: RestartPolicy | None = None,
        name: str = "envoy",
    ) -> None:
        super().__init__(name, port)
        self._folder = folder
        self._upstreams = upstreams
        self._settings = dict(settings or {})
        self._template = template
        self._threads = threads
        self._restart = restart
        self._metrics_port: Port | None = None
        self._admin_port: Port | None = None

    @property
    def address(self) -> str:
        """host:port of the gateway; only after `start`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes the gateway; only after `start`."""
        return f"http://{LOOPBACK}:{_assigned(self._metrics_port)}/metrics"

    @property
    def admin_port(self) -> Port:
        """The admin interface on 127.0.0.1; only after `start`."""
        return _assigned(self._admin_port)

    async def _make_process(self) -> SupervisedProcess:
        self._admin_port, self._metrics_port = self._reserve(0), self._reserve(0)
        file = self._folder.part_folder(self.name) / "envoy.yaml"
        file.write_text(self._config().render(self._template), encoding="utf-8")
        await self._validate(file)
        spec = ProcessSpec(
            name=self.name,
            # Hot restart would take a name in shared memory that only one Envoy of a machine can have.
            command=(
                *(str(envoy_program()), "-c", str(file), "--disable-hot-restart"),
                *("--concurrency", str(self._threads), "--log-level", "warning"),
            ),
            log_file=self._folder.log_file(self.name),
        )
        return SupervisedProcess(spec, http_ok(_assigned(self._admin_port), "/ready"), restart=self._restart)

    def _config(self) -> GatewayConfig:
        upstreams = {
            service: [Endpoint.parse(address) for address in addresses]
            for service, addresses in self._upstreams.items()
        }
        addresses = {"listen_port": self.port, "admin_port": self._admin_port, "metrics_port": self._metrics_port}
        try:
            return GatewayConfig.model_validate({**self._settings, **addresses, "upstreams": upstreams})
        except ValidationError as error:
            raise InvalidConfigurationError(f"the gateway cannot be configured so: {error}") from error

    async def _validate(self, file: Path) -> None:
        command = (str(envoy_program()), "--mode", "validate", "-c", str(file), "--log-level", "warning")
        log_file = self._folder.log_file(f"{self.name}-validate")
        child = ChildProcess.spawn(ProcessSpec(f"{self.name}-validate", command, log_file))
        try:
            async with asyncio.timeout(VALIDATION_DEADLINE_S):
                code = await child.exited()
        except TimeoutError:
            raise PartFailedError(self.name, "did not read its configuration", log_file, child.log_tail()) from None
        finally:
            await child.stop()
        if code != 0:
            raise InvalidConfigurationError(f"Envoy refuses {file}:\n{child.log_tail()}")


def _assigned(port: Port | None) -> Port:
    if port is None:
        raise RuntimeError("the gateway is not started")
    return port
