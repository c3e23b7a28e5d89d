"""What became of awards: recorded once, judged by cause, added to the solver's standing."""

from datetime import UTC, datetime

import structlog

from intentmesh.domain.types import parse_intent_id
from intentmesh.rpc.pages import decode_page_token, encode_page_token, page_size
from intentmesh.solver_registry.registration import no_such_solver, show_standing
from intentmesh.store import solvers as store
from intentmesh.store.pool import Pool
from intentmesh.v1.solver_registry_service_pb2 import (
    ListOutcomesRequest,
    ListOutcomesResponse,
    Outcome,
    OutcomeCause,
    OutcomeKind,
)

log = structlog.get_logger()


def is_judged(outcome: Outcome) -> bool:
    """Whether the award counts at all: a failure that user, chain or mesh caused says nothing about the solver."""
    settled = outcome.kind == OutcomeKind.OUTCOME_KIND_SETTLED
    return settled or outcome.cause == OutcomeCause.OUTCOME_CAUSE_SOLVER


class Outcomes:
    """Keeps outcomes in the store."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def report(self, outcome: Outcome) -> None:
        """Record once by intent and award number; a repetition changes nothing. Raises NotFound."""
        solver_id = outcome.solver_id.lower()
        stored = Outcome()
        stored.CopyFrom(outcome)
        stored.solver_id = solver_id
        stored.create_time.FromDatetime(datetime.now(UTC))
        async with self._pool.acquire() as conn, conn.transaction():
            # The lock keeps the counters and the outcomes of one solver in step.
            locked = await store.lock_solvers(conn, [solver_id])
            if not locked:
                raise no_such_solver(solver_id)
            new = await store.insert_outcome(
                conn, parse_intent_id(outcome.intent_id), outcome.award_number, solver_id, stored.SerializeToString()
            )
            if not new or not is_judged(outcome):
                return
            settled = outcome.kind == OutcomeKind.OUTCOME_KIND_SETTLED
            row = await store.count_judged_award(conn, solver_id, settled=settled)
        if row is not None:
            show_standing(row)
            log.info("outcome_judged", solver_id=solver_id, intent_id=outcome.intent_id, settled=settled)

    async def list(self, request: ListOutcomesRequest) -> ListOutcomesResponse:
        """A page, newest first."""
        solver_id = request.solver_id.lower()
        query = f"ListOutcomes {solver_id}"
        before = decode_page_token(query, request.page_token, int) if request.page_token else None
        size = page_size(request.page_size)
        async with self._pool.acquire() as conn:
            rows = await store.list_outcomes(conn, solver_id, before, size + 1)
        more = len(rows) > size
        return ListOutcomesResponse(
            outcomes=[Outcome.FromString(payload) for _, payload in rows[:size]],
            next_page_token=encode_page_token(query, rows[size - 1][0]) if more else "",
        )
