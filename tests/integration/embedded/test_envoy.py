"""The real Envoy with the configuration that the mesh uses, in front of servers that tell what reached them."""

import asyncio
import base64
import http.client
import json
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.envoy import EnvoyGateway
from intentmesh.embedded.errors import InvalidConfigurationError
from intentmesh.embedded.gateway_config import DEFAULT_TEMPLATE, PublicService

from tests.integration.embedded.echo_mesh import PUBLIC_NAMES, EchoServer

GET_STATUS = "/intentmesh.v1.StatusService/GetIntentStatus"
SUBMIT = "/intentmesh.v1.IntakeService/SubmitIntent"
MIB = 1024 * 1024
# A gRPC message: not compressed, five bytes long.
FRAME = struct.pack(">BI", 0, 5) + b"hello"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP/1.1, as a browser sees it. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Refused = tuple[str, str, bool]


class Mesh:
    """Echo servers behind a gateway, and a client of it."""

    def __init__(self, gateway: EnvoyGateway, servers: dict[PublicService, EchoServer], log: Path) -> None:
        self.gateway = gateway
        self.servers = servers
        self.log = log
        self.channel = grpc.aio.insecure_channel(gateway.address)

    async def call(self, method: str, request: bytes = b"x", *metadata: tuple[str, str]) -> dict[str, str]:
        """One unary call; returns the trailing metadata. Raises AioRpcError."""
        call = self.channel.unary_unary(method)(request, metadata=metadata, timeout=10)
        await call
        return {str(key): str(value) for key, value in await call.trailing_metadata() or ()}

    async def refusal_of(
        self, method: str, request: bytes = b"x", timeout_s: float | None = 10
    ) -> tuple[str, str, bool]:
        """The status, the reason and whether there is advice when to try again, of a call that is refused."""
        try:
            await self.channel.unary_unary(method)(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)
            assert status is not None
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            assert status.details[0].Unpack(info)
            assert info.domain == "intentmesh"
            return error.code().name, info.reason, any(detail.Unpack(retry) for detail in status.details)
        raise AssertionError("the call was not refused")

    async def status_of(self, method: str, request: bytes = b"x") -> grpc.StatusCode:
        try:
            await self.call(method, request)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@asynccontextmanager
async def running_mesh(tmp_path: Path, template: Path = DEFAULT_TEMPLATE, **settings: object) -> AsyncIterator[Mesh]:
    async with AsyncExitStack() as stack:
        servers = {service: EchoServer(service.value) for service in PublicService}
        for server in servers.values():
            await stack.enter_async_context(server)
        folder = DataFolder(tmp_path)
        upstreams = {service: [server.address] for service, server in servers.items()}
        gateway = await stack.enter_async_context(EnvoyGateway(folder, upstreams, settings=settings, template=template))
        mesh = Mesh(gateway, servers, folder.log_file("envoy"))
        stack.push_async_callback(mesh.channel.close)
        yield mesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running_mesh(tmp_path) as running:
        yield running


async def test_route__by_service__reaches_that_service(mesh: Mesh) -> None:
    for method, service in {
        SUBMIT: "intake",
        "/intentmesh.v1.IntakeService/GetIntent": "intake",
        "/intentmesh.v1.SolverRegistryService/RequestQuotes": "solver_registry",
        "/intentmesh.v1.SolverRegistryService/ListSolvers": "solver_registry",
        "/intentmesh.v1.ExecutorService/RetryExecution": "executor",
        "/intentmesh.v1.ExecutorService/GetExecution": "executor",
        GET_STATUS: "status",
    }.items():
        assert (await mesh.call(method))["answered-by"] == service


@pytest.mark.parametrize("service", ["AttesterService/AttestFill", "SolverService/Quote", "NoSuchService/Do"])
async def test_route__of_what_is_internal_or_unknown__is_unimplemented(mesh: Mesh, service: str) -> None:
    assert await mesh.status_of(f"/intentmesh.v1.{service}") is grpc.StatusCode.UNIMPLEMENTED


async def test_stream__in_both_directions__is_not_held_back(mesh: Mesh) -> None:
    for method in ("IntakeService/SubmitIntents", "StatusService/WatchIntents"):
        call = mesh.channel.stream_stream(f"/intentmesh.v1.{method}")()
        for message in (b"one", b"two"):
            await call.write(message)
            assert await asyncio.wait_for(call.read(), 5) == message
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_headers__that_services_trust__cannot_be_brought_along(mesh: Mesh) -> None:
    spoofed = [
        ("x-intentmesh-principal", "operator"),
        ("x-intentmesh-principal-class", "operator"),
        ("x-intentmesh-token", "guess"),
        ("x-forwarded-for", "8.8.8.8"),
        ("x-real-ip", "8.8.8.8"),
        ("forwarded", "for=8.8.8.8"),
        ("x-envoy-max-retries", "99"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-kept", "yes"),
    ]
    for method in (GET_STATUS, SUBMIT):
        seen = await mesh.call(method, b"x", *spoofed)
        assert seen["seen-x-forwarded-for"] == "127.0.0.1"
        assert seen["seen-x-kept"] == "yes"
        assert not [key for key in seen if "intentmesh" in key or key in {"seen-x-real-ip", "seen-forwarded"}]
        assert "8.8.8.8" not in seen.values()
        assert "99" not in seen.values()


async def test_client_address__behind_a_trusted_proxy__is_the_one_it_vouches_for(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, trusted_hops=1) as mesh:
        seen = await mesh.call(GET_STATUS, b"x", ("x-forwarded-for", "8.8.8.8, 203.0.113.7"))
        assert seen["seen-x-forwarded-for"] == "203.0.113.7"


async def test_request__above_one_mebibyte__is_resource_exhausted(mesh: Mesh) -> None:
    assert await mesh.status_of(SUBMIT, b"x" * (MIB - 100)) is grpc.StatusCode.OK
    assert await mesh.refusal_of(SUBMIT, b"x" * (MIB + 100)) == ("RESOURCE_EXHAUSTED", "TOO_LARGE", False)


async def test_flood__beyond_the_bucket__is_resource_exhausted(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, burst_requests=5, requests_per_second=10) as mesh:
        codes = [await mesh.status_of(GET_STATUS) for _ in range(12)]
        assert codes[:5] == [grpc.StatusCode.OK] * 5
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}

        async def refusal() -> Refused | None:
            try:
                return await mesh.refusal_of(GET_STATUS)
            except AssertionError:
                return None

        refusals = [await refusal() for _ in range(12)]
        assert set(refusals) - {None} == {("RESOURCE_EXHAUSTED", "OVERLOADED", True)}


async def test_retry__of_a_read__hides_a_replica_that_goes_away(mesh: Mesh) -> None:
    status = mesh.servers[PublicService.STATUS]
    status.unavailable_next = 2
    assert await mesh.status_of(GET_STATUS) is grpc.StatusCode.OK
    assert len(status.calls) == 3


async def test_retry__of_a_write__is_left_to_the_client(mesh: Mesh) -> None:
    intake = mesh.servers[PublicService.INTAKE]
    intake.unavailable_next = 1
    assert await mesh.status_of(SUBMIT) is grpc.StatusCode.UNAVAILABLE
    assert len(intake.calls) == 1
    intake.unavailable_next = 1
    asking = (("x-envoy-retry-grpc-on", "unavailable"), ("x-envoy-max-retries", "5"))
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await mesh.call(SUBMIT, b"x", *asking)
    assert len(intake.calls) == 2


async def test_service__down_and_up_again__is_unavailable_then_served(mesh: Mesh) -> None:
    executor = mesh.servers[PublicService.EXECUTOR]
    await executor.stop()
    refusal = await mesh.refusal_of("/intentmesh.v1.ExecutorService/PauseExecutions")
    assert refusal == ("UNAVAILABLE", "SERVICE_UNAVAILABLE", True)
    assert await mesh.status_of(GET_STATUS) is grpc.StatusCode.OK
    await executor.start()
    async with asyncio.timeout(15):
        while await mesh.status_of("/intentmesh.v1.ExecutorService/PauseExecutions") is not grpc.StatusCode.OK:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)


async def test_replicas__of_one_service__share_the_calls_and_cover_for_each_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        replicas = [EchoServer(f"replica-{number}") for number in range(2)]
        for replica in replicas:
            await stack.enter_async_context(replica)
        upstreams = {service: [replica.address for replica in replicas] for service in PublicService}
        gateway = await stack.enter_async_context(EnvoyGateway(DataFolder(tmp_path), upstreams))
        mesh = Mesh(gateway, {}, tmp_path)
        stack.push_async_callback(mesh.channel.close)
        answered = [(await mesh.call(GET_STATUS))["answered-by"] for _ in range(20)]
        assert set(answered) == {"replica-0", "replica-1"}
        await replicas[0].stop()
        assert {(await mesh.call(GET_STATUS))["answered-by"] for _ in range(20)} == {"replica-1"}


async def test_reflection__through_the_gateway__lists_and_describes_every_public_service(mesh: Mesh) -> None:
    async def grpcurl(*arguments: str) -> str:
        program = Path(sys.executable).with_name("grpcurl")
        command = [str(program), "-plaintext", "-max-time", "10", mesh.gateway.address, *arguments]
        return await asyncio.to_thread(subprocess.check_output, command, text=True, stderr=subprocess.STDOUT)

    assert set(PUBLIC_NAMES) <= set((await grpcurl("list")).split())
    for name in PUBLIC_NAMES:
        assert f"service {name.rpartition('.')[2]}" in await grpcurl("describe", name)
    assert "SERVING" in await grpcurl("grpc.health.v1.Health/Check")


async def test_call__that_takes_too_long__is_ended_by_the_gateway(tmp_path: Path) -> None:
    """The bound is shortened, so that the test does not take 30 s; the client sets no deadline of its own."""
    template = tmp_path / "short.yaml"
    template.write_text(
        DEFAULT_TEMPLATE.read_text().replace("_max: 30s", "_max: 0.3s").replace("_duration: 30s", "_duration: 0.3s")
    )
    async with running_mesh(tmp_path, template) as mesh:
        for service, method in ((PublicService.STATUS, GET_STATUS), (PublicService.INTAKE, SUBMIT)):
            mesh.servers[service].stuck = True
            # The service is told the same deadline and may be the one that answers: the code is what is promised.
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await mesh.channel.unary_unary(method)(b"x")
            assert len(mesh.servers[service].calls) == 1


async def test_stream__that_is_silent__is_ended_but_a_busy_one_is_not(tmp_path: Path) -> None:
    template = tmp_path / "short.yaml"
    text = DEFAULT_TEMPLATE.read_text()
    template.write_text(text.replace("idle_timeout: 120s", "idle_timeout: 0.4s").replace("30s", "0.2s"))
    async with running_mesh(tmp_path, template) as mesh:
        call = mesh.channel.stream_stream("/intentmesh.v1.StatusService/WatchIntents")()
        # Far longer than the bound of other calls and than the time of silence that is allowed.
        for _ in range(10):
            await call.write(b"beat")
            assert await call.read() == b"beat"
            await asyncio.sleep(0.1)
        assert await asyncio.wait_for(call.code(), 5) is not grpc.StatusCode.OK


async def test_request__that_is_not_grpc__is_refused_by_the_gateway(mesh: Mesh) -> None:
    assert (await asyncio.to_thread(_request, mesh, "GET", {})).status == 405
    assert (await asyncio.to_thread(_request, mesh, "POST", {"Content-Type": "application/json"}, b"{}")).status == 415
    assert mesh.servers[PublicService.STATUS].calls == []


async def test_browser__by_grpc_web__is_answered_with_cors(mesh: Mesh) -> None:
    def preflight(origin: str) -> Answer:
        return _request(mesh, "OPTIONS", {"Origin": origin, "Access-Control-Request-Method": "POST"})

    allowed = await asyncio.to_thread(preflight, "http://localhost:5173")
    assert allowed.status == 200
    assert allowed.headers.get("access-control-allow-origin") == "http://localhost:5173"
    assert "x-grpc-web" in str(allowed.headers.get("access-control-allow-headers"))
    refused = await asyncio.to_thread(preflight, "http://localhost:5173.evil.example")
    assert refused.headers.get("access-control-allow-origin") is None
    assert (refused.status, refused.headers.get("grpc-status")) == (200, None), "answered here, by no service"

    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1", "Origin": "http://localhost:5173"}
    answer = await asyncio.to_thread(_request, mesh, "POST", headers, FRAME)
    assert answer.status == 200
    assert "grpc-status" in str(answer.headers.get("access-control-expose-headers"))
    assert answer.body.startswith(FRAME)
    assert b"grpc-status:0" in answer.body


async def test_browser__refused_by_the_gateway__is_told_the_status_of_the_details(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    large = struct.pack(">BI", 0, MIB + 1) + b"x" * (MIB + 1)

    def ask(port: int, body: bytes = FRAME, **more: str) -> tuple[str | None, int, str]:
        answer = _http(port, "POST", SUBMIT, headers | more, body)
        details = status_pb2.Status.FromString(base64.b64decode(answer.headers["grpc-status-details-bin"] + "=="))
        assert not [name for name in answer.headers if name.startswith("x-gateway")], "ours alone"
        return answer.headers.get("grpc-status"), details.code, answer.headers.get("grpc-message", "")

    async with running_mesh(tmp_path, burst_requests=3, requests_per_second=10) as mesh:
        port = mesh.gateway.port
        malformed = await asyncio.to_thread(ask, port, **{"grpc-encoding": "gzip,gzip"})
        assert malformed[:2] == ("3", 3)
        too_large = await asyncio.to_thread(ask, port, large)
        assert too_large[:2] == ("8", 8)
        await mesh.servers[PublicService.INTAKE].__aexit__(None, None, None)
        away = await asyncio.to_thread(ask, port)
        assert away[:2] == ("14", 14)
        overloaded = [await asyncio.to_thread(ask, port) for _ in range(6)][-1]
        assert overloaded[:2] == ("8", 8)
        assert all(len(told[2]) > 10 for told in (malformed, too_large, away, overloaded))


async def test_metrics_and_admin__from_outside__show_metrics_only(mesh: Mesh) -> None:
    await mesh.call(GET_STATUS)
    port = int(mesh.gateway.metrics_url.split(":")[2].split("/")[0])

    async def fetch(method: str, path: str) -> Answer:
        return await asyncio.to_thread(_http, port, method, path, {})

    metrics = await fetch("GET", "/metrics")
    assert metrics.status == 200
    assert b'envoy_cluster_upstream_rq_total{envoy_cluster_name="status"}' in metrics.body
    assert (await fetch("GET", "/ready")).status == 200
    for path in ("/quitquitquit", "/config_dump", "/", "/metrics/../quitquitquit"):
        assert (await fetch("POST", path)).status == 404
        assert (await fetch("GET", path)).status == 404
    assert (await fetch("POST", "/metrics")).status == 404


async def test_access_log__of_a_call__is_one_line_of_json(mesh: Mesh) -> None:
    await mesh.call(GET_STATUS, b"x", ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
    async with asyncio.timeout(10):
        while not (lines := [line for line in mesh.log.read_text().splitlines() if GET_STATUS in line]):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
    entry = json.loads(lines[0])
    assert entry["event"] == "request"
    assert entry["grpc_status"] == "OK"
    assert entry["client"] == "127.0.0.1"
    assert entry["cluster"] == "status"
    assert entry["traceparent"].startswith("00-4bf92f")


async def test_start__with_a_configuration_envoy_refuses__says_why_and_leaves_nothing(tmp_path: Path) -> None:
    template = tmp_path / "envoy.yaml"
    template.write_text(DEFAULT_TEMPLATE.read_text().replace("codec_type: AUTO", "codec_type: SOMETIMES"))
    upstreams = {service: ["127.0.0.1:1"] for service in PublicService}
    gateway = EnvoyGateway(DataFolder(tmp_path), upstreams, template=template)
    with pytest.raises(InvalidConfigurationError, match="SOMETIMES"):
        await gateway.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = gateway.port


def _request(mesh: Mesh, method: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    return _http(mesh.gateway.port, method, GET_STATUS, headers, body)


def _http(port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path, body, headers)
        with closing(connection.getresponse()) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
