"""Channels to other servers: balanced over replicas, kept alive, and carrying trace and identity on every call."""

import json
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER, Principal
from intentmesh.rpc.tracing import TRACEPARENT, traceparent
from intentmesh.rpc.unreadable import ReadableCall, reader

DEFAULT_TIMEOUT_SECONDS = 30.0
"""For unary calls whose caller names none: nothing waits for ever."""
MAX_RESPONSE_BYTES = 16 * 1_048_576

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", -1),
    # A restarted server is found again within a second or two, not after the default's twenty.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # Internal calls never go through a proxy that the environment happens to name.
    ("grpc.enable_http_proxy", 0),
)

Metadata = tuple[tuple[str, str | bytes], ...]
_BARE_SCHEMES = ("unix:", "ipv4:", "ipv6:")


def open_channel(
    target: str,
    *,
    principal: Principal | None = None,
    internal_token: str = "",
    options: Sequence[tuple[str, Any]] = (),
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> grpc.aio.Channel:
    """A channel to `host:port` (taken as `dns:///host:port`) or to any gRPC target. The caller closes it.

    Every call carries the current trace. With `principal` it also says who calls, which servers believe only together
    with their `internal_token`. `timeout_seconds` is the deadline of unary calls that name none.
    """
    identity: Metadata = ()
    if principal is not None:
        identity = ((PRINCIPAL_HEADER, str(principal)),)
    if internal_token:
        identity = (*identity, (TOKEN_HEADER, internal_token))
    channel = grpc.aio.insecure_channel(with_scheme(target), options=[*_OPTIONS, *options])
    return _MeshChannel(channel, identity, timeout_seconds)


def with_scheme(target: str) -> str:
    """`host:port` as `dns:///host:port`; what names a scheme stays."""
    return target if ":/" in target or target.startswith(_BARE_SCHEMES) else f"dns:///{target}"


class _MeshChannel(grpc.aio.Channel):
    """Adds metadata to every call, and fails those whose answer cannot be read.

    A delegate, since interceptors cost a task a call and do not cover streams well.
    """

    def __init__(self, inner: grpc.aio.Channel, identity: Metadata, timeout_seconds: float) -> None:
        self._inner = inner
        self._identity = identity
        self._timeout_seconds = timeout_seconds

    def _calls(
        self,
        make_caller: Callable[..., Any],
        timeout_seconds: float | None,
        method: str,
        request_serializer: Callable[..., bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **more: Any,
    ) -> Callable[..., Any]:
        read = reader(response_deserializer) if response_deserializer is not None else None
        make = make_caller(method, request_serializer=request_serializer, response_deserializer=read, **more)

        def call(
            *args: Any,
            metadata: Iterable[tuple[str, str | bytes]] | None = None,
            timeout: float | None = None,
            **more: Any,
        ) -> ReadableCall:
            sent = (*(metadata or ()), *self._identity, (TRACEPARENT, traceparent()))
            timeout = timeout_seconds if timeout is None else timeout
            return ReadableCall(make(*args, metadata=sent, timeout=timeout, **more))

        return call

    def unary_unary(self, *args: Any, **more: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._calls(self._inner.unary_unary, self._timeout_seconds, *args, **more)

    def unary_stream(self, *args: Any, **more: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._calls(self._inner.unary_stream, None, *args, **more)

    def stream_unary(self, *args: Any, **more: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._calls(self._inner.stream_unary, None, *args, **more)

    def stream_stream(self, *args: Any, **more: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._calls(self._inner.stream_stream, None, *args, **more)

    async def close(self, grace: float | None = None) -> None:
        """As grpc.aio.Channel."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """As grpc.aio.Channel."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As grpc.aio.Channel."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As grpc.aio.Channel."""
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()
