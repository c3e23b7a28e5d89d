"""`intentmesh demo`: a whole mesh for a minute. Three signed intents go from signature to settlement."""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from coincurve import PrivateKey
from google.protobuf import json_format

from intentmesh.cli.demo_report import Change, Journey, changes, journeys_table, shortcomings
from intentmesh.cli.demo_view import LiveView
from intentmesh.cli.holdings import Holder, Holding, read_holdings
from intentmesh.cli.mesh import describe, format_units, json_option
from intentmesh.cli.order import OrderWish, make_order
from intentmesh.cli.output import Form, JsonValue, Output
from intentmesh.client.mesh import MeshClient
from intentmesh.client.order_builder import Scheme, SignedOrder
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import derive_type
from intentmesh.domain.signatures import address_of
from intentmesh.domain.types import format_address, parse_address
from intentmesh.embedded.endpoints import Endpoints
from intentmesh.embedded.errors import EmbeddedError
from intentmesh.embedded.mesh import Mesh, MeshOptions
from intentmesh.v1.status_service_pb2 import WATCH_END_SETTLED

DEADLINE_SECONDS = 150


@dataclass(frozen=True, slots=True)
class Plan:
    """One intent of the demo, in a person's words."""

    title: str
    sell: str
    buy: str
    destination: str
    scheme: Scheme


PLANS = (
    Plan("SWAP 100 USDC for 0.0498 WETH", "USDC:100", "WETH:0.0498", "alpha", Scheme.PERMIT2),
    Plan("BRIDGE 250 USDC from alpha to beta", "USDC:250", "USDC:249.5", "beta", Scheme.ERC3009),
    Plan("TRANSFER 25 USDC", "USDC:25", "USDC:24.9", "alpha", Scheme.PERMIT2),
)


@click.command(name="demo")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the mesh's folder here; default: a temporary one, removed at the end.",
)
@json_option
def command(data_dir: Path | None, as_json: bool) -> None:
    """Run a mesh, submit a SWAP, a BRIDGE and a TRANSFER, follow them to settlement and account for every balance.

    Exit code 0 only if all three are COMPLETED and SETTLED and every balance moved by exactly what its order says.
    """
    folder = data_dir or Path(tempfile.mkdtemp(prefix="intentmesh-demo-"))
    try:
        problems = asyncio.run(_demo(folder, Output.choose(as_json)))
    except (EmbeddedError, MeshError) as error:
        raise click.ClickException(describe(error) if isinstance(error, MeshError) else str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if problems else 0)


async def _demo(folder: Path, output: Output) -> list[str]:
    began = time.monotonic()
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Mesh(MeshOptions(data_dir=folder), output.note) as mesh:
        output.note(f"mesh ready after {time.monotonic() - began:.1f} s at {mesh.endpoints.gateway}")
        failed = asyncio.create_task(mesh.failed())
        run = asyncio.create_task(_drive(mesh.endpoints, output))
        await asyncio.wait([failed, run], return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECONDS)
        if not run.done():
            run.cancel()
            await asyncio.wait([run])
            if failed.done():
                raise failed.result()
            failed.cancel()
            return _conclude(output, [f"the intents had not settled after {DEADLINE_SECONDS} s"], began)
        failed.cancel()
        problems = run.result()
    return _conclude(output, problems, began)


async def _drive(endpoints: Endpoints, output: Output) -> list[str]:
    """Sign, submit, watch, account. Returns what is wrong; nothing in a good run."""
    recipient = PrivateKey().secret
    holders = [
        Holder("user", parse_address(endpoints.account("user").address)),
        Holder("recipient", address_of(recipient)),
        Holder("solver", parse_address(endpoints.account("solver").address)),
    ]
    before = await read_holdings(endpoints.chains, holders)
    orders = [_sign(endpoints, plan, format_address(holders[1].address)) for plan in PLANS]
    async with MeshClient(endpoints.gateway) as client:
        journeys = [await _submit(client, plan, signed) for plan, signed in zip(PLANS, orders, strict=True)]
        with LiveView(output, journeys) as view:
            async with asyncio.TaskGroup() as group:
                for journey in journeys:
                    group.create_task(_follow(client, journey, view))
        for journey in journeys:
            journey.intent = await client.get_intent(journey.intent_id)
    after = await read_holdings(endpoints.chains, holders)
    moved = changes(endpoints, orders, holders, before, after)
    _report(output, endpoints, journeys, moved)
    return shortcomings(journeys, moved)


def _sign(endpoints: Endpoints, plan: Plan, recipient: str) -> SignedOrder:
    wish = OrderWish(plan.sell, plan.buy, destination=plan.destination, recipient=recipient, scheme=plan.scheme)
    return make_order(endpoints, wish)


async def _submit(client: MeshClient, plan: Plan, signed: SignedOrder) -> Journey:
    answer = await client.submit(order_to_proto(signed.order), signed.signature, derive_type(signed.order))
    return Journey(f"{plan.title} ({plan.scheme})", answer.intent_id)


async def _follow(client: MeshClient, journey: Journey, view: LiveView) -> None:
    async for event in client.watch(journey.intent_id, end=WATCH_END_SETTLED):
        journey.events.append(event)
        view.show(journey, event)


def _report(output: Output, endpoints: Endpoints, journeys: Sequence[Journey], moved: Sequence[Change]) -> None:
    if output.form is Form.JSON:
        for journey in journeys:
            output.record(
                {
                    "event": "intent",
                    "title": journey.title,
                    "seconds_by_phase": dict(journey.seconds_by_phase()),
                    "intent": json_format.MessageToDict(journey.intent, preserving_proto_field_name=True),
                },
                line="",
            )
        for change in moved:
            output.record({"event": "balance", **change.record()}, line="")
        return
    names = {chain.chain_id: chain.name for chain in endpoints.chains}
    output.table("Intents", *journeys_table(journeys, names))
    columns = ("who", "chain", "token", "before", "after", "change", "order says")
    output.table("Balances", columns, [_balance_row(change) for change in moved])


def _balance_row(change: Change) -> tuple[str, ...]:
    def units(amount: int) -> str:
        return format_units(amount, change.after.decimals)

    says = "-" if change.expected is None else f"{units(change.expected)} {'✓' if change.as_expected else '✗'}"
    after: Holding = change.after
    return (
        after.holder.name,
        after.chain,
        after.token,
        units(change.before.amount),
        units(after.amount),
        units(change.difference),
        says,
    )


def _conclude(output: Output, problems: list[str], began: float) -> list[str]:
    seconds = time.monotonic() - began
    good = not problems
    sentence = f"all {len(PLANS)} intents are COMPLETED and SETTLED, every balance moved by exactly what its order says"
    record: dict[str, JsonValue] = {
        "event": "end",
        "ok": good,
        "problems": list(problems),
        "seconds": round(seconds, 1),
    }
    if good:
        output.record(
            record, line=f"{sentence} ({seconds:.1f} s)", styled=f"[bold green]{sentence}[/] ({seconds:.1f} s)"
        )
    else:
        text = "; ".join(problems)
        output.record(record, line=f"FAILED: {text}", styled=f"[bold red]FAILED[/]: {text}")
    return problems
