"""The chains that a network's contracts stand on: local ones run by us, and `intentmesh contracts chains`."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import click

from intentmesh.chain.errors import ChainUnavailable
from intentmesh.cli.contracts_options import (
    data_dir_option,
    json_option,
    network_option,
    networks_option,
    repository_option,
    target_of,
    told,
)
from intentmesh.cli.output import Output
from intentmesh.contract_pipeline.errors import InvalidNetworksError, PipelineError
from intentmesh.contract_pipeline.networks import ChainTarget, NetworkTarget, read_url
from intentmesh.contract_pipeline.record import read_record, record_path
from intentmesh.embedded.anvil import AnvilChain, AnvilOptions
from intentmesh.embedded.anvil import ChainId as AnvilChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import EmbeddedError
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.relay import relayed

R = TypeVar("R")


@click.command(name="chains")
@network_option
@networks_option
@data_dir_option
@repository_option
@json_option
def chains_command(name: str, networks_file: Path | None, data_dir: Path, repository: Path, as_json: bool) -> None:
    """Run the local chains of a network with what was deployed on them, until told to stop.

    The record then says where they are, so that `intentmesh up --chains` finds them.
    """
    output = Output.choose(as_json)
    target = told(lambda: target_of(repository, networks_file, name))
    told(lambda: asyncio.run(plainly(_serve(data_dir, name, target, output))))


async def _serve(data_dir: Path, name: str, target: NetworkTarget, output: Output) -> None:
    if not target.all_local:
        raise InvalidNetworksError(f"{name} has chains that are not local: they run already")
    path = record_path(data_dir, name, target.version)
    record = read_record(path)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running_chains(data_dir, target, dry_run=False) as urls:
        record.at(urls).write(path)
        shown = {str(chain_id): url for chain_id, url in urls.items()}
        where = ", ".join(f"chain {chain_id} at {url}" for chain_id, url in shown.items())
        output.record({"event": "ready", "chains": shown, "record": str(path)}, line=f"{where}; record {path}")
        await stopping.wait()


@asynccontextmanager
async def running_chains(data_dir: Path, target: NetworkTarget, dry_run: bool) -> AsyncIterator[Mapping[int, str]]:
    """The URL of each chain by its id: local ones are started, and for a dry run forks stand before all of them."""
    async with AsyncExitStack() as rooms:
        folder = rooms.enter_context(DataFolder(data_dir / "chains"))
        stack = PartStack()
        rooms.push_async_callback(stack.stop)
        urls = {int(chain.chain_id): await _url(chain, folder, stack) for chain in target.chains}
        yield await _fork(target, urls, rooms) if dry_run else urls


async def _fork(target: NetworkTarget, urls: Mapping[int, str], rooms: AsyncExitStack) -> Mapping[int, str]:
    """A fork of every chain, gone with `rooms`. None of them learns the URL of a chain that is not ours."""
    temporary = rooms.enter_context(tempfile.TemporaryDirectory(prefix="intentmesh-fork-"))
    folder = rooms.enter_context(DataFolder(Path(temporary)))
    forks = {}
    for chain in target.chains:
        url = urls[int(chain.chain_id)]
        source = url if chain.local else await rooms.enter_async_context(relayed(url))
        fork = AnvilChain(folder, f"fork-{chain.name}", AnvilOptions(AnvilChainId(chain.chain_id), fork_url=source))
        rooms.push_async_callback(fork.stop)
        await fork.start()
        forks[int(chain.chain_id)] = fork.rpc_url
    return forks


async def _url(chain: ChainTarget, folder: DataFolder, stack: PartStack) -> str:
    if not chain.local:
        return read_url(chain.rpc_urls[0])
    anvil = AnvilChain(folder, chain.name, AnvilOptions(AnvilChainId(chain.chain_id)))
    await stack.start(anvil)
    return anvil.rpc_url


async def plainly(work: Awaitable[R]) -> R:
    """What a chain or a local part cannot do, as the pipeline says such things."""
    try:
        return await work
    except (ChainUnavailable, EmbeddedError) as error:
        raise PipelineError(str(error)) from None
