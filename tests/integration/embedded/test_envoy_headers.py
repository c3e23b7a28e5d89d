"""One caller's broken headers must not harm the others whose calls share the gateway's connections to a service.

A grpc server that finds a header's value malformed remembers the failure for the rest of the connection: every later
call that names the same header fails as well (grpc issue 34721). The gateway's connections carry everybody's calls.
"""

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest
from intentmesh.embedded.gateway_config import PublicService

from tests.fuzz.frames import send_frames
from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.surface import Door
from tests.integration.embedded.test_envoy import FRAME, GET_STATUS, running_mesh

WATCH = "/intentmesh.v1.StatusService/WatchIntent"
SUBMIT_MANY = "/intentmesh.v1.IntakeService/SubmitIntents"
# The gateway has several connections to each service; which one a call takes is chance.
ATTEMPTS = 12
POISONS = (
    ("grpc-timeout", "1x"),
    ("grpc-timeout", ""),
    ("grpc-timeout", "999999999S"),
    ("grpc-timeout", "-1S"),
    ("grpc-encoding", "zstd"),
    ("grpc-encoding", ""),
    ("grpc-encoding", "gzip,gzip"),
    ("grpc-internal-encoding-request", "zip"),
    ("grpc-previous-rpc-attempts", "x"),
    ("grpc-retry-pushback-ms", "x"),
    ("grpc-status", "x"),
    ("grpc-trace-bin", "!!!"),
    ("x-anything-bin", "!!!"),
    ("te", "gzip"),
    (":method", "HEAD"),
    (":method", "XXX"),  # no method of HTTP
    (":scheme", "ftp"),
)
# What these calls share with a poisoned one is the header's name.
_INNOCENT_VALUES: dict[str, str | bytes] = {
    "grpc-previous-rpc-attempts": "1",
    "grpc-retry-pushback-ms": "1",
    "grpc-status": "0",
    "grpc-trace-bin": b"trace",
    "x-anything-bin": b"any",
}


async def test_headers__broken_by_one_caller__harm_no_other(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        harmed: list[str] = []
        for path in (GET_STATUS, WATCH, SUBMIT_MANY):
            for name, value in POISONS:
                poison = FuzzInput(0, Door.GATEWAY, path, (), ((name, value),), manner=Manner.FRAMES, body=FRAME)
                await asyncio.gather(*(send_frames(mesh.gateway.address, poison, ()) for _ in range(ATTEMPTS)))
                harmed += [
                    f"{name}: {value!r} at {path} harms {harm}"
                    for harm in await _harm(mesh.gateway.address, path, name)
                ]
        assert harmed == []


@pytest.mark.parametrize(("name", "value"), [("grpc-timeout", "1x"), ("grpc-timeout", ""), ("grpc-encoding", "zstd")])
async def test_headers__that_no_grpc_client_sends__are_refused_with_a_reason(
    tmp_path: Path, name: str, value: str
) -> None:
    async with running_mesh(tmp_path) as mesh:
        poison = FuzzInput(0, Door.GATEWAY, WATCH, (), ((name, value),), manner=Manner.FRAMES, body=FRAME)
        outcome = await send_frames(mesh.gateway.address, poison, ())
        assert outcome.status == "INVALID_ARGUMENT"
        assert dict(outcome.trailers)["grpc-status-details-bin"]


async def test_options__with_an_origin_and_no_preflight__reaches_no_service(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        headers = ((":method", "OPTIONS"), ("origin", "http://localhost:3000"))
        one = FuzzInput(0, Door.GATEWAY, GET_STATUS, (), headers, manner=Manner.FRAMES, body=FRAME)
        outcomes = await asyncio.gather(*(send_frames(mesh.gateway.address, one, ()) for _ in range(ATTEMPTS)))
        assert {outcome.status for outcome in outcomes} == {"INVALID_ARGUMENT"}
        assert await _harm(mesh.gateway.address, GET_STATUS, ":method") == []
        assert len(mesh.servers[PublicService.STATUS].calls) == ATTEMPTS, "the harmless calls, and no other"


async def _harm(address: str, path: str, name: str) -> list[str]:
    """What goes wrong for others: with a deadline, compressed, or with the same header and a right value."""
    outcomes = await asyncio.gather(*(_innocent(address, path, name, number) for number in range(ATTEMPTS)))
    return sorted({outcome for outcome in outcomes if outcome != "OK "})


async def _innocent(address: str, path: str, name: str, number: int) -> str:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        compression = grpc.Compression.Gzip if number % 2 else None
        same = ((name, _INNOCENT_VALUES[name]),) if name in _INNOCENT_VALUES else ()
        call = channel.stream_stream(path)(timeout=5, compression=compression, metadata=same)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call.write(b"hello" * 100)
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass
        code = await call.code()
        return f"{code.name} {await call.details()}"
