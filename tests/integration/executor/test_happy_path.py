import pytest
from intentmesh.domain.types import ChainId, IntentId
from intentmesh.store import executions
from intentmesh.store.rows import IntentRow
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation, TransactionKind, TransactionStatus
from intentmesh.v1.solver_registry_service_pb2 import OutcomeKind

from tests.integration.executor.behaviours import delivering
from tests.integration.executor.world import (
    ALPHA,
    BETA,
    SOLVER,
    World,
    eventually,
    history,
    make_order,
    submit,
    until,
)

TRANSITION = IntentEventType.INTENT_EVENT_TYPE_TRANSITION


@pytest.mark.parametrize("bridge", [False, True], ids=["swap", "bridge"])
async def test_execution__solver_delivers__is_settled_with_every_phase_told(world: World, bridge: bool) -> None:
    solver = await world.add_solver(SOLVER, delivering(world))
    order = make_order(world.network, bridge=bridge)
    async with world.executor():
        intent_id = await submit(world.pool, order, world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
        await eventually(lambda: len(world.registry.outcomes) == 1)

    assert row.state.status == IntentStatus.INTENT_STATUS_COMPLETED
    assert (row.state.phase, row.state.obligation) == (
        IntentPhase.INTENT_PHASE_SETTLED,
        Obligation.OBLIGATION_NONE,
    )
    told = await history(world.pool, intent_id)
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    assert [event.phase for event in told if event.type == TRANSITION] == [
        IntentPhase.INTENT_PHASE_ACCEPTED,
        IntentPhase.INTENT_PHASE_AUCTION,
        IntentPhase.INTENT_PHASE_AWARDED,
        IntentPhase.INTENT_PHASE_OPENED,
        IntentPhase.INTENT_PHASE_FILLED,
        IntentPhase.INTENT_PHASE_CONFIRMED,
        IntentPhase.INTENT_PHASE_SETTLED,
    ]
    assert len(solver.requests) == 1
    assert world.registry.outcomes[0].kind == OutcomeKind.OUTCOME_KIND_SETTLED
    await _check_transactions(world, intent_id, row, destination=BETA if bridge else ALPHA)


async def _check_transactions(world: World, intent_id: IntentId, row: IntentRow, destination: ChainId) -> None:
    async with world.pool.acquire() as conn:
        found = await executions.list_transactions(conn, intent_id)
    chains = {transaction.kind: transaction.chain_id for transaction in found}
    assert chains == {
        TransactionKind.TRANSACTION_KIND_OPEN: ALPHA,
        TransactionKind.TRANSACTION_KIND_FILL: destination,
        TransactionKind.TRANSACTION_KIND_PROVE: ALPHA,
        TransactionKind.TRANSACTION_KIND_FINALISE: ALPHA,
    }
    assert all(t.status == TransactionStatus.TRANSACTION_STATUS_CONFIRMED for t in found)
    assert row.gas_used == sum(t.gas_used for t in found) > 0
    assert row.total_cost == sum(t.gas_used * int(t.effective_gas_price) for t in found) > 0
