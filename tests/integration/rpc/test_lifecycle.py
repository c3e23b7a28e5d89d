"""Start, health, reflection, metrics, draining and the end of a server."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from intentmesh.rpc import server
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.reflection import SERVICE_MODULES, public_services
from intentmesh.rpc.settings import EXIT_WRONG_SETTING, SettingsError
from intentmesh.v1 import status_service_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer, StatusServiceStub

from tests.integration.rpc.serving import INTENT_ID, STATUS, status_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ASK = status_service_pb2.GetIntentStatusRequest(intent_id=INTENT_ID)
WATCH = status_service_pb2.WatchIntentRequest(intent_id=INTENT_ID)
PROCESS_SECONDS = 20


class Gate(StatusServiceServicer):
    """Calls wait until they are let through."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        self.entered.set()
        await self.open.wait()
        return status_service_pb2.GetIntentStatusResponse(intent_id=request.intent_id)

    async def WatchIntent(self, request, context):  # noqa: N802, ARG002
        self.entered.set()
        yield status_service_pb2.WatchIntentResponse()
        await asyncio.sleep(60)


class _Prompt(StatusServiceServicer):
    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        return status_service_pb2.GetIntentStatusResponse(intent_id=request.intent_id)


async def test_server__busy_for_longer_than_calls_may_be_unclaimed__ends_those_that_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which is the bound of ours, and not of grpc, whose 30 s a busy server reaches."""
    monkeypatch.setattr(server, "MAX_UNCLAIMED_SECONDS", 1)
    begun = [threading.Event() for _ in range(5)]

    def ask(target: str, has_begun: threading.Event) -> grpc.StatusCode:
        with grpc.insecure_channel(target) as channel:
            has_begun.set()
            try:
                StatusServiceStub(channel).GetIntentStatus(ASK, timeout=60, wait_for_ready=True)
            except grpc.RpcError as error:
                return error.code()  # type: ignore[attr-defined,no-any-return]  # it is a call as well
        return grpc.StatusCode.OK

    async with status_server(_Prompt()) as running:
        calls = [asyncio.ensure_future(asyncio.to_thread(ask, running.target, event)) for event in begun]
        await asyncio.sleep(0)
        # The loop takes nothing up: that is what is tested.
        assert all(event.wait(30) for event in begun)
        time.sleep(4)  # noqa: ASYNC251
        assert grpc.StatusCode.CANCELLED in await asyncio.gather(*calls)


async def test_health__a_check_fails_and_recovers__follows_for_all_names() -> None:
    state = {"broken": True}

    async def check() -> None:
        if state["broken"]:
            raise ConnectionError("no")

    async with (
        status_server(Gate(), more={"checks": {"store": check}}) as running,
        open_channel(running.target) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", STATUS):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == NOT_SERVING
        # Kubernetes restarts what is not live; a store that is away is no reason for that.
        assert (await stub.Check(health_pb2.HealthCheckRequest(service="liveness"))).status == SERVING
        assert running.health.failing == {"store"}
        state["broken"] = False
        await running.health.check_now()
        for name in ("", STATUS):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING


async def test_drain__a_call_in_flight__finishes_and_health_says_not_serving() -> None:
    gate = Gate()
    hook_ran_while_running: list[bool] = []
    statuses: list[int] = []
    news = asyncio.Event()

    async def hook() -> None:
        # The last moment of the drain in which the call still runs.
        hook_ran_while_running.append(not gate.open.is_set())
        while statuses[-1:] != [NOT_SERVING]:
            news.clear()
            await news.wait()
        gate.open.set()

    async def follow(channel: grpc.aio.Channel) -> None:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=STATUS))
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for message in call:
                statuses.append(message.status)
                news.set()

    async with status_server(gate, more={"drain": (hook,)}) as running:
        channel = open_channel(running.target)
        follower = asyncio.create_task(follow(channel))
        answer = asyncio.create_task(_ask(channel))
        await gate.entered.wait()
        await news.wait()
    assert (await answer).intent_id == INTENT_ID
    await follower
    assert statuses == [SERVING, NOT_SERVING]
    assert hook_ran_while_running == [True]
    await channel.close()


async def _ask(channel: grpc.aio.Channel) -> status_service_pb2.GetIntentStatusResponse:
    return await StatusServiceStub(channel).GetIntentStatus(ASK)


async def test_drain__a_call_that_outlives_the_grace__is_ended_with_draining() -> None:
    gate = Gate()
    async with status_server(gate, grace_seconds=0.1) as running:
        channel = open_channel(running.target)
        call = StatusServiceStub(channel).WatchIntent(WATCH)
        await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    error = mesh_error_from_rpc(caught.value)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error.reason == ErrorReason.ERROR_REASON_DRAINING
    assert error.retry_after
    await channel.close()


async def test_background_task__that_dies__is_started_again_and_counted() -> None:
    runs: list[int] = []
    alive = asyncio.Event()

    async def fragile_work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("dies")
        alive.set()
        await asyncio.sleep(60)

    async with status_server(Gate(), more={"background": (fragile_work,)}) as running:
        await asyncio.wait_for(alive.wait(), 10)
        text = await _metrics(running.metrics_url)
    lines = [
        line for line in text.splitlines() if line.startswith("background_task_failures_total") and "fragile" in line
    ]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["2.0"]


async def test_background_task__that_keeps_dying__turns_the_health() -> None:
    async def hopeless() -> None:
        raise ValueError("dies")

    async with (
        status_server(Gate(), more={"background": (hopeless,)}, health_interval_seconds=0.05) as running,
        asyncio.timeout(10),
    ):
        while running.health.failing != {"background"}:  # noqa: ASYNC110 (the health has no event to wait for)
            await asyncio.sleep(0.02)


async def test_reflection__any_server__lists_all_public_services_and_their_files() -> None:
    async with status_server(Gate()) as running, open_channel(running.target) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await call.read()).list_services_response.service}
        await call.write(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="intentmesh.v1.SolverRegistryService")
        )
        files = (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert set(public_services()) < listed
    assert len(public_services()) == len(SERVICE_MODULES) == 6
    assert files


async def _metrics(url: str) -> str:
    def read() -> str:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310
            return response.read().decode()

    return await asyncio.to_thread(read)


async def test_metrics__after_calls__count_them_by_method_and_code() -> None:
    gate = Gate()
    gate.open.set()
    async with status_server(gate) as running, open_channel(running.target) as channel:
        before = await _metrics(running.metrics_url)
        await _ask(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await StatusServiceStub(channel).GetIntentStatus(status_service_pb2.GetIntentStatusRequest())
        after = await _metrics(running.metrics_url)

    def count(text: str, code: str) -> float:
        labels = f'{{grpc_code="{code}",grpc_method="GetIntentStatus",grpc_service="{STATUS}"}}'
        found = [line for line in text.splitlines() if line.startswith("grpc_server_handled_total" + labels)]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    assert count(after, "OK") - count(before, "OK") == 1
    assert count(after, "INVALID_ARGUMENT") - count(before, "INVALID_ARGUMENT") == 1
    assert "intent_resolution_time_seconds" in after


async def test_serving__a_port_in_use__is_a_setting_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name in ("listen", "metrics_listen"):
            with pytest.raises(SettingsError, match=name):
                async with status_server(Gate(), **{name: f"127.0.0.1:{taken.getsockname()[1]}"}):
                    pass


PROGRAM = Path(__file__).with_name("slow_service.py")


def _start(**environment: str) -> subprocess.Popen[str]:
    values = {"INTENTMESH_LISTEN": "127.0.0.1:0", "INTENTMESH_METRICS_LISTEN": "127.0.0.1:0"} | environment
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAM)],
        env=os.environ | values,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_process__sigterm_with_a_call_in_flight__answers_it_and_exits_0() -> None:
    process = _start()
    try:
        assert process.stdout is not None
        ready = (await asyncio.to_thread(process.stdout.readline)).split()
        assert ready[:2] == ["ready", "slow"]
        async with open_channel(ready[2].removeprefix("grpc=")) as channel:
            call = StatusServiceStub(channel).WatchIntent(WATCH)
            await call.read()
            answer = asyncio.create_task(_ask(channel))
            await call.read()
            process.send_signal(signal.SIGTERM)
            assert (await answer).message == "finished"
        _, log = await asyncio.to_thread(process.communicate, timeout=PROCESS_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, log
    assert "Traceback" not in log


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has this scheduling policy")
async def test_process__threads_of_grpc_and_of_the_loop__do_not_interrupt_each_other() -> None:
    process = _start()
    try:
        assert process.stdout is not None
        ready = (await asyncio.to_thread(process.stdout.readline)).split()
        async with open_channel(ready[2].removeprefix("grpc=")) as channel:
            await _ask(channel)
            policies = []
            for thread in psutil.Process(process.pid).threads():
                with contextlib.suppress(ProcessLookupError):  # it has ended since
                    policies.append(os.sched_getscheduler(thread.id))
    finally:
        process.kill()
        process.communicate()
    assert len(policies) > 1
    assert set(policies) == {os.SCHED_BATCH}


async def test_process__wrong_setting__says_so_in_one_line_and_exits_78() -> None:
    process = _start(INTENTMESH_GRACE_SECONDS="soon", INTENTMESH_POSTGRES_DSN="postgresql://u:hunter2@h/d")
    out, log = await asyncio.to_thread(process.communicate, timeout=PROCESS_SECONDS)
    assert process.returncode == EXIT_WRONG_SETTING
    assert out == ""
    assert len(log.splitlines()) == 1
    assert "grace_seconds" in log
    assert "hunter2" not in log
