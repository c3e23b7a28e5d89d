"""Conditions that tell that a program is ready.

A probe answers False, or raises OSError or TimeoutError, for "not yet".
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from intentmesh.embedded.ports import LOOPBACK, Port

Probe = Callable[[], Awaitable[bool]]
_MAXIMUM_ANSWER_BYTES = 1024 * 1024


async def http_request(port: Port, path: str, *, body: bytes | None = None) -> tuple[int, bytes]:
    """One small HTTP/1.1 request (GET, or POST of JSON) to 127.0.0.1.

    Returns (status code, body). Raises OSError when nobody answers.
    """
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        method = "GET" if body is None else "POST"
        head = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode("ascii") + b"\r\n" + (body or b""))
        await writer.drain()
        answer = await reader.read(_MAXIMUM_ANSWER_BYTES)
        while chunk := await reader.read(_MAXIMUM_ANSWER_BYTES):
            answer += chunk
    finally:
        writer.close()
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    words = head_bytes.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError("the answer is not HTTP")
    return int(words[1]), rest


async def json_rpc(port: Port, method: str, *parameters: Any) -> Any:
    """One JSON-RPC call to 127.0.0.1.

    Returns its result. Raises OSError, with the server's own words, when there is none.
    """
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
    status, body = await http_request(port, "/", body=json.dumps(call).encode())
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ConnectionError(f"{method}: HTTP {status} without JSON") from error
    if "result" not in answer:
        raise ConnectionError(f"{method}: {answer.get('error')}")
    return answer["result"]


def http_ok(port: Port, path: str) -> Probe:
    """Ready when a GET answers 200."""

    async def probe() -> bool:
        status, _ = await http_request(port, path)
        return status == 200

    return probe


def grpc_serving(address: str, service: str = "") -> Probe:
    """Ready when the standard gRPC health service at `address` (host:port) says SERVING.

    The service "" asks for the whole server.
    """

    async def probe() -> bool:
        async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=1.0)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return probe
