"""The solver on two real chains and a real database, spoken to by gRPC as the mesh would."""

import grpc
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.input_settler import InputSettler, OrderStatus
from intentmesh.chain.tokens import Token
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

from tests.integration.solver.world import (
    ONE_USDC,
    ONE_WETH,
    RECIPIENT,
    SOLVER,
    SOLVER_WORD,
    SolverClient,
    TestMesh,
    bridge,
    fills,
    stages,
    swap,
    transaction_counts,
)

ALL_STAGES = ["ACCEPTED", "OPENING", "OPENED", "FILLING", "FILLED", "PROVING", "SETTLED"]


async def balances(clients: ChainClients, network: NetworkConfig) -> list[int]:
    """On the first chain: the solver's USDC and WETH, the recipient's WETH."""
    chain = network.chains[0]
    usdc, weth = (Token(clients.of(chain.chain_id), chain.tokens[name].address) for name in ("USDC", "WETH"))
    return [
        await usdc.balance_of(SOLVER.address),
        await weth.balance_of(SOLVER.address),
        await weth.balance_of(RECIPIENT),
    ]


async def test_execute__swap_on_one_chain__settles_and_moves_exactly_the_order(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    chain = network.chains[0]
    before = await balances(chain_clients, network)

    updates = await solver.execute(await solver.award(signed))

    assert stages(updates) == ALL_STAGES
    assert [update.update_number for update in updates] == list(range(1, len(updates) + 1))
    after = await balances(chain_clients, network)
    paid = ONE_WETH // 25
    assert [now - then for now, then in zip(after, before, strict=True)] == [100 * ONE_USDC, -paid, paid]
    status = await InputSettler(chain_clients.of(chain.chain_id)).order_status(signed.intent_id)
    assert status is OrderStatus.CLAIMED
    told = [update.transaction for update in updates if update.HasField("transaction")]
    assert all(transaction.gas_used > 0 and transaction.block_number > 0 for transaction in told)


async def test_execute__bridge__brings_the_attestations_and_settles(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients, mesh: tuple[TestMesh, str]
) -> None:
    signed = bridge(network)
    mesh[0].orders[signed.intent_id] = signed.order
    there = network.chains[1]
    token = Token(chain_clients.of(there.chain_id), there.tokens["USDC"].address)

    updates = await solver.execute(await solver.award(signed))

    assert stages(updates) == ALL_STAGES
    assert await token.balance_of(RECIPIENT) == 995 * ONE_USDC
    status = await InputSettler(chain_clients.of(network.chains[0].chain_id)).order_status(signed.intent_id)
    assert status is OrderStatus.CLAIMED


async def test_execute__called_again__replays_the_same_updates_and_does_nothing_more(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    award = await solver.award(swap(network))
    first_part = await solver.execute_until(award, pb.EXECUTE_STAGE_OPENED)
    whole = await solver.execute(award)
    sent = await transaction_counts(chain_clients)
    again = await solver.execute(award)
    assert whole[: len(first_part)] == first_part
    assert again == whole
    assert await transaction_counts(chain_clients) == sent


async def test_execute__lower_award__refused_as_stale(solver: SolverClient, network: NetworkConfig) -> None:
    signed = swap(network)
    await solver.execute(await solver.award(signed, 2))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await solver.execute(await solver.award(signed, 1))
    error = mesh_error_from_rpc(refused.value)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == reasons.ERROR_REASON_STALE_AWARD
    assert error.metadata == {"award_number": "2"}


async def test_execute__higher_award_after_the_fill__goes_on_without_paying_twice(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    award = await solver.award(signed)
    before = await transaction_counts(chain_clients)
    await solver.execute_until(award, pb.EXECUTE_STAGE_FILLED)
    award.award_number = 2
    updates = await solver.execute(award)
    assert stages(updates)[0] == "ACCEPTED"
    assert stages(updates)[-1] == "SETTLED"
    assert [update.update_number for update in updates] == list(range(1, len(updates) + 1))
    assert len(await fills(chain_clients, signed)) == 1
    after = await transaction_counts(chain_clients)
    # Open, fill, proof, finalisation.
    assert sum(after.values()) - sum(before.values()) == 4


async def test_execute__signature_of_somebody_else__released_without_a_transaction(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients
) -> None:
    award = await solver.award(swap(network))
    award.signature = award.signature[:-33] + bytes(32) + award.signature[-1:]
    sent = await transaction_counts(chain_clients)
    updates = await solver.execute(award)
    assert stages(updates)[-1] == "RELEASED"
    assert updates[-1].reason == reasons.ERROR_REASON_TRANSACTION_REVERTED
    assert await transaction_counts(chain_clients) == sent


async def test_execute__amounts_above_what_the_inputs_cover__released(
    solver: SolverClient, network: NetworkConfig
) -> None:
    award = await solver.award(swap(network))
    award.quote.output_amounts[0] = str(ONE_WETH)
    updates = await solver.execute(award)
    assert stages(updates) == ["RELEASED"]


async def test_execute__id_that_is_not_the_orders__refused(solver: SolverClient, network: NetworkConfig) -> None:
    award = await solver.award(swap(network))
    award.intent_id = "0x" + "11" * 32
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await solver.execute(award)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_quote__more_than_the_inventory__declined(solver: SolverClient, network: NetworkConfig) -> None:
    answer = await solver.quote(swap(network, usdc=900_000 * ONE_USDC, weth=1))
    assert answer.HasField("quote")
    answer = await solver.quote(swap(network, usdc=10**6 * ONE_USDC * 3, weth=1))
    assert "cap" in answer.decline_reason


async def test_capabilities__served_network__lists_every_pair_of_chains(
    solver: SolverClient, network: NetworkConfig
) -> None:
    answer = await solver.stub.GetCapabilities(pb.GetCapabilitiesRequest())
    pairs = {(route.origin_chain_id, route.destination_chain_id) for route in answer.routes}
    ids = [chain.chain_id for chain in network.chains]
    assert pairs == {(origin, destination) for origin in ids for destination in ids}
    assert bytes.fromhex(answer.solver[2:]) == SOLVER_WORD[-20:]
