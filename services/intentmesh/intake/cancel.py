"""Withdrawing an intent. A signature cannot be recalled: at once only while no solver can have been handed it.

The user has the signature as well and may have opened the order without us, so the chain is looked at before CANCELLED
is told. Where it does not answer the mesh stops its work, and the executor tells the end when it knows.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from intentmesh.chain.client import ChainClients
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.permit2 import Permit2
from intentmesh.domain.digests import cancel_intent_digest
from intentmesh.domain.errors import FailedPrecondition, InvalidArgument, MeshError, NotFound
from intentmesh.domain.lifecycle import State, advance, terminate
from intentmesh.domain.signatures import InvalidSignature, recover
from intentmesh.domain.types import Address, IntentId, format_address, format_intent_id
from intentmesh.intake.announce import Announcer
from intentmesh.intake.checks.chain import ChainChecks
from intentmesh.intake.store_errors import reaching_the_store
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.store import executions, intents
from intentmesh.store.intents import Change
from intentmesh.store.pool import Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

# How far ahead a cancellation may be valid: long enough for a slow signer, short enough not to lie around.
MAX_VALIDITY_SECONDS = 600

_PHASES_THAT_CANNOT_BE_STOPPED = frozenset((IntentPhase.INTENT_PHASE_FILLED, IntentPhase.INTENT_PHASE_CONFIRMED))


class _Escrow(Enum):
    """What the origin chain shows of an order that no solver was handed."""

    UNOPENED = auto()
    OPENED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Invalidation:
    """The transaction with which the user makes the order unopenable."""

    chain_id: int
    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Where the intent stands after the request."""

    state: State
    sequence: int
    invalidation: Invalidation | None


class Canceller:
    """Checks and carries out cancellations."""

    def __init__(
        self,
        pool: Pool,
        clients: ChainClients,
        chain: ChainChecks,
        announcer: Announcer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._clients = clients
        self._chain = chain
        self._announcer = announcer
        self._clock = clock

    async def cancel(self, intent_id: IntentId, signature: bytes, valid_until: int) -> Cancellation:
        """Idempotent. `valid_until` in Unix seconds.

        Raises NotFound, InvalidArgument (time or signature), FailedPrecondition ALREADY_TERMINAL, and ChainUnavailable
        where only the chain could tell whether the signature is the user's.
        """
        self._require_valid_time(valid_until)
        with reaching_the_store():
            async with self._pool.acquire() as conn:
                row = await intents.get_intent(conn, intent_id)
        if row is None:
            raise _not_found(intent_id)
        await self._require_signed(row, signature, valid_until)
        # Before the row is locked: nobody waits for a chain with a lock in hand.
        escrow = await self._look(row) if _is_unsent(row) else _Escrow.UNKNOWN

        event: IntentEvent | None = None
        with reaching_the_store():
            async with self._pool.acquire() as conn, conn.transaction():
                row = await intents.lock_intent(conn, intent_id)
                if row is None:
                    raise _not_found(intent_id)
                change = _change_for(row, escrow)
                if change is not None:
                    row, event = await intents.apply(conn, row, change)
                    await executions.wake(conn, intent_id)
        if event is not None:
            self._announcer.announce([event])
        return Cancellation(row.state, row.sequence, self._invalidation_for(row))

    def _require_valid_time(self, valid_until: int) -> None:
        now = int(self._clock())
        if valid_until < now:
            raise _invalid_time("The request is void since its valid_until.", "earliest", now)
        if valid_until > now + MAX_VALIDITY_SECONDS:
            raise _invalid_time(
                f"valid_until lies more than {MAX_VALIDITY_SECONDS} s ahead.", "latest", now + MAX_VALIDITY_SECONDS
            )

    async def _require_signed(self, row: IntentRow, signature: bytes, valid_until: int) -> None:
        digest = cancel_intent_digest(row.origin_chain_id, row.intent_id, valid_until)
        fault = _signature_fault(digest, signature, row.user)
        if fault is None:
            return
        if not await self._chain.is_contract(row.origin_chain_id, row.user):
            raise fault
        if not await self._chain.wallet_agrees(row.origin_chain_id, row.user, digest, signature):
            raise InvalidArgument(
                "The contract wallet does not confirm the signature.",
                reason=ErrorReason.ERROR_REASON_INVALID_EIP1271_SIGNATURE,
            )

    async def _look(self, row: IntentRow) -> _Escrow:
        try:
            opened = await self._chain.is_opened(row.origin_chain_id, row.input_settler, row.intent_id)
        except ChainUnavailable:
            return _Escrow.UNKNOWN
        return _Escrow.OPENED if opened else _Escrow.UNOPENED

    def _invalidation_for(self, row: IntentRow) -> Invalidation | None:
        # An ERC-3009 authorisation is cancelled by another signature of the user, which only the user can make.
        if row.state.is_terminal or row.permit2_nonce is None:
            return None
        if row.state.obligation != Obligation.OBLIGATION_OPENABLE:
            return None
        permit2 = Permit2(self._clients.of(row.origin_chain_id))
        return Invalidation(row.origin_chain_id, permit2.address, permit2.encode_invalidate_nonce(row.permit2_nonce))


def _is_unsent(row: IntentRow) -> bool:
    return not row.state.is_terminal and row.award_number == 0 and row.state.obligation == Obligation.OBLIGATION_NONE


def _change_for(row: IntentRow, escrow: _Escrow) -> Change | None:
    """What the request does to the intent as locked; None where it changes nothing (any more)."""
    state = row.state
    if state.status == IntentStatus.INTENT_STATUS_CANCELLED:
        return None
    if state.is_terminal:
        status = IntentStatus.Name(state.status).removeprefix("INTENT_STATUS_")
        raise FailedPrecondition(
            f"The intent is {status} and cannot be cancelled.",
            reason=ErrorReason.ERROR_REASON_ALREADY_TERMINAL,
            metadata={"status": status},
        )
    if state.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED:
        return None
    if state.phase in _PHASES_THAT_CANNOT_BE_STOPPED:
        return None
    if not _is_unsent(row):
        why = "a solver may hold the order, so what the chain shows is awaited"
    elif escrow is _Escrow.UNOPENED:
        return _change(terminate(state, IntentStatus.INTENT_STATUS_CANCELLED), "Cancelled by the user.")
    elif escrow is _Escrow.OPENED:
        why = "the order was opened on chain already, so it is filled by whoever will, or refunded when it expires"
    else:
        why = "the chain does not answer, so whether the order was opened is awaited"
    requested = advance(state, IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED)
    return _change(requested, f"The user asked to cancel; {why}.")


def _change(state: State, message: str) -> Change:
    return Change(
        type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
        state=state,
        message=message,
        reason=ErrorReason.ERROR_REASON_CANCELLED_BY_USER,
        trace_id=current_trace_id(),
    )


def _signature_fault(digest: bytes, signature: bytes, user: Address) -> MeshError | None:
    try:
        signer = recover(digest, signature)
    except InvalidSignature as error:
        return error
    if signer == user:
        return None
    return InvalidArgument(
        "The request is not signed by the intent's user.",
        reason=ErrorReason.ERROR_REASON_WRONG_OWNER,
        metadata={"recovered": format_address(signer)},
    )


def _invalid_time(message: str, bound: str, value: int) -> InvalidArgument:
    reason = ErrorReason.ERROR_REASON_INSUFFICIENT_VALID_TO
    if bound == "latest":
        reason = ErrorReason.ERROR_REASON_EXCESSIVE_VALID_TO
    return InvalidArgument(message, reason=reason, metadata={bound: str(value)})


def _not_found(intent_id: IntentId) -> NotFound:
    return NotFound("There is no such intent.", metadata={"resource": format_intent_id(intent_id)})
