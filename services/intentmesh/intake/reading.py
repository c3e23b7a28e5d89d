"""Reading intents: one by its id, which whoever it is shown to may pass on; many only by those they belong to.

An id is public once the order is opened on chain, so what points to the person who submitted is not for everybody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.errors import DeadlineExceeded, FieldViolation, InvalidArgument, NotFound, ResourceExhausted
from intentmesh.domain.types import IntentId, format_intent_id, parse_address, parse_bytes32
from intentmesh.intake.cursor import Cursor, cursor_of, token_of
from intentmesh.intake.store_errors import reaching_the_store
from intentmesh.rpc.access import NO_DELEGATIONS, Delegations, require_sees_intents_of, sees_intents_of
from intentmesh.rpc.pages import page_size, what_fits
from intentmesh.rpc.principals import ANONYMOUS, Principal
from intentmesh.store import executions, intents
from intentmesh.store.intents import IntentFilter, PageKey
from intentmesh.store.pool import Connection, Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import ListIntentsRequest
from intentmesh.v1.intent_pb2 import Intent

# What makes a list shorter to read, the most effective first.
_NARROWING = ("user", "statuses", "create_time_from")
_NARROWEST = ("create_time_from", "create_time_to")
BUSY_RETRY_SECONDS = 1.0


class Reader:
    """Raises Unavailable STORE_UNAVAILABLE where no connection is to be had, and the errors of asyncpg.

    Lists have a pool of their own, of few connections: one that reads half the store for its page holds up other lists
    at most. Its statement timeout is what a list may take; waiting for a turn may take `list_wait` seconds.
    """

    def __init__(
        self,
        pool: Pool,
        lists: Pool,
        *,
        list_wait: float,
        anonymous_lists: bool,
        delegations: Callable[[], Delegations] = lambda: NO_DELEGATIONS,
    ) -> None:
        self._pool = pool
        self._lists = lists
        self._list_turns = asyncio.Semaphore(lists.get_max_size())
        self._list_wait = list_wait
        self._delegations = delegations
        self._anonymous_lists = anonymous_lists

    async def get(self, intent_id: IntentId, caller: Principal) -> Intent:
        """Raises NotFound."""
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                row = await intents.get_intent(conn, intent_id)
                if row is None:
                    raise NotFound("There is no such intent.", metadata={"resource": format_intent_id(intent_id)})
                return (await _shown(conn, [row], caller, self._delegations()))[0]

    async def list(self, request: ListIntentsRequest, caller: Principal) -> tuple[list[Intent], str]:
        """A page, newest first, and the token of the next one ("" on the last). Large intents make short pages.

        Raises Unauthenticated, PermissionDenied, InvalidArgument, DeadlineExceeded for a list that takes too long and
        has to be narrowed, and ResourceExhausted (OVERLOADED) where too many of those are in the way.
        """
        if not self._anonymous_lists:
            require_sees_intents_of(caller, request.user, self._delegations())
        cursor = cursor_of(request)
        size = page_size(request.page_size)
        wanted = _filter(request)
        async with self._list_turn():
            try:
                with reaching_the_store():
                    async with self._lists.acquire() as conn:
                        # One more than asked for tells whether there is another page.
                        rows = await intents.list_intents(conn, wanted, _after(cursor), size + 1)
                        found = await _shown(conn, rows[:size], caller, self._delegations())
            except asyncpg.QueryCanceledError:
                raise _too_slow(request) from None
        if len(rows) == len(found):
            return found, ""
        last = rows[len(found) - 1]
        return found, token_of(Cursor(last.created_at, last.intent_id), request)

    @asynccontextmanager
    async def _list_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._list_wait):
                await self._list_turns.acquire()
        except TimeoutError:
            raise ResourceExhausted(
                "Other lists take all there is for lists; try again.",
                reason=ErrorReason.ERROR_REASON_OVERLOADED,
                retry_after=BUSY_RETRY_SECONDS,
            ) from None
        try:
            yield
        finally:
            self._list_turns.release()


def _too_slow(request: ListIntentsRequest) -> DeadlineExceeded:
    given = {field.name for field, _ in request.ListFields()}
    narrow = " ".join(name for name in _NARROWING if name not in given) or " ".join(_NARROWEST)
    return DeadlineExceeded(
        f"The list takes too long to read; narrow it by: {narrow.replace(' ', ', ')}.", metadata={"narrow": narrow}
    )


async def _shown(
    conn: Connection, rows: Sequence[IntentRow], caller: Principal, delegations: Delegations
) -> list[Intent]:
    """The intents as this caller may see them, as many as go into one answer."""
    transactions = await executions.list_transactions_of(conn, [row.intent_id for row in rows])

    def shown(row: IntentRow) -> Intent:
        intent = intents.to_proto(row, transactions=transactions.get(row.intent_id, ()))
        if not _may_see_where_it_came_from(row, caller, delegations):
            intent.metadata.ClearField("ip")
            intent.metadata.ClearField("user_agent")
        return intent

    return what_fits(map(shown, rows))


def _may_see_where_it_came_from(row: IntentRow, caller: Principal, delegations: Delegations) -> bool:
    submitted_it = caller != ANONYMOUS and str(caller) == row.source
    return submitted_it or sees_intents_of(caller, "0x" + row.user.hex(), delegations)


def _filter(request: ListIntentsRequest) -> IntentFilter:
    return IntentFilter(
        user=parse_address(request.user) if request.user else None,
        statuses=tuple(request.statuses),
        types=tuple(request.types),
        created_from=_time(request, "create_time_from"),
        created_to=_time(request, "create_time_to"),
        transaction_hash=parse_bytes32(request.transaction_hash) if request.transaction_hash else None,
    )


def _time(request: ListIntentsRequest, field: str) -> datetime | None:
    if not request.HasField(field):  # type: ignore[arg-type]  # the stub lists the names it takes
        return None
    timestamp: Timestamp = getattr(request, field)
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        reason, message = ErrorReason.ERROR_REASON_INVALID_FIELD, "is not a time between the years 1 and 9999"
        raise InvalidArgument(
            f"{field} {message}.", reason=reason, violations=[FieldViolation(field, reason, message)]
        ) from None


def _after(cursor: Cursor | None) -> PageKey | None:
    return None if cursor is None else PageKey(cursor.created_at, cursor.intent_id)
