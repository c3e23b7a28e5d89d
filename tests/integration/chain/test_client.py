"""The client over several endpoints, some of them bad."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from intentmesh.chain.client import ChainClient, ChainClients
from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.chain.endpoints import MAX_IN_FLIGHT, EndpointPool
from intentmesh.chain.errors import ChainUnavailable, EndpointError
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.chain.records import TransactionHash
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import to_bytes32

from tests.fixtures.servers import LocalChains
from tests.fixtures.signed_orders import swap_order
from tests.integration.chain.conftest import SOLVER, Hands

HttpHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def with_urls(chain: ChainConfig, *urls: str, timeout_seconds: float = 0.5) -> ChainConfig:
    return chain.model_copy(update={"rpc_urls": urls, "rpc_timeout_seconds": timeout_seconds})


@asynccontextmanager
async def bad_endpoint(answer: bytes | None) -> AsyncIterator[str]:
    """Accepts and answers every request with these bytes as the body; None never answers."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


BAD_ANSWERS = {
    "silent": None,
    "no JSON": b"<html>502</html>",
    "neither": b'{"jsonrpc":"2.0","id":1}',
    "no object": b"[]",
    "trouble of its own": b'{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"limit exceeded"}}',
    "odd error": b'{"jsonrpc":"2.0","id":1,"error":"no"}',
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_client__first_endpoint_bad__the_second_answers(network: NetworkConfig, answer: bytes | None) -> None:
    chain = network.chains[0]
    async with bad_endpoint(answer) as bad, ChainClient(with_urls(chain, bad, chain.rpc_urls[0])) as client:
        assert (await client.head()).number > 0


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_client__every_endpoint_bad__unavailable_and_never_anything_else(
    network: NetworkConfig, answer: bytes | None
) -> None:
    async with bad_endpoint(answer) as bad, ChainClient(with_urls(network.chains[0], bad, bad)) as client:
        with pytest.raises(ChainUnavailable) as caught:
            await client.head()
    assert bad not in caught.value.message
    assert caught.value.retry_after is not None


async def test_client__nobody_listens__unavailable_at_once_and_the_rest_steps_in(network: NetworkConfig) -> None:
    chain = network.chains[0]
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with ChainClient(with_urls(chain, nowhere)) as client:
        with pytest.raises(ChainUnavailable):
            await client.head()
    async with ChainClient(with_urls(chain, nowhere, chain.rpc_urls[0])) as client:
        assert (await client.head()).number > 0


async def test_client__endpoint_of_another_chain__is_not_believed(network: NetworkConfig) -> None:
    alpha, beta = network.chains
    async with ChainClient(with_urls(alpha, beta.rpc_urls[0])) as client:
        with pytest.raises(ChainUnavailable):
            await client.head()
    async with ChainClient(with_urls(alpha, beta.rpc_urls[0], alpha.rpc_urls[0])) as client:
        assert await client.code(alpha.input_settler)


async def test_send_raw__refused__keeps_the_nodes_own_words(chain_clients: ChainClients) -> None:
    client = next(iter(chain_clients.all.values()))
    with pytest.raises(EndpointError) as caught:
        await client.send_raw(b"\x02\x01")
    assert caught.value.text
    assert caught.value.text not in caught.value.message


async def test_call__no_contract_there__unavailable_rather_than_an_answer(
    network: NetworkConfig, chain_clients: ChainClients
) -> None:
    settler = OutputSettler(chain_clients.of(network.chains[0].chain_id), SOLVER)
    signed = await swap_order(network, chain_clients)
    with pytest.raises(ChainUnavailable):
        await settler.fill_record(signed.intent_id, to_bytes32(SOLVER))


@pytest.mark.parametrize("window", [1, 2, 3, 1000])
async def test_logs__in_windows__none_missed_none_twice(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands, window: int
) -> None:
    chain = network.chains[0].model_copy(update={"log_window_blocks": window})
    solver = to_bytes32(SOLVER)
    async with ChainClients(NetworkConfig(chains=(chain,))) as clients:
        settler = OutputSettler(clients.of(chain.chain_id))
        signed = await swap_order(network, chain_clients)
        start = (await settler.client.head()).number
        for later in range(4):
            # Fills are permissionless: anything may be filled under anybody's order id.
            output = replace(signed.output, amount=later + 1)
            await hands.send(chain, settler.address, settler.encode_fill(signed.intent_id, output, 2**40, solver))
            await hands.mine(chain, later)
        fills = await settler.find_fills(signed.intent_id, start)
    assert [fill.final_amount for fill in fills] == [1, 2, 3, 4]


async def test_receipt__unknown_transaction__is_none(chain_clients: ChainClients) -> None:
    client = next(iter(chain_clients.all.values()))
    assert await client.receipt(TransactionHash(bytes(32))) is None
    assert await client.transaction(TransactionHash(bytes(32))) is None
    assert await client.block(10**9) is None


async def test_holder__nonces_used_in_blocks_here_and_there__each_is_found(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    chain = network.chains[0]
    client = chain_clients.of(chain.chain_id)
    token = Token(client, chain.tokens["USDC"].address)
    first = await client.nonce(SOLVER)
    sent = []
    for gap in (0, 1, 6, 19):
        sent.append(await hands.send(chain, token.address, token.encode_transfer(SOLVER, 1)))
        await hands.mine(chain, gap)
    holders = [await client.holder(SOLVER, first + index) for index in range(len(sent))]
    assert [holder and (holder.transaction_hash, holder.block_number) for holder in holders] == [
        (receipt.transaction_hash, receipt.block_number) for receipt in sent
    ]
    assert await client.holder(SOLVER, first + len(sent)) is None


async def test_final_block__is_as_deep_as_configured(network: NetworkConfig, chains: LocalChains, hands: Hands) -> None:
    del chains
    chain = network.chains[0].model_copy(update={"confirmations": 3, "max_reorg_depth": 5})
    await hands.mine(chain, 10)
    async with ChainClient(chain) as client:
        head, final = await client.head(), await client.final_block()
    assert final is not None
    assert head.number - final.number + 1 == chain.final_depth == 6


async def test_fees__of_a_running_chain__leave_room(chain_clients: ChainClients) -> None:
    fees = await next(iter(chain_clients.all.values())).fees()
    assert fees.max_fee >= 2 * fees.base_fee
    assert fees.priority_fee >= 0


@asynccontextmanager
async def slow_endpoint(seconds: float, in_work: list[int]) -> AsyncIterator[str]:
    """A healthy node that takes its time over each request; `in_work` tells how many it had at each one's beginning."""
    running = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal running
        asked = await request.json()
        running += 1
        in_work.append(running)
        try:
            await asyncio.sleep(seconds)
            return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": hex(31337)})
        finally:
            running -= 1

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_request__far_more_at_once_than_an_endpoint_answers_in_time__wait_for_their_turn_outside_of_it() -> None:
    in_work: list[int] = []
    async with slow_endpoint(0.5, in_work) as url:
        pool = EndpointPool(31337, [url], 1.2)
        try:
            assert await pool.request("eth_chainId") == hex(31337)
            # For all of them the node needs longer than it may take for one.
            answers = await asyncio.gather(*(pool.request("eth_chainId") for _ in range(300)), return_exceptions=True)
        finally:
            await pool.close()
    assert answers == [hex(31337)] * 300
    assert max(in_work) <= MAX_IN_FLIGHT


async def test_request__waits_while_an_endpoint_fails__goes_to_the_one_that_answers() -> None:
    in_work: list[int] = []
    async with bad_endpoint(None) as silent, slow_endpoint(0.01, in_work) as url:
        pool = EndpointPool(31337, [silent, url], 0.5, max_in_flight=2)
        try:
            began = time.monotonic()
            answers = await asyncio.gather(*(pool.request("eth_chainId") for _ in range(40)))
        finally:
            await pool.close()
    assert answers == [hex(31337)] * 40
    # Those that wait hear of the failure and need not find out for themselves: 40 of them would take 10 s.
    assert time.monotonic() - began < 5.0


async def test_request__given_up_while_it_waits__leaves_its_turn_to_others() -> None:
    in_work: list[int] = []
    async with slow_endpoint(0.2, in_work) as url:
        pool = EndpointPool(31337, [url], 5.0, max_in_flight=1)
        try:
            first, second, third = (asyncio.create_task(pool.request("eth_chainId")) for _ in range(3))
            while not in_work:  # noqa: ASYNC110 (another task's)
                await asyncio.sleep(0.005)
            second.cancel()
            first.cancel()
            async with asyncio.timeout(5):
                assert await third == hex(31337)
        finally:
            await pool.close()


async def test_request__cancelled_at_any_moment__leaves_no_session_open() -> None:
    before = {id(session) for session in _open_sessions()}
    for moment in range(12):
        async with bad_endpoint(b'{"jsonrpc":"2.0","id":1,"result":"0x7a69"}') as url:
            pool = EndpointPool(31337, [url], 1.0)
            request = asyncio.ensure_future(pool.request("eth_blockNumber"))
            for _ in range(moment):
                await asyncio.sleep(0)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            both = await asyncio.gather(pool.request("eth_blockNumber"), pool.request("eth_blockNumber"))
            assert both == ["0x7a69", "0x7a69"]
            await pool.close()
            with pytest.raises(ChainUnavailable):
                await pool.request("eth_blockNumber")
    assert [session for session in _open_sessions() if id(session) not in before] == []


def _open_sessions() -> list[ClientSession]:
    return [found for found in gc.get_objects() if type(found) is ClientSession and not found.closed]
