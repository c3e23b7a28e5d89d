"""Servers on this machine that answer as the documentation of Sourcify's and Etherscan's APIs says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

JOB = "72d12273-0723-448e-a9f6-f7957128efa5"
TICKET = "x3ryqcqr1zdknhfhkimqmizlcqpxncqc6nrvp3pgrcpfsqedqi"
KEY = "A-KEY-THAT-NOBODY-MAY-SEE"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    """The URL of a server with these routes, until the end of the block."""
    application = web.Application(client_max_size=16 << 20)
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class SourcifyServer:
    """Takes submissions and completes each job after some looks at it."""

    looks_until_done: int = 2
    # What a completed job holds besides.
    end: Mapping[str, Any] = field(default_factory=lambda: {"contract": {"match": "exact_match"}})
    # How often it is busy before it takes a request.
    busy: int = 0
    verified: bool = False
    submissions: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    looks: int = 0

    @property
    def routes(self) -> tuple[web.RouteDef, ...]:
        return (
            web.post("/v2/verify/{chain}/{address}", self._submit),
            web.get("/v2/verify/{job}", self._look),
        )

    async def _submit(self, request: web.Request) -> web.Response:
        if self.busy > 0:
            self.busy -= 1
            return _error(429, "too_many_requests", "Too many requests")
        if self.verified:
            return _error(409, "already_verified", "The contract is already verified")
        content = await request.json()
        if set(content) - {"stdJsonInput", "compilerVersion", "contractIdentifier", "creationTransactionHash"}:
            return _error(400, "invalid_parameter", "an unknown field")
        self.submissions.append((f"{request.match_info['chain']}/{request.match_info['address']}", content))
        return web.json_response({"verificationId": JOB}, status=202)

    async def _look(self, request: web.Request) -> web.Response:
        if request.match_info["job"] != JOB:
            return _error(404, "job_not_found", "The verification job was not found")
        self.looks += 1
        done = self.looks > self.looks_until_done
        content: dict[str, Any] = {"isJobCompleted": done, "verificationId": JOB, "contract": {"match": None}}
        return web.json_response({**content, **(self.end if done else {})})


@dataclass
class EtherscanServer:
    """Gives a ticket for a submission with the right key, and tells of it after some looks."""

    looks_until_done: int = 2
    end: str = "Pass - Verified"
    busy: int = 0
    verified: bool = False
    # How often it has not seen the contract yet.
    behind: int = 0
    submissions: list[Mapping[str, str]] = field(default_factory=list)
    looks: int = 0

    @property
    def routes(self) -> tuple[web.RouteDef, ...]:
        return web.post("/v2/api", self._submit), web.get("/v2/api", self._look)

    async def _submit(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self.busy > 0:
            self.busy -= 1
            return _said("0", "Max rate limit reached, please use API Key for higher rate limit")
        if form["apikey"] != KEY:
            return _said("0", f"Invalid API Key: {form['apikey']}")
        if "chainid" not in request.query:
            return _said("0", "Missing or unsupported chainid parameter (required for v2 api)")
        if self.verified:
            return _said("0", "Contract source code already verified")
        if self.behind > 0:
            self.behind -= 1
            return _said("0", f"Unable to locate ContractCode at {form['contractaddress']}")
        self.submissions.append({**form, "chainid": request.query["chainid"]})
        return _said("1", TICKET)

    async def _look(self, request: web.Request) -> web.Response:
        if request.query["apikey"] != KEY or request.query["guid"] != TICKET:
            return _said("0", "Invalid API Key or GUID")
        self.looks += 1
        if self.looks <= self.looks_until_done:
            return _said("0", "Pending in queue")
        return _said("1" if self.end.startswith("Pass") else "0", self.end)


def answering(text: str, status: int = 200, content_type: str = "text/html") -> tuple[web.RouteDef, ...]:
    """Routes that say the same to everybody."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, status=status, content_type=content_type)

    return (web.route("*", "/{path:.*}", answer),)


def redirecting(to: str) -> tuple[web.RouteDef, ...]:
    async def answer(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(to)

    return (web.route("*", "/{path:.*}", answer),)


def silent() -> tuple[web.RouteDef, ...]:
    """Routes that never answer."""

    async def wait(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    return (web.route("*", "/{path:.*}", wait),)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"customCode": code, "message": message, "errorId": JOB}, status=status)


def _said(status: str, result: str) -> web.Response:
    return web.json_response({"status": status, "message": "OK" if status == "1" else "NOTOK", "result": result})
