"""A migrated database and what the tests of the store put into it."""

from collections.abc import AsyncIterator

import pytest
from intentmesh.embedded.postgres import Dsn
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import Pool, open_pool


@pytest.fixture
async def pool(fresh_database: Dsn) -> AsyncIterator[Pool]:
    """Connections to a database with the mesh's tables and nothing in them."""
    await migrate(fresh_database)
    pool = await open_pool(fresh_database, max_size=20)
    yield pool
    await pool.close()
