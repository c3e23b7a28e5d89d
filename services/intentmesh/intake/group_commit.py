"""Group commit: accepts that wait at the same time become durable in one transaction, written by one writer.

Nobody is answered before the commit of the group. A group that fails for the sake of one of its members, or waits too
long for a lock that another transaction holds, is stored again one by one, so that nobody suffers for another.

A connection that is lost takes along the answer to what was sent on it, a commit perhaps. The group is then stored
again on another connection, which finds what is stored and waits for what is on its way. Where there is no other
connection the store is away: the group fails, and nobody knows what of it is stored.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import asyncpg
import structlog

from intentmesh.domain.errors import ResourceExhausted, Unavailable
from intentmesh.domain.lifecycle import accepted
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.intake.announce import Announcer
from intentmesh.intake.findings import duplicate_nonce, refusal, request_id_reused
from intentmesh.intake.metrics import GROUP_SECONDS, GROUP_SIZE
from intentmesh.intake.store_errors import store_unavailable
from intentmesh.intake.waiting import Accept, Acceptance, Outcome, Waiting
from intentmesh.intake.writer_connection import LOCK_SECONDS, WriterConnection
from intentmesh.rpc.metrics import BACKGROUND_FAILURES
from intentmesh.store import admission
from intentmesh.store.admission import NonceKey, RequestKey, Standing
from intentmesh.store.intents import NewIntent, RequestIdUse
from intentmesh.store.pool import Connection, Pool
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent

log = structlog.get_logger()

ACCEPTED = accepted()
ACCEPTED_MESSAGE = "Accepted; solvers will be asked for offers."

# While groups are small it pays to wait this long for company, since a group costs some 0.4 ms whatever is in it. An
# accept that is alone does not wait.
LINGER_SECONDS = 0.004
_COMPANY = 16
MAX_GROUP = 512
# Accepts that wait for the writer; whoever comes later is told to come again.
MAX_WAITING = 20_000
_RETRY_SECONDS = 1.0
_ATTEMPTS = 3
# How long a writer that died rests before it begins anew: longer than health is looked at, so that it shows.
REST_SECONDS = 5.0
_NAME = "group commit"

_LOST_RACE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
# The same for whoever comes next.
_TROUBLE_OF_THE_STORE = (asyncpg.QueryCanceledError, asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError)
_HELD = "another transaction holds the order; send the same order again"
_DEAD = "the intake cannot store orders at the moment; send the same order again"
_AWAY = "the store did not answer in time, and the order may be stored; send the same order again"


class GroupCommit:
    """The one writer of a process. Use as a context manager; leaving it writes what waits."""

    def __init__(self, pool: Pool, announcer: Announcer) -> None:
        self._announcer = announcer
        self._waiting = Waiting()
        # Taken by the writer, and not told yet.
        self._in_hand: Sequence[Accept] = ()
        self._woken = asyncio.Event()
        self._closing = False
        self._connection = WriterConnection(pool)
        self._writer: asyncio.Task[None] | None = None
        self._rests = False

    async def __aenter__(self) -> Self:
        BACKGROUND_FAILURES.labels(_NAME)
        self._writer = asyncio.create_task(self._keep_writing(), name=_NAME)
        self._writer.add_done_callback(lambda _: self._refuse_all())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._woken.set()
        if self._writer is not None:
            await asyncio.wait([self._writer])
        await self._connection.give_back()

    async def check(self) -> None:
        """Health check: raises RuntimeError while nobody writes."""
        if not self._is_writing:
            raise RuntimeError("the writer died")

    @property
    def _is_writing(self) -> bool:
        # Before it was entered, what is added waits.
        return not self._rests and (self._writer is None or not self._writer.done())

    def add(self, accept: Accept) -> None:
        """Hands an accept to the writer.

        Raises ResourceExhausted OVERLOADED when too many wait, and Unavailable STORE_UNAVAILABLE when nobody writes.
        """
        if not self._is_writing:
            raise store_unavailable(_DEAD)
        if len(self._waiting) >= MAX_WAITING:
            raise ResourceExhausted(
                "The intake has more orders at hand than it can store; try again in a moment.",
                reason=ErrorReason.ERROR_REASON_OVERLOADED,
                retry_after=_RETRY_SECONDS,
            )
        self._waiting.add(accept)
        self._woken.set()

    async def _keep_writing(self) -> None:
        """Until it is closed. Whatever kills the writer is a bug: those who wait hear of it, and health shows it."""
        while True:
            try:
                await self._write()
            except Exception as error:
                BACKGROUND_FAILURES.labels(_NAME).inc()
                log.exception("writer_died", error=repr(error), waiting=len(self._in_hand) + len(self._waiting))
            else:
                return
            self._rests = True
            self._refuse_all()
            await self._connection.drop()
            await self._closed_within(REST_SECONDS)
            self._rests = False

    def _refuse_all(self) -> None:
        refused = [*self._in_hand, *self._waiting.take_all()]
        self._in_hand = ()
        for accept in refused:
            accept.finish(store_unavailable(_AWAY))

    async def _closed_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._closing:
                    self._woken.clear()
                    await self._woken.wait()

    async def _write(self) -> None:
        last_size = 0
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._woken.clear()
                await self._woken.wait()
                continue
            if 1 < last_size < _COMPANY and len(self._waiting) < _COMPANY:
                await asyncio.sleep(LINGER_SECONDS)
            self._in_hand = self._waiting.take_group(MAX_GROUP)
            last_size = len(self._in_hand)
            await self._commit(self._in_hand)

    async def _commit(self, group: Sequence[Accept]) -> None:
        GROUP_SIZE.observe(len(group))
        with GROUP_SECONDS.time():
            outcomes = await self._outcomes(group)
        told = list(zip(group, outcomes, strict=True))
        self._in_hand = ()
        for accept, outcome in told:
            accept.finish(outcome)
        self._announcer.announce(
            [accept.event for accept, outcome in told if isinstance(outcome, Acceptance) and outcome.created]
        )

    async def _outcomes(self, group: Sequence[Accept]) -> list[Outcome]:
        try:
            return await self._store(group)
        except Unavailable as error:
            return [error for _ in group]
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the fault of one of them, and stays with that one)
            log.warning("group_split", size=len(group), error=repr(error))
        return await self._store_one_by_one(group)

    async def _store_one_by_one(self, group: Sequence[Accept]) -> list[Outcome]:
        """All their locks together are waited for as long as those of a group; whose is held still is refused."""
        outcomes: list[Outcome] = []
        patient_until = time.monotonic() + LOCK_SECONDS
        in_a_hurry = False
        try:
            for accept in group:
                if not in_a_hurry and time.monotonic() >= patient_until:
                    in_a_hurry = True
                    await self._connection.hurry()
                outcomes.append(await self._store_alone(accept))
        except Exception as error:  # noqa: BLE001 (the store is away: nobody of the rest need wait for that too)
            log.warning("group_split_ended", done=len(outcomes), size=len(group), error=repr(error))
            await self._connection.drop()
            outcomes += [store_unavailable(_AWAY) for _ in group[len(outcomes) :]]
        if in_a_hurry:
            await self._connection.take_time()
        return outcomes

    async def _store_alone(self, accept: Accept) -> Outcome:
        """Raises what keeps the others from being stored as well."""
        outcome: Outcome = ValueError("at least one attempt is needed")
        for _ in range(_ATTEMPTS):
            try:
                (outcome,) = await self._store([accept])
            except asyncpg.LockNotAvailableError:
                return store_unavailable(_HELD)
            except _LOST_RACE as error:
                outcome = error
                continue
            except (Unavailable, *_TROUBLE_OF_THE_STORE):
                raise
            except Exception as error:  # noqa: BLE001 (its own fault)
                # Nobody knows in what state this left the connection.
                await self._connection.drop()
                outcome = error
            break
        return outcome

    async def _store(self, group: Sequence[Accept]) -> list[Outcome]:
        """The outcome of each member, all of it committed. Raises Unavailable where the store is away."""
        while True:
            is_sent = False
            try:
                conn = await self._connection.get()
                is_sent = True
                return await self._store_at(conn, group)
            except Exception as error:
                if not self._connection.is_lost(error):
                    raise
                log.warning("store_lost", size=len(group), error=repr(error))
                await self._connection.drop()
                if not is_sent or any(accept.in_doubt for accept in group):
                    raise store_unavailable(_AWAY) from error
            for accept in group:
                accept.in_doubt = True

    async def _store_at(self, conn: Connection, group: Sequence[Accept]) -> list[Outcome]:
        asked = {accept.request[0]: accept.request[1] for accept in group if accept.request is not None}
        if not asked:
            # One statement is a transaction of its own, and spares two round trips.
            return await _insert(conn, group)
        async with conn.transaction():
            return await _insert_with_request_ids(conn, group, asked)


async def _insert(conn: Connection, group: Sequence[Accept]) -> list[Outcome]:
    rows = [(accept.new, accept.event.SerializeToString()) for accept in group]
    stored = await admission.insert_intents(conn, ACCEPTED, ACCEPTED_MESSAGE, rows)
    for accept in group:
        accept.was_inserted |= accept.new.intent_id in stored
    if len(stored) == len(group):
        return [_created(accept) for accept in group]
    missing = [accept for accept in group if accept.new.intent_id not in stored]
    standing = await admission.standing_of(conn, [accept.new.intent_id for accept in missing])
    keys = {accept.new.intent_id: key for accept in missing if (key := _nonce_key(accept.new)) is not None}
    holders = await admission.nonce_holders(conn, list(keys.values()))
    ours = await _stored_unheard(conn, [accept for accept in missing if accept.in_doubt or accept.was_inserted])
    return [
        _created(accept)
        if accept.new.intent_id in stored or accept.new.intent_id in ours
        else _found_or_refused(accept, standing, holders, keys.get(accept.new.intent_id))
        for accept in group
    ]


async def _insert_with_request_ids(
    conn: Connection, group: Sequence[Accept], asked: dict[RequestKey, RequestIdUse]
) -> list[Outcome]:
    mine = await admission.claim_request_ids(conn, asked)
    used = await admission.get_request_ids(conn, [key for key in asked if key not in mine])
    reused = {key for key, use in used.items() if use.body_hash != asked[key].body_hash}
    fit = [accept for accept in group if accept.request is None or accept.request[0] not in reused]
    outcomes = dict(zip((accept.new.intent_id for accept in fit), await _insert(conn, fit), strict=True)) if fit else {}
    # A refused order leaves its request id free for the one that is right.
    in_vain = [
        accept.request[0]
        for accept in fit
        if accept.request is not None
        and accept.request[0] in mine
        and isinstance(outcomes[accept.new.intent_id], Exception)
    ]
    if in_vain:
        await admission.give_up_request_ids(conn, in_vain)
    return [outcomes.get(accept.new.intent_id) or refusal([request_id_reused()]) for accept in group]


async def _stored_unheard(conn: Connection, group: Sequence[Accept]) -> set[IntentId]:
    """Whose first event is the one that was sent from here; those of others have another trace and time."""
    if not group:
        return set()
    events = await admission.first_events(conn, [accept.new.intent_id for accept in group])
    return {
        accept.new.intent_id
        for accept in group
        if (event := events.get(accept.new.intent_id)) is not None and IntentEvent.FromString(event) == accept.event
    }


def _created(accept: Accept) -> Acceptance:
    return Acceptance(accept.new.intent_id, ACCEPTED.status, 1, created=True)


def _found_or_refused(
    accept: Accept,
    standing: dict[IntentId, Standing],
    holders: dict[NonceKey, IntentId],
    key: NonceKey | None,
) -> Outcome:
    found = standing.get(accept.new.intent_id)
    if found is not None:
        return Acceptance(accept.new.intent_id, found.status, found.sequence, created=False)
    holder = holders.get(key) if key is not None else None
    if holder is not None:
        return refusal([duplicate_nonce(format_intent_id(holder))])
    # Whoever was in the way has gone meanwhile.
    return store_unavailable("The order met another one that was just removed; try again.")


def _nonce_key(new: NewIntent) -> NonceKey | None:
    return None if new.permit2_nonce is None else NonceKey(new.origin_chain_id, new.user, new.permit2_nonce)
