"""The solver's mesh and the solver itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig

from tests.integration.solver.world import (
    SolverClient,
    SolverProcess,
    TestMesh,
    environment,
    fast,
    running_mesh,
    running_solver,
)


@pytest.fixture
async def mesh(chain_clients: ChainClients) -> AsyncIterator[tuple[TestMesh, str]]:
    """What a solver sees of the executor, and its target."""
    async with running_mesh(chain_clients) as running:
        yield running


@pytest.fixture
def solver_environment(
    tmp_path: Path, network: NetworkConfig, fresh_database: str, mesh: tuple[TestMesh, str]
) -> dict[str, str]:
    """Offers exactly what the order asks for, so that balances can be compared."""
    return environment(tmp_path, fast(network), fresh_database, mesh[1], surplus_share_bps="0")


@pytest.fixture
async def solver(
    solver_environment: dict[str, str], network: NetworkConfig, mesh: tuple[TestMesh, str]
) -> AsyncIterator[SolverClient]:
    """The service in this process."""
    async with running_solver(solver_environment, network, mesh[0]) as client:
        yield client


@pytest.fixture
def solver_process(
    solver_environment: dict[str, str], network: NetworkConfig, mesh: tuple[TestMesh, str]
) -> SolverProcess:
    """The service in a process that can be killed and started again on the same database."""
    return SolverProcess(solver_environment, network, mesh[0])
