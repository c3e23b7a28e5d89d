"""The life of a server: wire, listen, serve, drain, end. Every service runs through `main` in its `bootstrap.py`."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from intentmesh.rpc.calls import CallTracker
from intentmesh.rpc.health import Check, Health
from intentmesh.rpc.interceptors import CountRefused, MeshInterceptor
from intentmesh.rpc.logs import configure_logging
from intentmesh.rpc.metrics_server import metrics_server
from intentmesh.rpc.principals import CallerResolver
from intentmesh.rpc.reflection import add_reflection
from intentmesh.rpc.settings import S, ServiceSettings, SettingsError, exit_for_wrong_setting, load_settings
from intentmesh.rpc.supervision import Supervisor, Work
from intentmesh.rpc.tls import CertificateFiles

log = structlog.get_logger()

MAX_PENDING_REQUESTS = 20_000
"""Streams opening at the same time; grpc's default of 1,000 refuses a fleet that reconnects."""
MAX_UNCLAIMED_SECONDS = 600
"""Until grpc cancels a call that nobody has taken up, without a reason: long after its caller has given up. By grpc's
default of 30 s streams that begin at a busy server are lost."""
_TRANSPORT_LIMIT = 4
"""Times the largest request: grpc ends a call at once, untyped and uncounted, for a message that it does not take."""
END_SECONDS = 2.0
"""How long calls get to answer once they have been ended."""
GC_THRESHOLDS = (20_000, 20, 20)
"""Of the three generations; Python's own are (700, 10, 10)."""


@dataclass(frozen=True)
class Service:
    """What a service's `bootstrap.build` hands to the server."""

    name: str
    add: Callable[[grpc.aio.Server], None]
    """Adds the servicers."""
    service_names: tuple[str, ...]
    """Full names, for health: `intentmesh.v1.IntakeService`."""
    background: tuple[Work, ...] = ()
    """Started after the server listens; started again when they die; cancelled before the calls are drained."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    drain: tuple[Callable[[], Awaitable[None]], ...] = ()
    """Called when the server is told to stop, before calls are waited for: close streams as planned, release claims."""
    count_refused: CountRefused | None = None
    """Counts a request against its caller that is refused before its handler sees it, by the method's name. May raise
    LimitReached, which is told in the place of the refusal."""


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    service: Service
    target: str
    """host:port for clients on this machine."""
    metrics_url: str
    health: Health
    tls_target: str = ""
    """The same for callers with a certificate; empty where there is no such address."""


@asynccontextmanager
async def serving(settings: ServiceSettings, service: Service) -> AsyncIterator[Running]:
    """Serve inside of the block; leaving it drains. Raises SettingsError when an address cannot be taken."""
    tracker = CallTracker()
    server = _grpc_server(settings, tracker, service)
    health_servicer = HealthServicer()
    supervisor = Supervisor(service.background)
    checks: dict[str, Check] = {**service.checks, "background": supervisor.check}
    health = Health(health_servicer, service.service_names, checks)

    service.add(server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    add_reflection(server, service.service_names)
    target = _listen(server, settings.listen)
    tls_target = "" if settings.tls_listen is None else _listen_with_tls(server, settings.tls_listen, settings)
    with _metrics_server(settings.metrics_listen) as metrics_url:
        await health.check_now()
        await server.start()
        supervisor.start()
        watch = asyncio.create_task(health.watch(settings.health_interval_seconds), name="health")
        try:
            yield Running(service, target, metrics_url, health, tls_target)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await _drain(server, service, health, supervisor, tracker, settings.grace_seconds)


async def _drain(
    server: grpc.aio.Server,
    service: Service,
    health: Health,
    supervisor: Supervisor,
    tracker: CallTracker,
    grace_seconds: float,
) -> None:
    """Stop taking work, let what runs finish, end the rest with a status that says why, then stop."""
    log.info("draining", in_flight=tracker.count())
    await health.stop()
    # From here on connections get GOAWAY, so that new calls find another replica; running calls go on.
    stopping = asyncio.create_task(server.stop(grace_seconds + 2 * END_SECONDS))
    for hook in service.drain:
        try:
            async with asyncio.timeout(grace_seconds):
                await hook()
        except Exception as error:  # one hook that fails must not keep the others from running
            log.exception("drain_hook_failed", error=repr(error))
    if not await tracker.wait_until_idle(grace_seconds):
        log.warning("calls_ended_by_drain", in_flight=tracker.count())
    await tracker.end_all(END_SECONDS)
    await supervisor.stop()
    await stopping
    log.info("stopped")


async def run(
    settings: ServiceSettings,
    build: Callable[[], AbstractAsyncContextManager[Service]],
    *,
    stop: asyncio.Event | None = None,
) -> None:
    """Run one service until SIGTERM, SIGINT or `stop`; prints one line on standard output when it listens."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with build() as service, serving(settings, service) as running:
            _spare_garbage_collection()
            log.info("listening", target=running.target, metrics=running.metrics_url)
            sys.stdout.write(f"ready {service.name} grpc={running.target} metrics={running.metrics_url}\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _spare_garbage_collection() -> None:
    """What is loaded by now stays, so it is not searched again and again; what a busy server holds for the length of a
    call is no garbage, so it is searched for less often. The default settings cost a fifth of a busy server's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _do_not_interrupt_each_other() -> None:
    """A thread of gRPC that wakes does not push the event loop off its core, nor the loop one of those.

    By default each message does so twice on a busy core, which costs calls and streams of small messages a fifth of
    their time. Threads that are started from now on inherit it; it takes no privilege.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # where a sandbox forbids it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(name: str, kind: type[S], build: Callable[[S], AbstractAsyncContextManager[Service]]) -> None:
    """Entry of a service's process: settings, logs, loop, `run`. A wrong setting ends it with one line and exit 78.

    `kind` is the service's settings class, `build` its `bootstrap.build`.
    """
    try:
        settings = load_settings(kind)
        configure_logging(settings.log_level, name)
        _do_not_interrupt_each_other()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, lambda: build(settings)))
    except SettingsError as error:
        exit_for_wrong_setting(error)


def _grpc_server(settings: ServiceSettings, tracker: CallTracker, service: Service) -> grpc.aio.Server:
    callers = CallerResolver(
        settings.trusted_proxies,
        settings.internal_token,
        trust_proxy_principals=settings.trust_proxy_principals,
        trust_certificates=settings.tls_listen is not None,
    )
    interceptor = MeshInterceptor(
        callers,
        tracker,
        max_call_seconds=settings.max_call_seconds,
        max_request_bytes=settings.max_request_bytes,
        count_refused=service.count_refused,
    )
    return grpc.aio.server(
        interceptors=[interceptor],
        options=[
            ("grpc.max_receive_message_length", _TRANSPORT_LIMIT * settings.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(settings.reuse_port)),
            ("grpc.max_connection_age_ms", settings.connection_age_ms()),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.server.max_pending_requests", MAX_PENDING_REQUESTS),
            ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_REQUESTS),
            ("grpc.server_max_unrequested_time_in_server", MAX_UNCLAIMED_SECONDS),
        ],
    )


def _listen(server: grpc.aio.Server, address: str) -> str:
    host = address.rpartition(":")[0]
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SettingsError(f"listen: cannot listen on {address}; is another process using it?") from error
    return f"{_reachable(host)}:{port}"


def _listen_with_tls(server: grpc.aio.Server, address: str, settings: ServiceSettings) -> str:
    files = (settings.tls_key, settings.tls_certificate, settings.tls_client_authority)
    certificate = CertificateFiles(*(path for path in files if path is not None))
    try:
        port = server.add_secure_port(address, certificate.credentials())
    except RuntimeError as error:
        raise SettingsError(f"tls_listen: cannot listen on {address}; is another process using it?") from error
    return f"{_reachable(address.rpartition(':')[0])}:{port}"


@contextlib.contextmanager
def _metrics_server(address: str) -> Iterator[str]:
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        try:
            taken = stack.enter_context(metrics_server(host.strip("[]"), int(port)))
        except OSError as error:
            raise SettingsError(f"metrics_listen: cannot listen on {address}: {error.strerror}") from error
        yield f"http://{_reachable(host)}:{taken}/metrics"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 (translated, not bound)
