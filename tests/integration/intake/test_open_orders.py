"""What users have open, as the store says it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from intentmesh.domain.types import Address, IntentId
from intentmesh.embedded.postgres import Dsn
from intentmesh.intake import open_orders as intake_open_orders
from intentmesh.intake.open_orders import OpenOrders
from intentmesh.store import admission
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import Connection, Pool, open_pool
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

from tests.fixtures.intents import ALICE, BOB, commit_change, store_intent, transition
from tests.fixtures.orders import make_order, permit2_request
from tests.unit.intake.networks import ALPHA, NETWORK
from tests.unit.intake.test_checks import _admissible

SECONDS = 30.0
NOBODY = IntentId(bytes(32))


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def pool(fresh_database: Dsn) -> AsyncIterator[Pool]:
    await migrate(fresh_database)
    async with await open_pool(fresh_database, max_size=2, name="open orders") as opened:
        yield opened


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def open_orders(pool: Pool, clock: _Clock) -> OpenOrders:
    return OpenOrders(pool, seconds=SECONDS, clock=clock)


async def test_kept__others_come_meanwhile__is_not_forgotten(
    open_orders: OpenOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_open_orders, "_USERS", 1)
    with open_orders.kept(ALICE):
        looked_at = await open_orders.read(ALICE)
        await open_orders.read(BOB)
        assert open_orders.known(ALICE) is looked_at
    await open_orders.read(BOB, max_age=-1)
    assert open_orders.known(ALICE) is None


async def test_known__while_it_is_young__is_what_was_read(pool: Pool, clock: _Clock, open_orders: OpenOrders) -> None:
    assert open_orders.known(ALICE) is None
    assert (await open_orders.read(ALICE)).stored == 0
    await store_intent(pool)
    clock.now = SECONDS / 2
    known = open_orders.known(ALICE)
    assert known is not None
    # Whoever is read after that comes after what would have been asked for by it.
    await open_orders.read(BOB)
    assert (known.stored, known.read_at) == (0, 0.0)


async def test_known__soon_too_old__serves_and_is_read_anew(pool: Pool, clock: _Clock, open_orders: OpenOrders) -> None:
    await open_orders.read(ALICE)
    await store_intent(pool)
    clock.now = SECONDS - 1
    known = open_orders.known(ALICE)
    assert known is not None
    assert known.stored == 0
    async with asyncio.timeout(10):
        # Asked for by nobody else, and nobody waited for it.
        while known.read_at < clock.now:  # noqa: ASYNC110 (nobody is told, since nobody waits)
            await asyncio.sleep(0.01)
    assert known.stored == 1
    clock.now = 2 * SECONDS - 2
    assert open_orders.known(ALICE) is known


async def test_known__many_soon_too_old__are_read_together(
    clock: _Clock, open_orders: OpenOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [Address(number.to_bytes(20, "big")) for number in range(1, 9)]
    await asyncio.gather(*(open_orders.read(user) for user in users))
    reads: list[int] = []
    open_of_users = admission.open_of_users

    async def counted(conn: Connection, asked: Sequence[Address]) -> Any:
        reads.append(len(asked))
        return await open_of_users(conn, asked)

    monkeypatch.setattr(admission, "open_of_users", counted)
    monkeypatch.setattr(intake_open_orders, "_GATHER_SECONDS", 1.0)
    clock.now = SECONDS - 1
    async with asyncio.timeout(10):
        for user in users:
            known = open_orders.known(user)
            assert known is not None
            # Others have their turn in between, a read as well.
            await asyncio.sleep(0.005)
        while known.read_at < clock.now:  # noqa: ASYNC110 (nobody is told, since nobody waits)
            await asyncio.sleep(0.01)
    assert reads == [len(users)]


async def test_known__more_soon_too_old_than_are_read_at_a_time__the_store_rests_in_between(
    clock: _Clock, open_orders: OpenOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [Address(number.to_bytes(20, "big")) for number in range(1, 9)]
    await asyncio.gather(*(open_orders.read(user) for user in users))
    reads: list[tuple[int, float, float]] = []
    open_of_users = admission.open_of_users

    async def slow(conn: Connection, asked: Sequence[Address]) -> Any:
        began = time.monotonic()
        await asyncio.sleep(0.05)
        found = await open_of_users(conn, asked)
        reads.append((len(asked), began, time.monotonic()))
        return found

    monkeypatch.setattr(admission, "open_of_users", slow)
    monkeypatch.setattr(intake_open_orders, "_AHEAD_AT_A_TIME", 3)
    clock.now = SECONDS - 1
    known = [open_orders.known(user) for user in users]
    async with asyncio.timeout(10):
        while any(orders is None or orders.read_at < clock.now for orders in known):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
    assert [size for size, _, _ in reads] == [3, 3, 2]
    for (_, began, ended), (_, next_began, _) in itertools.pairwise(reads):
        assert next_began - ended >= ended - began


async def test_known__read_for_somebody_while_it_is_due__is_not_read_again(
    clock: _Clock, open_orders: OpenOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [Address(number.to_bytes(20, "big")) for number in range(1, 9)]
    await asyncio.gather(*(open_orders.read(user) for user in users))
    reads: list[Sequence[Address]] = []
    open_of_users = admission.open_of_users

    async def recorded(conn: Connection, asked: Sequence[Address]) -> Any:
        reads.append(asked)
        return await open_of_users(conn, asked)

    monkeypatch.setattr(admission, "open_of_users", recorded)
    monkeypatch.setattr(intake_open_orders, "_AHEAD_AT_A_TIME", 3)
    clock.now = SECONDS - 1
    known = [open_orders.known(user) for user in users]
    await open_orders.read(users[4])
    async with asyncio.timeout(10):
        while any(orders is None or orders.read_at < clock.now for orders in known):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
    # Whoever was due first is read first.
    assert reads == [[users[4]], users[:3], [users[3], *users[5:7]], users[7:]]


async def test_known__too_old__is_not_known(clock: _Clock, open_orders: OpenOrders) -> None:
    await open_orders.read(ALICE)
    clock.now = SECONDS
    assert open_orders.known(ALICE) is None


async def test_known__store_away_while_it_is_read_anew__serves_until_it_is_too_old(
    pool: Pool, clock: _Clock, open_orders: OpenOrders
) -> None:
    await open_orders.read(ALICE)
    await pool.close()
    clock.now = SECONDS - 1
    assert open_orders.known(ALICE) is not None
    with pytest.raises(asyncpg.InterfaceError):
        await open_orders.read(ALICE, max_age=0.0)
    known = open_orders.known(ALICE)
    assert known is not None
    assert known.stored_meanwhile is None
    clock.now = SECONDS
    assert open_orders.known(ALICE) is None


async def test_read__an_intent_that_is_committed_and_has_not_left__is_counted_once(
    pool: Pool, clock: _Clock, open_orders: OpenOrders
) -> None:
    admissible = _admissible(permit2_request(NETWORK, make_order(ALPHA)))
    user, amount = admissible.order.user, admissible.order.inputs[0].amount
    usdc = (ALPHA.chain_id, ALPHA.tokens["USDC"].address)
    await open_orders.read(user)
    open_orders.enter(admissible)
    await store_intent(
        pool,
        intent_id=admissible.intent_id,
        user=user,
        permit2_nonce=admissible.permit2_nonce,
        inputs=((usdc[1], amount),),
    )
    clock.now = 1.0
    orders = await open_orders.read(user)
    told = (orders.count_without(NOBODY), orders.reserves_without(NOBODY, usdc)[0])
    open_orders.leave(admissible, created=True)
    assert told == (orders.count_without(NOBODY), orders.reserves_without(NOBODY, usdc)[0]) == (1, amount)
    clock.now = 2.0
    orders = await open_orders.read(user)
    assert (orders.count_without(NOBODY), orders.reserves_without(NOBODY, usdc)[1]) == (1, amount)


async def test_read__order_that_a_solver_may_open__still_takes_what_it_gives(
    pool: Pool, open_orders: OpenOrders
) -> None:
    usdc = (ALPHA.chain_id, ALPHA.tokens["USDC"].address)
    row = await store_intent(pool, permit2_nonce=7, inputs=((usdc[1], 5),))
    await commit_change(
        pool,
        row.intent_id,
        transition(
            IntentStatus.INTENT_STATUS_EXECUTING, IntentPhase.INTENT_PHASE_AWARDED, Obligation.OBLIGATION_OPENABLE
        ),
    )
    assert (await open_orders.read(ALICE)).reserves_without(NOBODY, usdc) == (5, 5)
