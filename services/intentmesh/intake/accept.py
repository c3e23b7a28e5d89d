"""The durable accept: intent, first event and its work in one transaction; the answer only after the commit."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.errors import AlreadyExists
from intentmesh.domain.events import build_event
from intentmesh.domain.lifecycle import accepted
from intentmesh.domain.types import Bytes32, IntentId, format_intent_id
from intentmesh.intake.announce import Announcer
from intentmesh.intake.caller import Caller
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding, refusal
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.store import intents
from intentmesh.store.intents import NewIntent, NonceHeld, StaleRow
from intentmesh.store.pool import Connection, Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest
from intentmesh.v1.intent_pb2 import IntentStatus

_MESSAGE = "Accepted; solvers will be asked for offers."


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A stored intent. `created` is false where it was there before."""

    intent_id: IntentId
    status: "IntentStatus.ValueType"
    sequence: int
    created: bool


class Acceptor:
    """Raises the errors of asyncpg when the store is away; nothing is stored then, or the whole of it."""

    def __init__(self, pool: Pool, announcer: Announcer, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._announcer = announcer
        self._clock = clock

    async def accept(self, admissible: Admissible, caller: Caller, request: SubmitIntentRequest) -> Acceptance:
        """Stores the intent once, whoever else submits it at the same time.

        Raises AlreadyExists DUPLICATE_NONCE when another intent holds its Permit2 nonce, and REQUEST_ID_REUSED.
        """
        new, event = self._prepare(admissible, caller)
        async with self._pool.acquire() as conn, conn.transaction():
            acceptance = await self._store(conn, admissible, caller, request, new, event)
        if acceptance.created:
            self._announcer.announce(event)
        return acceptance

    async def find(self, admissible: Admissible) -> Acceptance | None:
        """The intent, if it is stored."""
        async with self._pool.acquire() as conn:
            row = await intents.get_intent(conn, admissible.intent_id)
        return None if row is None else _found(row)

    async def conflicts(self, admissible: Admissible) -> list[Finding]:
        """DUPLICATE_NONCE, as of now; `accept` decides."""
        async with self._pool.acquire() as conn:
            holder = await _nonce_holder(conn, admissible)
        if holder is None or holder == admissible.intent_id:
            return []
        return [_duplicate_nonce(format_intent_id(holder))]

    async def _store(
        self,
        conn: Connection,
        admissible: Admissible,
        caller: Caller,
        request: SubmitIntentRequest,
        new: NewIntent,
        event: IntentEvent,
    ) -> Acceptance:
        if request.request_id:
            await _claim_request_id(conn, admissible, caller, request)
        try:
            row = await intents.insert_intent(conn, new, event)
        except NonceHeld as held:
            raise refusal([_duplicate_nonce(held.metadata["intent_id"])]) from None
        if row is not None:
            return Acceptance(row.intent_id, row.state.status, row.sequence, created=True)
        row = await intents.get_intent(conn, admissible.intent_id)
        if row is None:
            raise StaleRow(f"intent {format_intent_id(admissible.intent_id)} was removed while it was submitted")
        return _found(row)

    def _prepare(self, admissible: Admissible, caller: Caller) -> tuple[NewIntent, IntentEvent]:
        order, state = admissible.order, accepted()
        at = datetime.fromtimestamp(self._clock(), UTC)
        event = build_event(
            intent_id=admissible.intent_id,
            sequence=1,
            type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
            state=state,
            intent_type=admissible.intent_type,
            user=order.user,
            at=at,
            message=_MESSAGE,
            trace_id=current_trace_id(),
        )
        new = NewIntent(
            intent_id=admissible.intent_id,
            user=order.user,
            type=admissible.intent_type,
            state=state,
            order_payload=order_to_proto(order).SerializeToString(),
            input_settler=admissible.origin.input_settler,
            origin_chain_id=order.origin_chain_id,
            signature=admissible.raw_signature,
            permit2_nonce=admissible.permit2_nonce,
            created_at=at,
            expires_at=datetime.fromtimestamp(order.fill_deadline, UTC),
            source=str(caller.principal),
            ip=caller.address,
            user_agent=caller.user_agent,
        )
        return new, event


async def _claim_request_id(
    conn: Connection, admissible: Admissible, caller: Caller, request: SubmitIntentRequest
) -> None:
    body_hash = hash_of_body(request)
    holder = await intents.claim_request_id(conn, caller.key, request.request_id, body_hash, admissible.intent_id)
    if holder is not None and holder.body_hash != body_hash:
        raise AlreadyExists(
            "This request id was used with another body.",
            reason=ErrorReason.ERROR_REASON_REQUEST_ID_REUSED,
        )


def hash_of_body(request: SubmitIntentRequest) -> Bytes32:
    """Over everything but the request id."""
    body = SubmitIntentRequest()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return Bytes32(hashlib.sha256(body.SerializeToString(deterministic=True)).digest())


async def _nonce_holder(conn: Connection, admissible: Admissible) -> IntentId | None:
    if admissible.permit2_nonce is None:
        return None
    order = admissible.order
    return await intents.find_by_nonce(conn, order.origin_chain_id, order.user, admissible.permit2_nonce)


def _duplicate_nonce(holder: str) -> Finding:
    return Finding(
        "order.nonce",
        ErrorReason.ERROR_REASON_DUPLICATE_NONCE,
        f"Intent {holder} holds this Permit2 nonce; only one of both could be opened.",
        {"intent_id": holder},
    )


def _found(row: IntentRow) -> Acceptance:
    return Acceptance(row.intent_id, row.state.status, row.sequence, created=False)
