"""What each user has open: how many intents, and which funds those may still take.

Kept in memory per user, read anew from the store after some seconds, and moved along by what this process accepts. So a
replica is exact about its own accepts and learns of those of the others within `seconds`. Memory decides only where the
user is far from every limit: whoever comes near one, or would be refused, is decided by what is not older than
`FRESH_SECONDS`. So of n replicas, each may exceed a limit by what the others accept within that time.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from intentmesh.domain.types import Address, IntentId
from intentmesh.intake.candidate import Admissible, Funds
from intentmesh.intake.store_errors import reaching_the_store
from intentmesh.store import admission
from intentmesh.store.admission import OpenOfUser, Share
from intentmesh.store.pool import Pool

FRESH_SECONDS = 0.25
# Of its time: from then on, what is still used is read anew while it serves, so that nobody has to wait for it.
_AHEAD = 0.75
# Those for whom nobody waits are read together: users seen at one time grow old at one time, and reading each few of
# them as they are asked for costs a busy server a tenth of a second, in which it serves nobody. Of somebody with many
# open orders the store takes a millisecond, so not too many at a time, and the store rests in between for as long.
_GATHER_SECONDS = 0.1
_AHEAD_AT_A_TIME = 32
# How long nobody is read ahead after that has failed.
_REST_SECONDS = 1.0
_USERS = 50_000
_USERS_AT_A_TIME = 256


@dataclass(slots=True)
class _Entering:
    """An intent between its checks and its commit; several callers may bring the same one."""

    callers: int
    takes: Mapping[Share, int]
    # A read has seen it in the store, whoever brought it there.
    is_stored: bool = False


@dataclass(slots=True)
class UserOrders:
    """One user's open intents."""

    read_at: float
    stored: int
    # What those may still take that are open, and those that enter.
    taken: dict[Share, int]
    entering: dict[IntentId, _Entering] = field(default_factory=dict)
    # Stored since a read began that is not over, so it may have missed them. None while nobody reads: kept for longer,
    # they would be most of what a busy server holds.
    stored_meanwhile: dict[IntentId, Mapping[Share, int]] | None = None

    def count_without(self, intent_id: IntentId) -> int:
        """Open intents, one that is just entering left out."""
        return self.stored + len(self.entering) - (intent_id in self.entering)

    def reserves_without(self, intent_id: IntentId, funds: Funds) -> tuple[int, int]:
        """What the open intents may still take of one token on one chain, one that is just entering left out.

        In all, and the part of it that Permit2 is to take, out of what the user allows it.
        """
        by_permit2, otherwise = (*funds, True), (*funds, False)
        permitted, rest = self.taken.get(by_permit2, 0), self.taken.get(otherwise, 0)
        own = self.entering.get(intent_id)
        if own is not None:
            permitted -= own.takes.get(by_permit2, 0)
            rest -= own.takes.get(otherwise, 0)
        return permitted + rest, permitted

    def enter(self, admissible: Admissible) -> None:
        entering = self.entering.get(admissible.intent_id)
        if entering is not None:
            entering.callers += 1
            return
        takes = shares_of(admissible)
        self.entering[admissible.intent_id] = _Entering(1, takes)
        _add(self.taken, takes)

    def leave(self, intent_id: IntentId, *, created: bool) -> None:
        entering = self.entering.get(intent_id)
        if entering is None:
            return
        entering.callers -= 1
        if created or entering.is_stored:
            del self.entering[intent_id]
            self.stored += 1
            if self.stored_meanwhile is not None:
                self.stored_meanwhile[intent_id] = entering.takes
        elif entering.callers == 0:
            del self.entering[intent_id]
            _add(self.taken, entering.takes, -1)

    def begin_reading(self) -> None:
        """From now on what is stored may be missed by the read; `replace` or `end_reading` must follow."""
        self.stored_meanwhile = {}

    def end_reading(self) -> None:
        """The read is over, or has failed."""
        self.stored_meanwhile = None

    def in_doubt(self) -> Iterable[IntentId]:
        """Those that a read may have seen or not."""
        return (*self.entering, *(self.stored_meanwhile or ()))

    def replace(self, read_at: float, read: OpenOfUser, seen: Mapping[IntentId, bool]) -> None:
        """Takes over what was read. `seen`: those in doubt that the read has counted, and whether with their funds."""
        self.read_at, self.stored, self.taken = read_at, read.count, dict(read.reserved)
        for intent_id, takes in (self.stored_meanwhile or {}).items():
            if intent_id not in seen:
                self.stored += 1
                _add(self.taken, takes)
        for intent_id, entering in self.entering.items():
            if intent_id in seen:
                # It is committed, but has not left yet; then it is counted.
                entering.is_stored = True
                self.stored -= 1
            if not seen.get(intent_id):
                _add(self.taken, entering.takes)
        self.end_reading()


def nothing_open() -> UserOrders:
    """Of somebody of whom nothing is known, or is to be told."""
    return UserOrders(-math.inf, 0, {})


def _add(total: dict[Share, int], takes: Mapping[Share, int], sign: int = 1) -> None:
    for share, amount in takes.items():
        total[share] = total.get(share, 0) + sign * amount


class OpenOrders:
    """Reading raises the errors of asyncpg."""

    def __init__(self, pool: Pool, *, seconds: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._seconds = seconds
        self._clock = clock
        self._users: dict[Address, UserOrders] = {}
        self._asked: dict[Address, asyncio.Future[UserOrders]] = {}
        self._being_read: frozenset[Address] = frozenset()
        # To be read ahead, in this order.
        self._due: dict[Address, None] = {}
        self._reading_ahead: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._rests_until = -math.inf
        # Somebody decides by what is open of them, and waits meanwhile.
        self._looked_at: Counter[Address] = Counter()

    def known(self, user: Address) -> UserOrders | None:
        """What is in memory and not too old. Whoever is old soon is read anew in the background."""
        orders = self._users.get(user)
        if orders is None:
            return None
        now = self._clock()
        if now >= orders.read_at + self._seconds:
            return None
        if now >= orders.read_at + _AHEAD * self._seconds and now >= self._rests_until:
            self._read_ahead(user)
        return orders

    def is_fresh(self, orders: UserOrders) -> bool:
        """Whether `read` would not ask the store about this user."""
        return self._clock() <= orders.read_at + FRESH_SECONDS

    async def read(self, user: Address, max_age: float = FRESH_SECONDS) -> UserOrders:
        """What is in memory and at most `max_age` seconds old, else what the store says now."""
        orders = self._users.get(user)
        if orders is not None and self._clock() <= orders.read_at + max_age:
            return orders
        return await asyncio.shield(self._ask(user))

    @contextmanager
    def kept(self, user: Address) -> Iterator[None]:
        """What is known of the user meanwhile stays the same object: who has looked at it enters into it."""
        self._looked_at[user] += 1
        try:
            yield
        finally:
            self._looked_at[user] -= 1
            if not self._looked_at[user]:
                del self._looked_at[user]

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

    def _read_ahead(self, user: Address) -> None:
        if user in self._being_read or user in self._due:
            return
        self._due[user] = None
        if self._reading_ahead is None:
            self._reading_ahead = asyncio.create_task(self._read_due(), name="open orders, read ahead")

    async def _read_due(self) -> None:
        try:
            await asyncio.sleep(_GATHER_SECONDS)
            while self._due and self._clock() >= self._rests_until:
                began = time.monotonic()
                await asyncio.wait([self._ask(user) for user in islice(self._due, _AHEAD_AT_A_TIME)])
                await asyncio.sleep(time.monotonic() - began)
        finally:
            self._due.clear()
            self._reading_ahead = None

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
                self._being_read = frozenset(users)
                try:
                    found: Sequence[UserOrders | Exception] = await self._read(users)
                except Exception as error:  # noqa: BLE001 (those who wait must hear of it, whatever it is)
                    self._rests_until = self._clock() + _REST_SECONDS
                    found = [error] * len(users)
                for future, orders in zip(waiting, found, strict=True):
                    if isinstance(orders, Exception):
                        future.set_exception(orders)
                    else:
                        future.set_result(orders)
        finally:
            self._being_read = frozenset()
            self._reading = None

    async def _read(self, users: Sequence[Address]) -> list[UserOrders]:
        known = [self._users[user] for user in users if user in self._users]
        for orders in known:
            orders.begin_reading()
        began_at = self._clock()
        try:
            with reaching_the_store():
                # Both questions see the store as it was at one moment.
                async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
                    read = await admission.open_of_users(conn, users)
                    in_doubt = [intent_id for orders in known for intent_id in orders.in_doubt()]
                    seen = await admission.open_among(conn, in_doubt) if in_doubt else {}
                    found = [self._take_over(user, began_at, read[user], seen) for user in users]
        finally:
            for orders in known:
                orders.end_reading()
        self._forget_some()
        return found

    def _take_over(self, user: Address, began_at: float, read: OpenOfUser, seen: Mapping[IntentId, bool]) -> UserOrders:
        # Whoever it was that asked.
        self._due.pop(user, None)
        orders = self._users.pop(user, None)
        if orders is None:
            orders = UserOrders(began_at, read.count, dict(read.reserved))
        else:
            orders.replace(began_at, read, seen)
        self._users[user] = orders
        return orders

    def _forget_some(self) -> None:
        """Those read longest ago, but none with an intent on its way into the store, or to the decision."""
        surplus = len(self._users) - _USERS
        if surplus > 0:
            idle = [user for user, orders in self._users.items() if not orders.entering and user not in self._looked_at]
            for user in idle[:surplus]:
                del self._users[user]


def shares_of(admissible: Admissible) -> dict[Share, int]:
    """What the order takes, and who takes it."""
    by_permit2 = admissible.permit2_nonce is not None
    return {(*funds, by_permit2): amount for funds, amount in admissible.takes.items()}
