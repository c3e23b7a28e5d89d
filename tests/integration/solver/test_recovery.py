"""SIGKILL at any stage: the next process goes on from what the chains show, and nothing is sent twice."""

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.v1 import solver_service_pb2 as pb

from tests.integration.solver.world import (
    SolverProcess,
    TestAttesters,
    bridge,
    fills,
    stages,
    transaction_counts,
)

# Open, fill, proof, finalisation.
TRANSACTIONS_OF_AN_ORDER = 4


@pytest.mark.parametrize(
    "stage",
    [
        pb.EXECUTE_STAGE_ACCEPTED,
        pb.EXECUTE_STAGE_OPENING,
        pb.EXECUTE_STAGE_OPENED,
        pb.EXECUTE_STAGE_FILLING,
        pb.EXECUTE_STAGE_FILLED,
        pb.EXECUTE_STAGE_PROVING,
    ],
    ids=pb.ExecuteStage.Name,
)
async def test_restart__killed_at_stage__settles_with_one_transaction_a_step(
    stage: pb.ExecuteStage.ValueType,
    solver_process: SolverProcess,
    network: NetworkConfig,
    chain_clients: ChainClients,
    mesh: tuple[TestAttesters, str],
) -> None:
    signed = bridge(network)
    mesh[0].orders[signed.intent_id] = signed.order
    async with solver_process.running() as client:
        award = await client.award(signed)
        before = await transaction_counts(chain_clients)
        seen = await client.execute_until(award, stage)

    async with solver_process.running() as client:
        updates = await client.execute(award)

    assert updates[: len(seen)] == seen
    assert stages(updates)[-1] == "SETTLED"
    assert [update.update_number for update in updates] == list(range(1, len(updates) + 1))
    assert len(await fills(chain_clients, signed)) == 1
    after = await transaction_counts(chain_clients)
    assert sum(after.values()) - sum(before.values()) == TRANSACTIONS_OF_AN_ORDER
