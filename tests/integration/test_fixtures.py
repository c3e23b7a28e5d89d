"""The shared fixtures give what they say: real servers, clean for each test."""

import asyncpg
import pytest
import redis.asyncio as redis
from intentmesh.embedded.postgres import Dsn
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.valkey import ValkeyUrl

from tests.fixtures.servers import ALPHA, BETA, LocalChains


@pytest.mark.parametrize("_time", ["first", "second"])
async def test_fresh_database__for_each_test__is_empty(fresh_database: Dsn, _time: str) -> None:
    connection = await asyncpg.connect(fresh_database)
    try:
        await connection.execute("CREATE TABLE only_here (id int)")
        assert await connection.fetchval("SELECT current_user") == "intentmesh"
        assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    finally:
        await connection.close()


def test_fresh_database__in_a_test_without_a_loop__is_given(fresh_database: Dsn) -> None:
    assert fresh_database.startswith("postgresql://intentmesh:")


MARKED = "0x" + "ab" * 20


@pytest.mark.parametrize("_time", ["first", "second"])
async def test_valkey_url__for_each_test__holds_nothing(valkey_url: ValkeyUrl, _time: str) -> None:
    async with redis.Redis.from_url(valkey_url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "behind")


@pytest.mark.parametrize("_time", ["first", "second"])
async def test_chains__for_each_test__are_where_they_were(chains: LocalChains, _time: str) -> None:
    for chain, chain_id in ((chains.alpha, ALPHA), (chains.beta, BETA)):
        assert int(await json_rpc(chain.port, "eth_chainId"), 16) == chain_id
        assert await json_rpc(chain.port, "eth_getStorageAt", MARKED, "0x0", "latest") == "0x" + "00" * 32
        await json_rpc(chain.port, "anvil_setStorageAt", MARKED, "0x0", "0x" + "11" * 32)
        await json_rpc(chain.port, "anvil_mine", "0x5")
