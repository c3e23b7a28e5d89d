"""Where the doors are on the mesh under attack, and what its callers show to be believed."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER

from tests.fuzz.inputs import Metadata
from tests.fuzz.surface import Door

CHANNELS_PER_DOOR = 3
_OPTIONS = [
    # The fuzzer is the one who must not be the limit.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 * 1024 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Also how long connecting may take, and a busy machine takes its time.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A connection of its own for every channel.
    ("grpc.use_local_subchannel_pool", 1),
]


class Doors:
    """Open channels to every server of a mesh. Use as an asynchronous context manager."""

    def __init__(self, data_dir: Path) -> None:
        endpoints = json.loads((data_dir / "endpoints.json").read_text(encoding="utf-8"))
        services = endpoints["services"]
        first, *rest = services["attesters"]
        self.addresses: dict[Door, str] = {
            Door.GATEWAY: endpoints["gateway"],
            Door.INTAKE: services["intake"],
            Door.SOLVER_REGISTRY: services["solver_registry"],
            Door.EXECUTOR: services["executor"],
            Door.STATUS: services["status"],
            Door.SOLVER: services["solver"],
            Door.ATTESTER_1: first,
            Door.ATTESTER_2: rest[0] if rest else first,
        }
        self.metrics: dict[str, str] = endpoints["metrics"]
        self.solver_address: str = next(one["address"] for one in endpoints["accounts"] if one["role"] == "solver")
        self._token = (data_dir / "keys" / "internal.token").read_text(encoding="ascii").strip()
        self._channels: dict[Door, list[grpc.aio.Channel]] = {}
        self._turn = 0

    async def __aenter__(self) -> Self:
        for door, address in self.addresses.items():
            self._channels[door] = [
                grpc.aio.insecure_channel(f"ipv4:{address}", options=_OPTIONS) for _ in range(CHANNELS_PER_DOOR + 1)
            ]
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for channels in self._channels.values():
            for channel in channels:
                await channel.close()

    def channel(self, door: Door, *, doomed: bool = False) -> grpc.aio.Channel:
        """One of the door's channels, in turn. `doomed` calls, which may end a connection, have their own."""
        channels = self._channels[door]
        if doomed:
            return channels[-1]
        self._turn += 1
        return channels[self._turn % CHANNELS_PER_DOOR]

    def identity(self, principal: str) -> Metadata:
        """What makes a server believe that this principal calls; nothing for an empty one."""
        return ((PRINCIPAL_HEADER, principal), (TOKEN_HEADER, self._token)) if principal else ()
