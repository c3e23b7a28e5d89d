"""SIGKILL at any stage: the next process goes on from what the chains show, and nothing is sent twice."""

import asyncio

import asyncpg
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import format_intent_id
from intentmesh.embedded.probes import json_rpc
from intentmesh.v1 import solver_service_pb2 as pb

from tests.fixtures.servers import LocalChains
from tests.integration.solver.world import (
    SOLVER,
    WAIT_SECONDS,
    SolverProcess,
    TestMesh,
    bridge,
    fills,
    stages,
    transaction_counts,
)

# Open, fill, proof, finalisation.
TRANSACTIONS_OF_AN_ORDER = 4
# Long enough for a solver that forgot its pending transaction to send another; it takes a tenth of this.
TEMPTATION_SECONDS = 2.0


async def keys_of(dsn: str, intent_id: str) -> int:
    """How many idempotency keys the sender was given for an order."""
    connection = await asyncpg.connect(dsn)
    try:
        query = "SELECT count(*) FROM transactions.requests WHERE key LIKE $1"
        return int(await connection.fetchval(query, f"{intent_id}:%"))
    finally:
        await connection.close()


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
    mesh: tuple[TestMesh, str],
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


async def test_restart__killed_while_the_opening_is_pending__sends_no_second_one(
    solver_process: SolverProcess,
    network: NetworkConfig,
    chain_clients: ChainClients,
    chains: LocalChains,
    fresh_database: str,
    mesh: tuple[TestMesh, str],
) -> None:
    signed = bridge(network)
    mesh[0].orders[signed.intent_id] = signed.order
    origin = chain_clients.of(signed.order.origin_chain_id)
    async with solver_process.running() as client:
        award = await client.award(signed)
        before = await transaction_counts(chain_clients)
        await json_rpc(chains.alpha.port, "evm_setAutomine", False)
        try:
            await client.execute_until(award, pb.EXECUTE_STAGE_OPENING)
            async with asyncio.timeout(WAIT_SECONDS):
                sent = before[origin.chain_id]
                while await origin.nonce(SOLVER.address, "pending") == sent:  # noqa: ASYNC110 - a pool rings no bell
                    await asyncio.sleep(0.02)
        except BaseException:
            await json_rpc(chains.alpha.port, "evm_setAutomine", True)
            raise

    async with solver_process.running() as client:
        try:
            # It runs again once it replays what it had told.
            await client.execute_until(award, pb.EXECUTE_STAGE_OPENING)
            # Only time can show that something does not happen.
            await asyncio.sleep(TEMPTATION_SECONDS)
            pending = await origin.nonce(SOLVER.address, "pending")
        finally:
            await json_rpc(chains.alpha.port, "evm_setAutomine", True)
            await json_rpc(chains.alpha.port, "evm_mine")
        updates = await client.execute(award)

    assert pending - before[origin.chain_id] == 1
    # A second key would be a second transaction, were it not for the simulation.
    assert await keys_of(fresh_database, format_intent_id(signed.intent_id)) == TRANSACTIONS_OF_AN_ORDER
    assert stages(updates)[-1] == "SETTLED"
    after = await transaction_counts(chain_clients)
    assert sum(after.values()) - sum(before.values()) == TRANSACTIONS_OF_AN_ORDER


async def test_award__next_one_is_declined_while_the_fill_is_pending__is_seen_through_by_the_next_process(
    solver_process: SolverProcess,
    network: NetworkConfig,
    chain_clients: ChainClients,
    chains: LocalChains,
    mesh: tuple[TestMesh, str],
) -> None:
    signed = bridge(network)
    mesh[0].orders[signed.intent_id] = signed.order
    there = chain_clients.of(signed.order.outputs[0].chain_id)
    async with solver_process.running() as client:
        first = await client.award(signed)
        sent = await there.nonce(SOLVER.address)
        await json_rpc(chains.beta.port, "evm_setAutomine", False)
        try:
            await client.execute_until(first, pb.EXECUTE_STAGE_FILLING)
            async with asyncio.timeout(WAIT_SECONDS):
                while await there.nonce(SOLVER.address, "pending") == sent:  # noqa: ASYNC110 - a pool rings no bell
                    await asyncio.sleep(0.02)
            lapsed = pb.ExecuteRequest()
            lapsed.CopyFrom(first)
            lapsed.award_number = 2
            lapsed.quote.valid_until.seconds = 1
            begun = await client.execute_until(lapsed, pb.EXECUTE_STAGE_ACCEPTED)
        except BaseException:
            await json_rpc(chains.beta.port, "evm_setAutomine", True)
            raise
    await json_rpc(chains.beta.port, "evm_setAutomine", True)
    await json_rpc(chains.beta.port, "evm_mine")

    async with solver_process.running() as client:
        updates = await client.execute(lapsed)

    assert stages(begun) == ["ACCEPTED"]
    assert stages(updates)[-1] == "SETTLED"
    assert len(await fills(chain_clients, signed)) == 1
