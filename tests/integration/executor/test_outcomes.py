"""What became of awards reaches the registry, or a person; it never keeps an intent from being done with."""

import asyncio

import grpc
import pytest
from intentmesh.store import executions
from intentmesh.v1.solver_registry_service_pb2 import OutcomeKind
from structlog.testing import capture_logs

from tests.integration.executor.behaviours import delivering
from tests.integration.executor.world import SOLVER, WAIT_SECONDS, World, make_order, submit

FOR_EVER = 1_000


async def execute_until_done(world: World) -> None:
    """One order, until its work is never due again."""
    await world.add_solver(SOLVER, delivering(world))
    async with world.executor(), asyncio.timeout(WAIT_SECONDS):
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        while True:
            async with world.pool.acquire() as conn:
                execution = await executions.get_execution(conn, intent_id)
            if execution is not None and execution.due_at is None and execution.claimed_by is None:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT])
async def test_outcome__registry_refuses_it_for_good__a_person_is_told_and_the_work_ends(
    world: World, code: grpc.StatusCode
) -> None:
    world.registry.refusals = [code] * FOR_EVER
    with capture_logs() as logs:
        await execute_until_done(world)
    told = [line["subject"] for line in logs if line.get("alert") == "OutcomeRefused"]
    assert len(told) == 1
    assert len(world.registry.refusals) == FOR_EVER - 1


async def test_outcome__registry_is_away_for_a_while__is_told_again(world: World) -> None:
    world.registry.refusals = [grpc.StatusCode.UNAVAILABLE]
    await execute_until_done(world)
    assert [outcome.kind for outcome in world.registry.outcomes] == [OutcomeKind.OUTCOME_KIND_SETTLED]
