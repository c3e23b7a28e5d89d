"""The durable accept: intent, first event and its work become durable together, and only then is it answered."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.events import build_event, set_timestamp
from intentmesh.domain.types import ZERO_ADDRESS, Bytes32, IntentId, format_address, format_intent_id
from intentmesh.intake.caller import Caller
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding, duplicate_nonce, refusal, request_id_reused
from intentmesh.intake.group_commit import ACCEPTED, ACCEPTED_MESSAGE, GroupCommit
from intentmesh.intake.store_errors import reaching_the_store
from intentmesh.intake.waiting import Accept, Acceptance, Done
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.store import admission, intents
from intentmesh.store.admission import RequestKey
from intentmesh.store.intents import NewIntent, RequestIdUse
from intentmesh.store.pool import Connection, Pool
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest
from intentmesh.v1.intent_pb2 import IntentType

# Stand where each intent puts its own.
_ANY_ID = IntentId(bytes(32))
_ANY_TIME = datetime.fromtimestamp(0, UTC)


class Acceptor:
    """Raises Unavailable STORE_UNAVAILABLE where no connection is to be had, and the errors of asyncpg."""

    def __init__(self, pool: Pool, writer: GroupCommit, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._writer = writer
        self._clock = clock

    def begin(self, admissible: Admissible, caller: Caller, request: SubmitIntentRequest, done: Done) -> None:
        """Stores the intent once, whoever else submits it at the same time; `done` is called after the commit.

        Its outcome is AlreadyExists DUPLICATE_NONCE when another intent holds the Permit2 nonce, and REQUEST_ID_REUSED.
        Raises ResourceExhausted.
        """
        order = admissible.order
        at = datetime.fromtimestamp(self._clock(), UTC)
        event = IntentEvent()
        event.CopyFrom(_first_event(admissible.intent_type))
        event.intent_id = format_intent_id(admissible.intent_id)
        event.user = format_address(order.user)
        event.trace_id = current_trace_id()
        set_timestamp(event.create_time, at)
        new = NewIntent(
            intent_id=admissible.intent_id,
            user=order.user,
            type=admissible.intent_type,
            order_payload=order_to_proto(order).SerializeToString(),
            input_settler=admissible.origin.input_settler,
            origin_chain_id=order.origin_chain_id,
            signature=admissible.raw_signature,
            permit2_nonce=admissible.permit2_nonce,
            created_at=at,
            expires_at=datetime.fromtimestamp(order.fill_deadline, UTC),
            source=caller.source,
            ip=caller.address,
            user_agent=caller.user_agent,
            inputs=tuple([(item.token, item.amount) for item in order.inputs]),
        )
        self._writer.add(Accept(new, event, done, _request_use(admissible, caller, request)))

    async def find(self, admissible: Admissible) -> Acceptance | None:
        """The intent, if it is stored."""
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                standing = await admission.standing_of(conn, [admissible.intent_id])
        found = standing.get(admissible.intent_id)
        return None if found is None else Acceptance(admissible.intent_id, found.status, found.sequence, created=False)

    async def find_again(
        self, admissible: Admissible, caller: Caller, request: SubmitIntentRequest
    ) -> Acceptance | None:
        """The intent, if it is stored, as an answer to this request: its request id is used from now on.

        Raises AlreadyExists REQUEST_ID_REUSED.
        """
        stored = await self.find(admissible)
        use = _request_use(admissible, caller, request)
        if stored is None or use is None:
            return stored
        with reaching_the_store():
            async with self._pool.acquire() as conn, conn.transaction():
                if not await admission.claim_request_ids(conn, dict([use])) and await _is_reused(conn, *use):
                    raise refusal([request_id_reused()])
        return stored

    async def find_as_signed(
        self, admissible: Admissible, caller: Caller, request: SubmitIntentRequest
    ) -> Acceptance | None:
        """`find_again`, of an intent that is stored with this very signature; any other is nobody's key to it."""
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                row = await intents.get_intent(conn, admissible.intent_id)
        if row is None or row.signature != admissible.raw_signature:
            return None
        return await self.find_again(admissible, caller, request)

    async def conflicts(self, admissible: Admissible) -> list[Finding]:
        """DUPLICATE_NONCE, as of now; the writer decides."""
        holder = await self._nonce_holder(admissible)
        if holder is None or holder == admissible.intent_id:
            return []
        return [duplicate_nonce(format_intent_id(holder))]

    async def reused_request_id(
        self, admissible: Admissible, caller: Caller, request: SubmitIntentRequest
    ) -> list[Finding]:
        """REQUEST_ID_REUSED, as of now; the writer decides."""
        use = _request_use(admissible, caller, request)
        if use is None:
            return []
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                return [request_id_reused()] if await _is_reused(conn, *use) else []

    async def _nonce_holder(self, admissible: Admissible) -> IntentId | None:
        if admissible.permit2_nonce is None:
            return None
        order = admissible.order
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                return await intents.find_by_nonce(conn, order.origin_chain_id, order.user, admissible.permit2_nonce)


@cache
def _first_event(intent_type: "IntentType.ValueType") -> IntentEvent:
    """What the first events of all intents of a type have in common; a copy costs a quarter of making it anew."""
    return build_event(
        intent_id=_ANY_ID,
        sequence=1,
        type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
        state=ACCEPTED,
        intent_type=intent_type,
        user=ZERO_ADDRESS,
        at=_ANY_TIME,
        message=ACCEPTED_MESSAGE,
    )


async def _is_reused(conn: Connection, key: RequestKey, use: RequestIdUse) -> bool:
    found = (await admission.get_request_ids(conn, [key])).get(key)
    return found is not None and found.body_hash != use.body_hash


def _request_use(
    admissible: Admissible, caller: Caller, request: SubmitIntentRequest
) -> tuple[RequestKey, RequestIdUse] | None:
    if not request.request_id:
        return None
    use = RequestIdUse(hash_of_body(request), admissible.intent_id)
    return RequestKey(caller.key, request.request_id), use


def hash_of_body(request: SubmitIntentRequest) -> Bytes32:
    """Over everything but the request id."""
    body = SubmitIntentRequest()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return Bytes32(hashlib.sha256(body.SerializeToString(deterministic=True)).digest())
