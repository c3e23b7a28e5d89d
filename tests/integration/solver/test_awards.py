"""Orders and awards are public, and anybody may call a solver: only the mesh's own awards move a job."""

import secrets

import grpc
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import format_address
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

from tests.integration.solver.test_others import RIVAL, open_by_rival
from tests.integration.solver.world import SolverClient, TestMesh, fills, stages, swap

HUGE = 2**32 - 1


async def refusal(client: SolverClient, request: pb.ExecuteRequest) -> tuple[grpc.StatusCode, int]:
    """How a call is refused that the mesh did not make."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in client.stub.Execute(request, timeout=10):
            pass
    return refused.value.code(), mesh_error_from_rpc(refused.value).reason


def forged(award: pb.ExecuteRequest, number: int, token: bytes | None = None) -> pb.ExecuteRequest:
    """What a stranger can make of what is public."""
    request = pb.ExecuteRequest()
    request.CopyFrom(award)
    request.award_number = number
    request.award_token = secrets.token_bytes(32) if token is None else token
    request.signature = b""
    request.already_opened = True
    return request


NOT_ALLOWED = (grpc.StatusCode.PERMISSION_DENIED, reasons.ERROR_REASON_NOT_ALLOWED)


async def test_execute__huge_award_number_of_a_stranger__refused_and_the_mesh_is_still_served(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    await open_by_rival(chain_clients, signed)
    award = await solver.award(signed, already_opened=True)
    mesh[0].make(award)

    before_the_mesh = await refusal(solver, forged(award, HUGE))
    await solver.execute_until(award, pb.EXECUTE_STAGE_ACCEPTED)
    in_between = await refusal(solver, forged(award, HUGE))
    updates = await solver.execute(award)

    assert before_the_mesh == in_between == NOT_ALLOWED
    assert stages(updates)[-1] == "SETTLED"
    assert len(await fills(chain_clients, signed)) == 1


async def test_execute__number_of_the_award_without_its_token__refused_and_nothing_is_taken_on(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig
) -> None:
    award = await solver.award(swap(network))
    mesh[0].make(award)
    # Taken on, it would wait for an opening that never comes, and the mesh would attach to that.
    assert await refusal(solver, forged(award, award.award_number)) == NOT_ALLOWED
    updates = await solver.execute(award)
    assert stages(updates)[-1] == "SETTLED"


async def test_execute__job_of_an_award_without_its_token__refused_while_it_runs_and_once_it_has_ended(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = swap(network)
    await open_by_rival(chain_clients, signed)
    award = await solver.award(signed, already_opened=True)
    mesh[0].make(award)

    await solver.execute_until(award, pb.EXECUTE_STAGE_ACCEPTED)
    running = await refusal(solver, forged(award, award.award_number))
    updates = await solver.execute(award)
    ended = await refusal(solver, forged(award, award.award_number))

    assert running == ended == NOT_ALLOWED
    assert stages(updates)[-1] == "SETTLED"
    # Whom the mesh has told the token may look as often as it likes.
    assert await solver.execute(award) == updates


async def test_execute__token_of_an_earlier_award__refused(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig
) -> None:
    first = await solver.award(swap(network))
    mesh[0].make(first)
    second = forged(first, 2)
    mesh[0].make(second)
    assert await refusal(solver, forged(first, 2, first.award_token)) == NOT_ALLOWED


async def test_execute__award_that_a_newer_one_has_replaced__refused_as_stale(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig
) -> None:
    first = await solver.award(swap(network))
    mesh[0].make(first)
    mesh[0].make(forged(first, 2))
    stale = (grpc.StatusCode.FAILED_PRECONDITION, reasons.ERROR_REASON_STALE_AWARD)
    assert await refusal(solver, first) == stale


async def test_execute__intent_that_the_mesh_does_not_know__refused(
    solver: SolverClient, network: NetworkConfig
) -> None:
    award = await solver.award(swap(network))
    assert await refusal(solver, award) == NOT_ALLOWED


async def test_execute__award_of_another_solver__refused(
    solver: SolverClient, mesh: tuple[TestMesh, str], network: NetworkConfig
) -> None:
    award = await solver.award(swap(network))
    rivals = pb.ExecuteRequest()
    rivals.CopyFrom(award)
    rivals.quote.solver = format_address(RIVAL.address)
    mesh[0].make(rivals)
    assert await refusal(solver, award) == NOT_ALLOWED
