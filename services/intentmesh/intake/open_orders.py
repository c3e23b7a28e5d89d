"""What each user has open: how many intents, and which funds those may still take.

Kept in memory per user, read anew from the store after some seconds, and moved along by what this process accepts. So a
replica is exact about its own accepts and learns of those of the others within `seconds`. A refusal is never told from
memory: whoever would refuse asks for what is not older than `FRESH_SECONDS`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from intentmesh.domain.types import Address, ChainId, IntentId
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.store_errors import reaching_the_store
from intentmesh.store import admission
from intentmesh.store.pool import Pool

Funds = tuple[ChainId, Address]

FRESH_SECONDS = 0.25
# Of its time: from then on, what is still used is read anew while it serves, so that nobody has to wait for it.
_AHEAD = 0.75
_USERS = 50_000
_USERS_AT_A_TIME = 256


@dataclass(slots=True)
class _Entering:
    """An intent between its checks and its commit; several callers may bring the same one."""

    callers: int
    takes: Mapping[Funds, int]


@dataclass(slots=True)
class UserOrders:
    """One user's open intents."""

    read_at: float
    stored: int
    reserved: dict[Funds, int]
    entering: dict[IntentId, _Entering] = field(default_factory=dict)
    # The sum of what those that enter take.
    reserving: dict[Funds, int] = field(default_factory=dict)
    # Stored since the newest read began, so the read may have missed them.
    stored_meanwhile: list[Mapping[Funds, int]] = field(default_factory=list)

    def count_without(self, intent_id: IntentId) -> int:
        """Open intents, one that is just entering left out."""
        return self.stored + len(self.entering) - (intent_id in self.entering)

    def reserved_without(self, intent_id: IntentId, funds: Funds) -> int:
        """What the open intents may still take of one token on one chain."""
        total = self.reserved.get(funds, 0) + self.reserving.get(funds, 0)
        own = self.entering.get(intent_id)
        return total if own is None else total - own.takes.get(funds, 0)

    def enter(self, admissible: Admissible) -> None:
        entering = self.entering.get(admissible.intent_id)
        if entering is not None:
            entering.callers += 1
            return
        takes = takes_of(admissible)
        self.entering[admissible.intent_id] = _Entering(1, takes)
        for funds, amount in takes.items():
            self.reserving[funds] = self.reserving.get(funds, 0) + amount

    def leave(self, intent_id: IntentId, *, created: bool) -> None:
        entering = self.entering.get(intent_id)
        if entering is None:
            return
        entering.callers -= 1
        if created or entering.callers == 0:
            del self.entering[intent_id]
            for funds, amount in entering.takes.items():
                self.reserving[funds] -= amount
        if created:
            self._add(entering.takes)
            self.stored_meanwhile.append(entering.takes)

    def replace(self, read_at: float, read: admission.OpenOfUser) -> None:
        """Takes over what was read, plus what the read may have missed: rather one too many than one too few."""
        self.read_at, self.stored, self.reserved = read_at, read.count, dict(read.reserved)
        for takes in self.stored_meanwhile:
            self._add(takes)

    def _add(self, takes: Mapping[Funds, int]) -> None:
        self.stored += 1
        for funds, amount in takes.items():
            self.reserved[funds] = self.reserved.get(funds, 0) + amount


class OpenOrders:
    """Reading raises the errors of asyncpg."""

    def __init__(self, pool: Pool, *, seconds: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._seconds = seconds
        self._clock = clock
        self._users: dict[Address, UserOrders] = {}
        self._asked: dict[Address, asyncio.Future[UserOrders]] = {}
        self._reading: asyncio.Task[None] | None = None

    def known(self, user: Address) -> UserOrders | None:
        """What is in memory and not too old. Whoever is old soon is read anew in the background."""
        orders = self._users.get(user)
        if orders is None:
            return None
        age = self._clock() - orders.read_at
        if age >= self._seconds:
            return None
        if age >= _AHEAD * self._seconds:
            self._ask(user)
        return orders

    async def read(self, user: Address, max_age: float = FRESH_SECONDS) -> UserOrders:
        """What is in memory and at most `max_age` seconds old, else what the store says now."""
        orders = self._users.get(user)
        if orders is not None and self._clock() <= orders.read_at + max_age:
            return orders
        return await asyncio.shield(self._ask(user))

    def enter(self, admissible: Admissible) -> None:
        """Reserves for an intent that passed the checks; `leave` must follow."""
        orders = self._users.get(admissible.order.user)
        if orders is not None:
            orders.enter(admissible)

    def leave(self, admissible: Admissible, *, created: bool) -> None:
        """It is stored (by this process, now), or it is not going to be."""
        orders = self._users.get(admissible.order.user)
        if orders is not None:
            orders.leave(admissible.intent_id, created=created)

    def _ask(self, user: Address) -> asyncio.Future[UserOrders]:
        """Has the user read, with whoever else is asked for until then."""
        waiting = self._asked.get(user)
        if waiting is None:
            waiting = self._asked[user] = asyncio.get_running_loop().create_future()
            # Seen by whoever waits; if nobody does, it is not a failure that anybody has to hear of.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_asked(), name="open orders")
        return waiting

    async def _read_asked(self) -> None:
        """Those who are asked for at the same time are read at once."""
        try:
            while self._asked:
                users = list(self._asked)[:_USERS_AT_A_TIME]
                waiting = [self._asked.pop(user) for user in users]
                try:
                    found: Sequence[UserOrders | Exception] = await self._read(users)
                except Exception as error:  # noqa: BLE001 (those who wait must hear of it, whatever it is)
                    found = [error] * len(users)
                for future, orders in zip(waiting, found, strict=True):
                    if isinstance(orders, Exception):
                        future.set_exception(orders)
                    else:
                        future.set_result(orders)
        finally:
            self._reading = None

    async def _read(self, users: Sequence[Address]) -> list[UserOrders]:
        for user in users:
            known = self._users.get(user)
            if known is not None:
                known.stored_meanwhile.clear()
        began_at = self._clock()
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                read = await admission.open_of_users(conn, users)
        found = [self._take_over(user, began_at, read[user]) for user in users]
        while len(self._users) > _USERS:
            del self._users[next(iter(self._users))]
        return found

    def _take_over(self, user: Address, began_at: float, read: admission.OpenOfUser) -> UserOrders:
        orders = self._users.pop(user, None)
        if orders is None:
            orders = UserOrders(began_at, read.count, dict(read.reserved))
        else:
            orders.replace(began_at, read)
        self._users[user] = orders
        return orders


def takes_of(admissible: Admissible) -> dict[Funds, int]:
    """What the order takes, by origin chain and token."""
    takes: dict[Funds, int] = {}
    chain_id = admissible.origin.chain_id
    for item in admissible.order.inputs:
        funds = (chain_id, item.token)
        takes[funds] = takes.get(funds, 0) + item.amount
    return takes
