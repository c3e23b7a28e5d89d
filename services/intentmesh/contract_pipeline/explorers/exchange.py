"""One request to an explorer and its JSON answer. No message holds a URL, which may hold a key."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from intentmesh.contract_pipeline.errors import ExplorerAnswerError, ExplorerLimitedError, ExplorerTimeoutError

TOO_MANY_REQUESTS = 429
SERVER_ERRORS = range(500, 600)
# Answers are a few hundred bytes; a failed job of Sourcify holds four bytecodes.
MAX_ANSWER_BYTES = 4 << 20
SHOWN_CHARACTERS = 300

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits, in seconds: for one answer, between two questions, and for a verdict in all."""

    request_seconds: float = 60.0
    poll_seconds: float = 3.0
    verdict_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON object of one answer."""

    status: int
    content: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A field that should be text, "" when it is not."""
        value = self.content.get(field)
        return value if isinstance(value, str) else ""


class Exchange:
    """A session with one explorer. Raises ExplorerLimitedError, ExplorerTimeoutError, ExplorerAnswerError."""

    def __init__(self, name: str, patience: Patience) -> None:
        self._name = name
        self._patience = patience
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience.request_seconds))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, url: str, query: Mapping[str, str]) -> Answer:
        return await self._ask("GET", url, params=query)

    async def post_json(self, url: str, content: Mapping[str, Any]) -> Answer:
        return await self._ask("POST", url, json=content)

    async def post_form(self, url: str, query: Mapping[str, str], form: Mapping[str, str]) -> Answer:
        return await self._ask("POST", url, params=query, data=form)

    async def until_judged(self, look: Callable[[], Awaitable[R | None]]) -> R:
        """Looks again and again until there is a verdict. An explorer that is busy is asked again as well."""
        busy = False
        try:
            async with asyncio.timeout(self._patience.verdict_seconds):
                while True:
                    try:
                        verdict = await look()
                        busy = False
                    except ExplorerLimitedError:
                        verdict, busy = None, True
                    if verdict is not None:
                        return verdict
                    await asyncio.sleep(self._patience.poll_seconds)
        except TimeoutError:
            if busy:
                fault = f"{self._name} takes no more requests, for {self._patience.verdict_seconds:g} s now"
                raise ExplorerLimitedError(f"{fault}: run again later") from None
            fault = f"{self._name} has not judged within {self._patience.verdict_seconds:g} s"
            raise ExplorerTimeoutError(f"{fault}: run again later") from None

    async def _ask(self, method: str, url: str, **arguments: Any) -> Answer:
        try:
            # A redirect could carry the key to somebody else.
            async with self._session.request(method, url, allow_redirects=False, **arguments) as response:
                raw = await response.content.read(MAX_ANSWER_BYTES)
                status = response.status
        except TimeoutError:
            fault = f"{self._name} did not answer within {self._patience.request_seconds:g} s"
            raise ExplorerTimeoutError(fault) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ExplorerAnswerError(f"{self._name} cannot be reached: {type(error).__name__}") from None
        return self._read(status, raw)

    def _read(self, status: int, raw: bytes) -> Answer:
        if status == TOO_MANY_REQUESTS:
            raise ExplorerLimitedError(f"{self._name} takes no more requests for now")
        if status in SERVER_ERRORS:
            raise ExplorerAnswerError(f"{self._name} has trouble of its own (HTTP {status}): run again later")
        try:
            content = json.loads(raw)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ExplorerAnswerError(f"{self._name} answers HTTP {status} with something that is no JSON object")
        return Answer(status, content)
