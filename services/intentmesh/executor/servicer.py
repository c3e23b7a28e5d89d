"""The RPCs of ExecutorService: what the executor does, shown and steered."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import output_hash
from intentmesh.domain.types import IntentId, format_address, format_intent_id, parse_intent_id
from intentmesh.executor.attestation import agreeing, needs_attestation
from intentmesh.rpc.access import require
from intentmesh.rpc.pages import decode_page_token, encode_page_token, page_size
from intentmesh.rpc.principals import PrincipalKind
from intentmesh.store import executions, intents
from intentmesh.store.executions import ExecutionKey, ExecutionRow
from intentmesh.store.pool import Connection, Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1 import executor_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import AwardDetail
from intentmesh.v1.executor_service_pb2_grpc import ExecutorServiceServicer
from intentmesh.v1.intent_pb2 import IntentPhase

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_LIST_QUERY = "ListExecutions"
# Fills are told from this phase on.
_PAID = frozenset(
    {IntentPhase.INTENT_PHASE_FILLED, IntentPhase.INTENT_PHASE_CONFIRMED, IntentPhase.INTENT_PHASE_SETTLED}
)


class ExecutorServicer(ExecutorServiceServicer):
    """Reads the store; the work itself is the worker's."""

    def __init__(self, pool: Pool, network: NetworkConfig) -> None:
        self._pool = pool
        self._network = network

    async def GetExecution(self, request: pb.GetExecutionRequest, context: Any) -> pb.GetExecutionResponse:
        """See the proto."""
        async with self._pool.acquire() as conn:
            execution = await _load(conn, parse_intent_id(request.intent_id))
        return pb.GetExecutionResponse(execution=execution)

    async def ListExecutions(self, request: pb.ListExecutionsRequest, context: Any) -> pb.ListExecutionsResponse:
        """See the proto."""
        after = position_key(decode_page_token(_LIST_QUERY, request.page_token, str)) if request.page_token else None
        size = page_size(request.page_size)
        async with self._pool.acquire() as conn:
            rows = await executions.list_executions(conn, after, size + 1)
            shown = await _messages(conn, rows[:size])
        token = encode_page_token(_LIST_QUERY, _position(rows[size - 1])) if len(rows) > size else ""
        return pb.ListExecutionsResponse(executions=shown, next_page_token=token)

    async def RetryExecution(self, request: pb.RetryExecutionRequest, context: Any) -> pb.RetryExecutionResponse:
        """See the proto."""
        caller = require(PrincipalKind.OPERATOR)
        intent_id = parse_intent_id(request.intent_id)
        async with self._pool.acquire() as conn, conn.transaction():
            row = await intents.get_intent(conn, intent_id)
            if row is None:
                raise _not_found(intent_id)
            if row.state.is_over:
                raise FailedPrecondition(
                    "the intent has ended and nothing is owed; there is nothing to retry",
                    metadata={"status": str(row.state.status)},
                )
            await executions.wake(conn, intent_id)
            execution = await _load(conn, intent_id)
        log.info("execution_retried", intent_id=format_intent_id(intent_id), by=str(caller))
        return pb.RetryExecutionResponse(execution=execution)

    async def PauseExecutions(self, request: pb.PauseExecutionsRequest, context: Any) -> pb.PauseExecutionsResponse:
        """See the proto."""
        caller = require(PrincipalKind.OPERATOR)
        async with self._pool.acquire() as conn:
            await executions.pause(conn, request.reason, str(caller))
        log.warning("executions_paused", by=str(caller), reason=request.reason)
        return pb.PauseExecutionsResponse()

    async def ResumeExecutions(self, request: pb.ResumeExecutionsRequest, context: Any) -> pb.ResumeExecutionsResponse:
        """See the proto."""
        caller = require(PrincipalKind.OPERATOR)
        async with self._pool.acquire() as conn:
            await executions.resume(conn)
        log.warning("executions_resumed", by=str(caller))
        return pb.ResumeExecutionsResponse()

    async def GetFillAttestations(
        self, request: pb.GetFillAttestationsRequest, context: Any
    ) -> pb.GetFillAttestationsResponse:
        """See the proto."""
        intent_id = parse_intent_id(request.intent_id)
        async with self._pool.acquire() as conn:
            row = await intents.get_intent(conn, intent_id)
            if row is None:
                raise _not_found(intent_id)
            stored = await executions.list_attestations(conn, intent_id)
        order = order_from_proto(row.order())
        if not needs_attestation(order):
            return _self_proven(row)
        threshold = self._network.chain(order.origin_chain_id).attestation_threshold
        answer = pb.GetFillAttestationsResponse()
        for output in order.outputs:
            digest = output_hash(output)
            found = agreeing([s.attestation for s in stored if s.output_hash == digest], threshold)
            if len(found) < threshold:
                raise _not_proven(f"{len(found)} of {threshold} attesters have signed")
            answer.outputs.append(pb.OutputAttestations(output_hash="0x" + digest.hex(), attestations=found))
        return answer


def _self_proven(row: IntentRow) -> pb.GetFillAttestationsResponse:
    """Same-chain orders prove themselves at the output settler: no signatures, once they are filled."""
    if row.state.phase not in _PAID:
        raise _not_proven("the order is not filled")
    order = order_from_proto(row.order())
    hashes = ["0x" + output_hash(output).hex() for output in order.outputs]
    return pb.GetFillAttestationsResponse(outputs=[pb.OutputAttestations(output_hash=digest) for digest in hashes])


async def _load(conn: Connection, intent_id: IntentId) -> pb.Execution:
    execution = await executions.get_execution(conn, intent_id)
    messages = [] if execution is None else await _messages(conn, [execution])
    if not messages:
        raise _not_found(intent_id)
    return messages[0]


async def _messages(conn: Connection, found: Sequence[ExecutionRow]) -> list[pb.Execution]:
    """Of those whose intents are still stored; two questions for all of them."""
    ids = [execution.intent_id for execution in found]
    rows = await intents.get_intents(conn, ids)
    awards = await executions.list_awards_of(conn, ids)
    return [
        _message(execution, rows[execution.intent_id], awards[execution.intent_id])
        for execution in found
        if execution.intent_id in rows
    ]


def _message(execution: ExecutionRow, row: IntentRow, awards: Sequence[executions.Award]) -> pb.Execution:
    message = pb.Execution(
        intent_id=format_intent_id(row.intent_id),
        status=row.state.status,
        phase=row.state.phase,
        obligation=row.state.obligation,
        claimed_by=execution.claimed_by or "",
        claim_expire_time=_timestamp(execution.claim_expires_at),
        next_attempt_time=_timestamp(execution.due_at),
        rounds=execution.rounds,
        attempts=execution.attempts,
        reason=row.reason,
        message=row.message,
    )
    for award in awards:
        message.awards.append(
            AwardDetail(
                auction_id=award.auction_id,
                award_number=award.award_number,
                solver_id=award.solver_id,
                solver=format_address(award.solver),
                output_amounts=award.quote.output_amounts,
                promised_fill_time=award.quote.fill_time,
                token_hash="0x" + keccak(award.token).hex(),
            )
        )
    return message


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp


def _position(row: ExecutionRow) -> str:
    due = row.due_at or datetime.now(UTC)
    return f"{due.isoformat()} {row.intent_id.hex()}"


def position_key(position: str) -> ExecutionKey:
    """Where a page token goes on. Raises InvalidArgument (INVALID_PAGE_TOKEN): a token may be forged."""
    due, _, intent_id = position.partition(" ")
    try:
        due_at = datetime.fromisoformat(due)
        if due_at.tzinfo is None:
            raise ValueError("without a time zone")  # noqa: TRY301 (one way out for all that is wrong)
        return ExecutionKey(due_at.astimezone(UTC), parse_intent_id(f"0x{intent_id}"))
    except (ValueError, OverflowError):
        raise InvalidArgument(
            "the page token is malformed", reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
        ) from None


def _not_found(intent_id: IntentId) -> NotFound:
    return NotFound("no such intent", metadata={"resource": f"intents/{format_intent_id(intent_id)}"})


def _not_proven(message: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the fill is not proven yet: {message}",
        reason=ErrorReason.ERROR_REASON_NOT_PROVEN,
        retry_after=_RETRY_SECONDS,
    )
