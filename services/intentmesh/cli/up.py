"""`intentmesh up`: the whole mesh on this machine, until it is told to stop."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import click

from intentmesh.chain.config import InvalidNetworkError
from intentmesh.cli.mesh import DEFAULT_DATA_DIR, json_option
from intentmesh.cli.output import Form, Output
from intentmesh.embedded.endpoints import FILE_NAME, Endpoints
from intentmesh.embedded.errors import EmbeddedError
from intentmesh.embedded.mesh import DEFAULT_PRICES, Mesh, MeshOptions


@click.command(name="up")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIR,
    envvar="INTENTMESH_DATA_DIR",
    show_default=True,
    help="Everything the mesh keeps; a second start continues where it was.",
)
@click.option(
    "--chains",
    "network_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file of existing chains instead of two local ones.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Replicas of each service.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Port of the gateway; default: a free one.")
@click.option("--price", "prices", multiple=True, metavar="SYMBOL=USD", help="Price for the reference solver.")
@json_option
def command(
    data_dir: Path, network_file: Path | None, workers: int, port: int, prices: tuple[str, ...], as_json: bool
) -> None:
    """Run the whole mesh: databases, chains, services and gateway.

    When all is ready, DATA_DIR/endpoints.json says where everything is. SIGTERM or Ctrl-C drains and stops it all.
    """
    options = MeshOptions(
        data_dir=data_dir,
        network_file=network_file,
        workers=workers,
        gateway_port=port,
        prices={**DEFAULT_PRICES, **dict(_price(text) for text in prices)},
    )
    try:
        asyncio.run(_run(options, Output.choose(as_json)))
    except (EmbeddedError, InvalidNetworkError) as error:
        raise click.ClickException(str(error)) from None


async def _run(options: MeshOptions, output: Output) -> None:
    """Start, say where everything is, wait for the end, stop. A signal during the start cancels it cleanly."""
    began = time.monotonic()
    main = asyncio.current_task()
    stopping = asyncio.Event()
    started = False

    def stop() -> None:
        stopping.set()
        if not started and main is not None:
            main.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        async with Mesh(options, output.note) as mesh:
            started = True
            _announce(output, mesh.endpoints, options.data_dir, time.monotonic() - began)
            failure = asyncio.create_task(mesh.failed())
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait([failure, stopped], return_when=asyncio.FIRST_COMPLETED)
            output.note("stopping: draining the services")
            stopped.cancel()
            if failure.done():
                raise failure.result()
            failure.cancel()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        output.note("stopped before everything was started")
        sys.exit(1)
    output.note("stopped")


def _announce(output: Output, endpoints: Endpoints, data_dir: Path, seconds: float) -> None:
    file = data_dir / FILE_NAME
    if output.form is Form.JSON:
        output.record({"event": "ready", "gateway": endpoints.gateway, "endpoints": str(file)}, line="")
        return
    output.record({}, line=f"ready in {seconds:.1f} s: gateway {endpoints.gateway}, everything else in {file}")
    if output.form is Form.TERMINAL:
        services = endpoints.services
        rows = [
            ("gateway", endpoints.gateway),
            ("intake", services.intake),
            ("solver_registry", services.solver_registry),
            ("executor", services.executor),
            ("status", services.status),
            ("solver", services.solver),
            *((f"attester {n}", address) for n, address in enumerate(services.attesters, start=1)),
            *((f"chain {chain.name}", chain.rpc_url) for chain in endpoints.chains),
        ]
        output.table("Mesh", ("part", "address"), rows)
        output.note("in another terminal: intentmesh submit --sell USDC:100 --buy WETH:0.04 | intentmesh watch")


def _price(text: str) -> tuple[str, str]:
    symbol, separator, price = text.partition("=")
    if not separator or not symbol:
        raise click.BadParameter(f"{text!r} is not SYMBOL=USD, such as WETH=2000")
    return symbol, price
