"""JSON-RPC over several endpoints of one chain: the first that answers wins, one that failed is asked last for a while.

So many requests are under way at a time, the others wait for their turn here, where their time does not run yet. What
queues with an endpoint instead, or on the way to it, runs out of time and makes a healthy endpoint look like one that
does not answer.

Every request of ours may be repeated: reads change nothing, and the same raw transaction is the same transaction.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import structlog
from aiohttp import (
    ClientError,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    InvalidURL,
    ServerDisconnectedError,
    TCPConnector,
)
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint

from intentmesh.chain.errors import ChainUnavailable, EndpointError

_log = structlog.get_logger(__name__)

COOL_DOWN_SECONDS = 5.0
# Requests to one chain at a time.
MAX_IN_FLIGHT = 64
# Of an answer that makes no sense.
_MOST_SHOWN = 64
# An overloaded or half-configured endpoint says these of itself: internal error, limit exceeded, method not found or
# not supported. Another endpoint may well answer.
_OWN_TROUBLE = frozenset({-32603, -32005, -32601, -32004})


class _NoAnswerError(Exception):
    """The endpoint did not answer usefully."""


class _Endpoint:
    def __init__(self, url: str, chain_id: int, timeout_seconds: float) -> None:
        # The path may hold an API key, so only the host is ever shown.
        self.shown = urlsplit(url).netloc.rpartition("@")[2]
        self._url = url
        self._chain_id = chain_id
        self._timeout = ClientTimeout(total=timeout_seconds)
        # For the wire format alone: its own sessions open a connection for each request, and what is cancelled while it
        # makes one leaves it open.
        self._provider = AsyncHTTPProvider(url, exception_retry_configuration=None)
        self._session: ClientSession | None = None
        self._closed = False
        self._chain_id_checked = False
        self.failed_until = 0.0

    async def request(self, method: str, params: Sequence[object]) -> object:
        """The result. Raises _NoAnswerError, or EndpointError when it answered with an error."""
        if not self._chain_id_checked:
            await self._check_chain_id()
        return await self._ask(method, params)

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _check_chain_id(self) -> None:
        found = await self._ask("eth_chainId", ())
        try:
            is_right = isinstance(found, str) and int(found, 16) == self._chain_id
        except ValueError:
            is_right = False
        if not is_right:
            raise _NoAnswerError(f"serves chain {str(found)[:_MOST_SHOWN]!r}, not {self._chain_id}")
        self._chain_id_checked = True

    async def _ask(self, method: str, params: Sequence[object]) -> object:
        try:
            response = await self._post(method, params)
        except (ClientError, TimeoutError, OSError) as error:
            raise _NoAnswerError(_cause(error)) from error
        except ValueError as error:
            raise _NoAnswerError("malformed JSON") from error
        if not isinstance(response, dict) or not ("result" in response or "error" in response):
            raise _NoAnswerError("neither a result nor an error")
        fault = response.get("error")
        if fault is not None:
            raise _endpoint_error(self._chain_id, fault)
        return response["result"]

    async def _post(self, method: str, params: Sequence[object]) -> object:
        body = self._provider.encode_rpc_request(RPCEndpoint(method), list(params))
        try:
            raw = await self._exchange(body)
        except (ServerDisconnectedError, ConnectionResetError):
            # A kept connection was closed by the other side just then: not a sign of trouble.
            raw = await self._exchange(body)
        return self._provider.decode_rpc_response(raw)

    async def _exchange(self, body: bytes) -> bytes:
        async with self._open_session().post(self._url, data=body) as response:
            response.raise_for_status()
            return await response.read()

    def _open_session(self) -> ClientSession:
        if self._closed:
            raise _NoAnswerError("closed")
        if self._session is None:
            self._session = ClientSession(
                # The pool bounds what is under way: a second queue in here would count as the endpoint's own time.
                connector=TCPConnector(limit=0),
                timeout=self._timeout,
                headers=self._provider.get_request_headers(),
            )
        return self._session


class EndpointPool:
    """All endpoints of one chain. Each has `timeout_seconds` for a request; `clock` gives monotonic seconds."""

    def __init__(
        self,
        chain_id: int,
        urls: Sequence[str],
        timeout_seconds: float,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain_id = chain_id
        self._endpoints = [_Endpoint(url, chain_id, timeout_seconds) for url in urls]
        self._turns = asyncio.Semaphore(max_in_flight)
        self._clock = clock

    async def request(self, method: str, *params: object, first_error_counts: bool = False) -> object:
        """The result of the first endpoint that has one.

        An endpoint that answers with an error may lag behind the others, so they are asked as well, unless
        `first_error_counts`: a revert, or the refusal of a transaction, is an answer.
        Waits for its turn, for as long as the caller will. Raises EndpointError (the last one) or ChainUnavailable.
        """
        async with self._turns:
            return await self._request(method, params, first_error_counts=first_error_counts)

    async def _request(self, method: str, params: Sequence[object], *, first_error_counts: bool) -> object:
        refusal: EndpointError | None = None
        failures: list[str] = []
        asked = 0
        for endpoint in self._in_order():
            asked += 1
            try:
                return await endpoint.request(method, params)
            except EndpointError as error:
                if error.code not in _OWN_TROUBLE and (first_error_counts or error.data is not None):
                    if not first_error_counts or not (failures or refusal):
                        raise
                    # One that was asked before may have taken the transaction all the same.
                    cause = f"{method}: {error.cause}, after others failed"
                    raise ChainUnavailable(self._chain_id, cause) from error
                refusal = error
            except _NoAnswerError as error:
                failures.append(f"{endpoint.shown}: {error}")
                endpoint.failed_until = self._clock() + COOL_DOWN_SECONDS
                _log.warning(
                    "chain_endpoint_failed", chain_id=self._chain_id, endpoint=endpoint.shown, cause=str(error)
                )
        if refusal is None or (first_error_counts and asked > 1):
            # One of them may have taken the transaction all the same, whatever the last one says of it.
            said = [*failures, *([] if refusal is None else [refusal.cause])]
            raise ChainUnavailable(self._chain_id, f"{method}: {'; '.join(said)}") from refusal
        raise refusal

    async def close(self) -> None:
        for endpoint in self._endpoints:
            await endpoint.close()

    def _in_order(self) -> list[_Endpoint]:
        now = self._clock()
        return sorted(self._endpoints, key=lambda endpoint: max(endpoint.failed_until - now, 0.0))


def _cause(error: Exception) -> str:
    """Without the URL, which may hold an API key and which some errors repeat."""
    if isinstance(error, ClientResponseError):
        return f"HTTP {error.status}"
    return type(error).__name__ if isinstance(error, InvalidURL) else f"{type(error).__name__}: {error}"


def _endpoint_error(chain_id: int, fault: object) -> EndpointError:
    if not isinstance(fault, dict):
        return EndpointError(chain_id, 0, str(fault))
    code = fault.get("code")
    return EndpointError(
        chain_id, code if isinstance(code, int) else 0, str(fault.get("message", "")), _revert_data(fault.get("data"))
    )


def _revert_data(data: object) -> bytes | None:
    """Nodes give it as hex, as hex after a word ("Reverted 0x…"), or inside an object. None: there is none."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if not isinstance(data, str):
        return None
    text = data.rpartition(" ")[2]
    if not text.startswith("0x"):
        return None
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return None
