"""What callers' contracts compute on a node does not keep others from asking it; who has code is asked before a no."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.endpoints import MAX_IN_FLIGHT
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.domain.types import Address
from intentmesh.intake.checks.chain import WALLETS_AT_A_TIME, ChainChecks, ChainCheckSettings
from intentmesh.intake.open_orders import FRESH_SECONDS

from tests.unit.intake.networks import ALPHA

WALLET, ACCOUNT = Address(b"\x01" * 20), Address(b"\x02" * 20)
SOON_SECONDS = 20.0


@dataclass
class Node:
    """Answers everything but calls, which it is busy with until it is released."""

    url: str = ""
    code: str = "0x"
    calls: int = 0
    code_questions: int = 0
    is_busy: asyncio.Event = field(default_factory=asyncio.Event)
    is_released: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["method"] == "eth_call":
            self.calls += 1
            if self.calls == WALLETS_AT_A_TIME:
                self.is_busy.set()
            await self.is_released.wait()
        if asked["method"] == "eth_getCode":
            self.code_questions += 1
        result = {"eth_chainId": hex(ALPHA.chain_id), "eth_getCode": self.code}.get(asked["method"], "0x")
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": result})


@asynccontextmanager
async def busy_node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_post("/", node.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield node
    finally:
        node.is_released.set()
        await runner.cleanup()


@asynccontextmanager
async def checks_at(node: Node) -> AsyncIterator[ChainChecks]:
    chain = ALPHA.model_copy(update={"rpc_urls": (node.url,)})
    async with ChainClients(NetworkConfig(chains=(chain,))) as clients:
        yield ChainChecks(clients, ChainCheckSettings())


async def test_wallets__that_compute_for_long__leave_the_node_to_others() -> None:
    async with busy_node() as node:
        chain = ALPHA.model_copy(update={"rpc_urls": (node.url,), "rpc_timeout_seconds": 60.0})
        async with ChainClients(NetworkConfig(chains=(chain,))) as clients, asyncio.timeout(SOON_SECONDS):
            checks = ChainChecks(clients, ChainCheckSettings(timeout=60.0))
            wallets = [
                asyncio.create_task(checks.wallet_agrees(chain.chain_id, WALLET, bytes(32), b"\x01"))
                for _ in range(2 * MAX_IN_FLIGHT)
            ]
            await node.is_busy.wait()
            assert not await checks.is_contract(chain.chain_id, ACCOUNT)
            assert node.calls == WALLETS_AT_A_TIME
            node.is_released.set()
            assert not any(await asyncio.gather(*wallets))


async def test_is_contract__code_since_it_was_asked_last__is_seen() -> None:
    async with busy_node() as node, checks_at(node) as checks:
        assert not await checks.is_contract(ALPHA.chain_id, ACCOUNT)
        node.code = "0x00"
        await asyncio.sleep(FRESH_SECONDS)
        assert await checks.is_contract(ALPHA.chain_id, ACCOUNT)


async def test_is_contract__chain_away__is_not_told_from_memory() -> None:
    async with AsyncExitStack() as stack:
        async with busy_node() as node:
            checks = await stack.enter_async_context(checks_at(node))
            assert not await checks.is_contract(ALPHA.chain_id, ACCOUNT)
        await asyncio.sleep(FRESH_SECONDS)
        with pytest.raises(ChainUnavailable):
            await checks.is_contract(ALPHA.chain_id, ACCOUNT)


async def test_is_contract__asked_again_and_again__asks_the_chain_once() -> None:
    async with busy_node() as node, checks_at(node) as checks:
        answers = await asyncio.gather(*(checks.is_contract(ALPHA.chain_id, ACCOUNT) for _ in range(100)))
        assert not any(answers)
        assert node.code_questions == 1
        node.code = "0x00"
        await asyncio.sleep(FRESH_SECONDS)
        for _ in range(3):
            assert await checks.is_contract(ALPHA.chain_id, ACCOUNT)
            await asyncio.sleep(FRESH_SECONDS)
        assert node.code_questions == 2
