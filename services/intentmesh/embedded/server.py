"""What the parts that are one server process have in common: a reserved port, a supervised process, a careful start."""

from abc import abstractmethod

from intentmesh.embedded.errors import PartFailedError
from intentmesh.embedded.parts import Part
from intentmesh.embedded.ports import Port, PortReservation
from intentmesh.embedded.supervision import SupervisedProcess


class ServerPart(Part):
    """One server process of 127.0.0.1. `port` 0 takes a free one, anew on each start."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._wanted_port = port
        self._reservations: list[PortReservation] = []
        self._port: Port | None = None
        self._process: SupervisedProcess | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> Port:
        """Where it listens; only between `start` and `stop`."""
        if self._port is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._port

    @property
    def process(self) -> SupervisedProcess:
        """The server's process; only between `start` and `stop`."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not started")
        return self._process

    async def start(self) -> None:
        """Raises PortInUseError, ProgramNotFoundError, PartFailedError, and what the part's own class names."""
        if self._port is not None:
            raise RuntimeError(f"{self.name} is already started")
        try:
            self._port = self._reserve(self._wanted_port)
            self._process = await self._make_process()
            await self._process.start()
            await self._on_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        process, self._process = self._process, None
        try:
            if process is not None:
                await process.stop()
        finally:
            while self._reservations:
                self._reservations.pop().release()
            self._port = None

    async def failed(self) -> PartFailedError:
        return await self.process.failed()

    @abstractmethod
    async def _make_process(self) -> SupervisedProcess:
        """Prepare everything for the process, `port` being reserved; `start` starts it."""

    async def _on_ready(self) -> None:
        """What is left to do when the process answers."""
        return

    def _reserve(self, port: int) -> Port:
        """Reserve another port until the part stops."""
        reservation = PortReservation(port)
        self._reservations.append(reservation)
        return reservation.port
