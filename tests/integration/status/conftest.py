"""A migrated store with Valkey beside it."""

from collections.abc import AsyncIterator

import pytest
from intentmesh.embedded.postgres import Dsn
from intentmesh.embedded.valkey import ValkeyUrl
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool

from tests.integration.status.replicas import Mesh, open_mesh


@pytest.fixture
async def mesh(fresh_database: Dsn, valkey_url: ValkeyUrl) -> AsyncIterator[Mesh]:
    """What replicas of the status service share."""
    await migrate(fresh_database)
    async with await open_pool(fresh_database) as pool, open_mesh(fresh_database, valkey_url, pool) as mesh:
        yield mesh
