"""What the executor sees of fills, read from real chains."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.domain.order import Order, fill_data_hash
from intentmesh.domain.types import IntentId, format_address, to_bytes32
from intentmesh.embedded.deployment import local_accounts
from intentmesh.executor.alerts import Alerts
from intentmesh.executor.claims import Claims
from intentmesh.executor.evidence import Depth
from intentmesh.executor.gather import Gatherer, Subject
from intentmesh.executor.journal import Journal
from intentmesh.executor.observe import Observer
from intentmesh.executor.verification import verify
from intentmesh.executor.work import View
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store import executions
from intentmesh.store.hints import HintPublisher
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.intent_pb2 import TransactionKind

from tests.integration.executor.world import ALPHA, BETA, RIVAL, World, make_order, signed, submit


async def test_gather__order_with_the_same_output_twice__one_payment_does_not_count_for_both(world: World) -> None:
    once = make_order(world.network)
    twice = replace(once, outputs=once.outputs * 2)
    assert len(await world.hands.fill(twice)) == 1, "the second fill pays nothing"
    await world.hands.mine(3)
    intent_id = world.hands.intent_id(twice)
    settler = world.network.chain(once.origin_chain_id).input_settler
    subject = Subject(intent_id, twice, settler, None)
    proven = verify(twice, await Gatherer(world.hands.clients, time.monotonic).gather(subject))
    assert [fill is None for fill in proven.fills].count(False) == 1
    assert proven.filled is Depth.ABSENT


# Providers cap the blocks of one question; with so few a scan shows.
WINDOW_BLOCKS = 10
LONG_AGO_BLOCKS = 600
# Of one look: heads and final blocks of two chains, the contracts' views, and each event where it was seen before.
MOST_QUESTIONS = 24


@dataclass
class Looks:
    """Looks at one stored intent, each as by a process that has just been started."""

    world: World
    intent_id: IntentId
    valkey_url: str
    questions: list[str]

    async def look(self) -> View:
        self.questions.clear()
        async with AsyncExitStack() as stack:
            valkey = open_valkey(self.valkey_url)
            stack.push_async_callback(valkey.aclose)
            journal = Journal(self.world.pool, HintPublisher(valkey), time.time)
            clients = await stack.enter_async_context(ChainClients(self.world.network))
            gatherer = Gatherer(clients, time.monotonic)
            observer = Observer(gatherer, clients, journal, Alerts("", 60, time.time), time.time, 0.0)
            claims = Claims(self.world.pool, "looker", time.time)
            (claim,) = await claims.claim_due(1, 60)
            _, view = await observer.look(await journal.open(claim))
            await claims.release(claim, 0)
        return view

    async def blocks(self) -> dict[TransactionKind.ValueType, int]:
        """Where the store says that each kind of transaction is."""
        async with self.world.pool.acquire() as conn:
            stored = await executions.list_transactions(conn, self.intent_id)
        return {one.kind: one.block_number for one in stored}


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the endpoints of all chains are asked."""
    asked: list[str] = []
    ask = EndpointPool.request

    async def counted(pool: EndpointPool, method: str, *params: object, first_error_counts: bool = False) -> object:
        asked.append(method)
        return await ask(pool, method, *params, first_error_counts=first_error_counts)

    monkeypatch.setattr(EndpointPool, "request", counted)
    return asked


async def looks_at(world: World, order: Order, valkey_url: str, questions: list[str]) -> Looks:
    # So deep a reorganisation is reckoned with that nothing is told for good meanwhile.
    small = world.with_network(log_window_blocks=WINDOW_BLOCKS, max_reorg_depth=10 * LONG_AGO_BLOCKS)
    return Looks(small, await submit(world.pool, order, world.network), valkey_url, questions)


async def test_look__paid_long_ago_and_not_settled__asks_no_more_than_of_a_new_one(
    world: World, valkey_url: str, questions: list[str]
) -> None:
    order = make_order(world.network, bridge=True)
    looks = await looks_at(world, order, valkey_url, questions)
    await looks.look()
    await world.hands.open_for(order, signed(order, world.network))
    await world.hands.fill(order)
    first = await looks.look()
    await world.hands.mine(LONG_AGO_BLOCKS)
    view = await looks.look()
    assert len(looks.questions) <= MOST_QUESTIONS
    assert view.proven.filled >= Depth.SEEN
    assert sighting_of(view) == sighting_of(first)


async def test_look__settled_long_ago__asks_no_more_than_of_a_new_one(
    world: World, valkey_url: str, questions: list[str]
) -> None:
    order = make_order(world.network)
    looks = await looks_at(world, order, valkey_url, questions)
    await looks.look()
    await world.hands.open_for(order, signed(order, world.network))
    fills = await world.hands.fill(order)
    await looks.look()
    await world.hands.mine(LONG_AGO_BLOCKS)
    await world.hands.prove_here(order, fills)
    await world.hands.finalise(order, fills)
    view = await looks.look()
    assert len(looks.questions) <= 2 * MOST_QUESTIONS, "what is new is looked for in the newest blocks first"
    proofs = view.evidence.proven
    assert len(proofs) == 1
    await world.hands.mine(LONG_AGO_BLOCKS)
    view = await looks.look()
    assert len(looks.questions) <= MOST_QUESTIONS
    assert view.proven.settled >= Depth.SEEN
    assert [one.transaction_hash for one in view.evidence.proven] == [one.transaction_hash for one in proofs]


async def test_look__every_event_moved_by_a_reorganisation__is_found_where_it_is_now(
    world: World, valkey_url: str, questions: list[str]
) -> None:
    order = make_order(world.network, bridge=True)
    looks = await looks_at(world, order, valkey_url, questions)
    await looks.look()
    before = {chain: await world.hands.rpc(chain, "evm_snapshot") for chain in (ALPHA, BETA)}
    await world.hands.open_for(order, signed(order, world.network))
    await world.hands.fill(order)
    first = await looks.look()
    for chain, snapshot in before.items():
        await world.hands.rpc(chain, "evm_revert", snapshot)
    await world.hands.mine(7)
    await world.hands.open_for(order, signed(order, world.network))
    await world.hands.fill(order)
    await world.hands.mine(3)
    view = await looks.look()
    assert view.proven.opened >= Depth.SEEN
    assert view.proven.filled >= Depth.SEEN
    moved = sighting_of(view)
    assert all(now > then for now, then in zip(moved, sighting_of(first), strict=True))
    assert await looks.blocks() == {
        TransactionKind.TRANSACTION_KIND_OPEN: moved[0],
        TransactionKind.TRANSACTION_KIND_FILL: moved[1],
    }
    await world.hands.mine(LONG_AGO_BLOCKS)
    await looks.look()
    assert len(looks.questions) <= MOST_QUESTIONS


async def test_attestations__enough_of_a_fill_that_was_taken_back__those_of_the_present_one_are_collected(
    world: World,
) -> None:
    order = make_order(world.network, bridge=True)
    intent_id = await submit(world.pool, order, world.network)
    await world.hands.open_for(order, signed(order, world.network))
    (fill,) = await world.hands.fill(order)
    present = "0x" + fill_data_hash(intent_id, order.outputs[0], fill.solver, fill.timestamp).hex()
    gone = "0x" + fill_data_hash(intent_id, order.outputs[0], to_bytes32(RIVAL.address), fill.timestamp - 1).hex()
    async with world.pool.acquire() as conn:
        for account in local_accounts("attester"):
            old = FillAttestation(attester=format_address(account.address), data_hash=gone, signature=bytes(65))
            await executions.save_attestation(conn, intent_id, fill.output_hash, account.address, old)
    await world.hands.mine(3)
    async with world.executor():
        deadline = time.monotonic() + 60
        hashes = {gone}
        while gone in hashes:
            assert time.monotonic() < deadline, "nobody was asked about the present fill"
            await asyncio.sleep(0.1)
            async with world.pool.acquire() as conn:
                stored = await executions.list_attestations(conn, intent_id)
            hashes = {one.attestation.data_hash for one in stored}
    assert hashes == {present}


def sighting_of(view: View) -> tuple[int, int]:
    """The blocks of the opening and of the one fill."""
    opened, (fill,) = view.evidence.opened, view.evidence.fills
    assert opened is not None
    return opened.block_number, fill.sighting.block_number
