"""PostgreSQL, Valkey and Anvil: what one run wrote the next one has, after a stop and after a kill."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio as redis
from intentmesh.embedded.account import GroupId, UserId, may_walk_to
from intentmesh.embedded.anvil import AnvilChain, AnvilOptions, ChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import ExitedTooEarlyError, PortInUseError
from intentmesh.embedded.postgres import PostgresServer
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.process import ChildProcess
from intentmesh.embedded.programs import postgres_program
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.supervision import RestartPolicy
from intentmesh.embedded.valkey import ValkeyServer
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.integration.embedded.census import listens, processes_of, shared_memory_of, still_there

CHAIN = AnvilOptions(ChainId(31337), state_interval_s=1)
RICH = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
POOR = "0x00000000000000000000000000000000000000aa"

MAKERS: dict[str, Callable[[DataFolder, int], ServerPart]] = {
    "postgres": lambda folder, port: PostgresServer(folder, port=port),
    "valkey": lambda folder, port: ValkeyServer(folder, port=port),
    "anvil": lambda folder, port: AnvilChain(folder, "alpha", CHAIN, port=port),
}
each_server = pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
Maker = Callable[[DataFolder, int], ServerPart]


@pytest.fixture
def folder() -> Iterator[DataFolder]:
    """Made as `mktemp -d` does: closed to every other account. PostgreSQL has to live with that."""
    path = Path(tempfile.mkdtemp(prefix="intentmesh-test-"))
    assert path.stat().st_mode & 0o777 == 0o700
    yield DataFolder(path)
    shutil.rmtree(path)


@each_server
async def test_stop__of_a_server__leaves_no_process_port_or_shared_memory(folder: DataFolder, maker: Maker) -> None:
    async with maker(folder, 0) as server:
        port, pid = server.port, server.process.pid
        assert pid is not None
        assert listens(port)
        memory = shared_memory_of(pid)
    assert processes_of(pid) == []
    assert not listens(port)
    assert still_there(memory) == set()


@each_server
async def test_start__on_a_port_in_use__says_so_and_leaves_nothing(folder: DataFolder, maker: Maker) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            await maker(folder, port).start()


@each_server
async def test_start__on_a_fixed_port__uses_it_twice_in_a_row(folder: DataFolder, maker: Maker) -> None:
    async with maker(folder, 0) as first:
        port = first.port
    for _ in range(2):
        async with maker(folder, port) as server:
            assert server.port == port


@each_server
async def test_kill__of_a_server__starts_it_again_on_its_port(folder: DataFolder, maker: Maker) -> None:
    async with maker(folder, 0) as server:
        port, pid = server.port, server.process.pid
        assert pid is not None
        memory = shared_memory_of(pid)
        server.process.kill()
        await asyncio.wait_for(server.process.ready(), 30)
        assert server.process.pid != pid
        assert listens(port)
        assert processes_of(pid) == []
        assert server.process.pid is not None
        memory |= shared_memory_of(server.process.pid)
    assert still_there(memory) == set()


@each_server
async def test_start__cancelled__leaves_nothing(
    folder: DataFolder, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in every stage of a start: as soon as its first process runs, then its second and so on."""
    spawned: list[int] = []
    spawn = ChildProcess.spawn.__func__  # type: ignore[attr-defined] # a classmethod's function

    def remembered(cls: type[ChildProcess], spec: object) -> ChildProcess:
        child = spawn(cls, spec)
        spawned.append(child.pid)
        return child

    monkeypatch.setattr(ChildProcess, "spawn", classmethod(remembered))
    for stage in (1, 2):
        spawned.clear()
        server = maker(folder, 0)
        starting = asyncio.create_task(server.start())
        while len(spawned) < stage and not starting.done():  # noqa: ASYNC110 (processes)
            await asyncio.sleep(0.001)
        starting.cancel()
        await asyncio.wait([starting])
        await server.stop()
        assert processes_of(*spawned) == []
    async with maker(folder, 0):
        pass


async def test_postgres__second_start__has_what_the_first_committed(folder: DataFolder) -> None:
    for run in range(2):
        async with PostgresServer(folder) as server:
            dsn = await server.create_database("kept")
            assert await server.create_database("kept") == dsn
            connection = await asyncpg.connect(dsn)
            await connection.execute("CREATE TABLE IF NOT EXISTS runs (run int)")
            await connection.execute("INSERT INTO runs VALUES ($1)", run)
            assert await connection.fetchval("SELECT count(*) FROM runs") == run + 1
            await connection.close()


async def test_postgres__killed__loses_nothing_that_was_committed(folder: DataFolder) -> None:
    async with PostgresServer(folder) as server:
        dsn = await server.create_database("kept")
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SHOW fsync") == "on"
        await connection.execute("CREATE TABLE kept (id int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        server.process.kill()
        connection.terminate()
        await asyncio.wait_for(server.process.ready(), 30)
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 1
        await connection.close()


async def test_postgres__started_by_root__runs_as_somebody_else(folder: DataFolder) -> None:
    async with PostgresServer(folder) as server:
        assert server.process.pid is not None
        user = psutil.Process(server.process.pid).username()
        expected = {"postgres", "nobody"} if os.geteuid() == 0 else {pwd.getpwuid(os.geteuid()).pw_name}
        assert user in expected
        # Never more than the one capability to walk through folders, and only because this folder is closed.
        assert _capabilities(server) in {0, 1 << 1, 1 << 2}
    assert folder.path.stat().st_mode & 0o777 == 0o700


async def test_postgres__where_nothing_is_closed__keeps_no_capability(folder: DataFolder) -> None:
    folder.path.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    if not may_walk_to(postgres_program("postgres"), UserId(nobody.pw_uid), GroupId(nobody.pw_gid)):
        pytest.skip("the programs themselves are installed in a closed folder")
    async with PostgresServer(folder) as server:
        assert _capabilities(server) == 0


async def test_postgres__killed_for_good__leaves_no_shared_memory(folder: DataFolder) -> None:
    async with PostgresServer(folder, restart=RestartPolicy(most_in_a_row=0)) as server:
        assert server.process.pid is not None
        memory = shared_memory_of(server.process.pid)
        assert len(memory) == 1, "its mark in System V memory, and nothing in /dev/shm"
        server.process.kill()
        await asyncio.wait_for(server.failed(), 20)
        assert still_there(memory) == memory
    assert still_there(memory) == set()
    async with PostgresServer(folder):
        pass


async def test_postgres__with_a_wrong_password__refuses(folder: DataFolder) -> None:
    async with PostgresServer(folder) as server:
        dsn = await server.create_database("closed")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(dsn.split(":")[2].split("@")[0], "wrong"))


async def test_postgres__whose_cluster_is_damaged__shows_what_it_says(folder: DataFolder) -> None:
    async with PostgresServer(folder):
        pass
    (folder.path / "postgres" / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(ExitedTooEarlyError, match="pg_control"):
        await PostgresServer(folder).start()


async def test_postgres__killed_while_it_was_made__is_made_anew(folder: DataFolder) -> None:
    torn = folder.part_folder("postgres") / "data.new"
    torn.mkdir()
    (torn / "PG_VERSION").write_text("18\n")
    async with PostgresServer(folder) as server:
        await server.create_database("works")


async def test_postgres__dropping_a_database_in_use__ends_its_connections(folder: DataFolder) -> None:
    async with PostgresServer(folder) as server:
        connection = await asyncpg.connect(await server.create_database("busy"))
        await server.drop_database("busy")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()


async def test_valkey__second_start__has_what_the_first_had(folder: DataFolder) -> None:
    async with ValkeyServer(folder) as server, redis.Redis.from_url(server.url) as client:
        await client.set("key", "value")
    async with ValkeyServer(folder) as server, redis.Redis.from_url(server.url) as client:
        assert await client.get("key") == b"value"


async def test_valkey__without_its_password__refuses(folder: DataFolder) -> None:
    async with ValkeyServer(folder) as server:
        async with redis.Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), 0)) as client:
            with pytest.raises(redis.AuthenticationError):
                await client.ping()
        arguments = " ".join(psutil.Process(server.process.pid).cmdline())
        assert server.url.split(":")[2].split("@")[0] not in arguments


async def test_anvil__second_start__continues_the_chain(folder: DataFolder) -> None:
    async with AnvilChain(folder, "alpha", CHAIN) as chain:
        sent = {"from": RICH, "to": POOR, "value": "0x5"}
        transaction = await json_rpc(chain.port, "eth_sendTransaction", sent)
        await json_rpc(chain.port, "anvil_mine", "0x3")
    async with AnvilChain(folder, "alpha", CHAIN) as chain:
        assert await json_rpc(chain.port, "eth_blockNumber") == "0x4"
        assert await json_rpc(chain.port, "eth_getBalance", POOR, "latest") == "0x5"
        receipt = await json_rpc(chain.port, "eth_getTransactionReceipt", transaction)
        assert receipt["blockNumber"] == "0x1"


async def test_anvil__killed__falls_back_by_its_state_interval_at_most(folder: DataFolder) -> None:
    async with AnvilChain(folder, "alpha", CHAIN) as chain:
        await json_rpc(chain.port, "anvil_mine", "0x3")
        state = folder.path / "alpha" / "state.json"
        async with asyncio.timeout(20):
            while not _holds_block(state, 3):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
        chain.process.kill()
        await asyncio.wait_for(chain.process.ready(), 20)
        assert int(await json_rpc(chain.port, "eth_blockNumber"), 16) >= 3


async def test_anvil__with_a_block_time__mines_without_transactions(folder: DataFolder) -> None:
    async with AnvilChain(folder, "beta", AnvilOptions(ChainId(31338), block_time_s=0.1)) as chain:
        async with asyncio.timeout(20):
            while int(await json_rpc(chain.port, "eth_blockNumber"), 16) < 3:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.02)
        finalized = await json_rpc(chain.port, "eth_getBlockByNumber", "finalized", False)
        head = int(await json_rpc(chain.port, "eth_blockNumber"), 16)
        assert head - int(finalized["number"], 16) <= 3


async def test_anvil__asked_to_stop__writes_its_state(folder: DataFolder) -> None:
    options = AnvilOptions(ChainId(31337), state_interval_s=3600)
    async with AnvilChain(folder, "alpha", options) as chain:
        await json_rpc(chain.port, "anvil_mine", "0x2")
        assert chain.process.pid is not None
        os.kill(chain.process.pid, signal.SIGTERM)
        await asyncio.wait_for(_restarted(chain), 20)
        assert await json_rpc(chain.port, "eth_blockNumber") == "0x2"


def _holds_block(state: Path, number: int) -> bool:
    """Whether a chain's state, as it was written last, is whole and has come to a block."""
    try:
        return int(json.loads(state.read_bytes())["block"]["number"], 16) >= number
    except (OSError, ValueError):
        return False


def _capabilities(server: PostgresServer) -> int:
    """The effective capabilities of the server's process, as a mask."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("CapEff:")[1].split()[0], 16)


async def _restarted(chain: AnvilChain) -> None:
    while chain.process.restarts == 0:  # noqa: ASYNC110 (a process)
        await asyncio.sleep(0.02)
    await chain.process.ready()
