"""`intentmesh watch`: follow intents to their end. Ids come as arguments or, in a pipe, from standard input."""

import asyncio
import sys
from pathlib import Path

import click

from intentmesh.cli.events import event_line, event_record, event_styled
from intentmesh.cli.mesh import (
    data_dir_option,
    gateway_option,
    json_option,
    open_client,
    open_operator_client,
    run_async,
)
from intentmesh.cli.output import Output
from intentmesh.client.mesh import MeshClient
from intentmesh.v1 import event_pb2
from intentmesh.v1.intent_pb2 import INTENT_STATUS_COMPLETED
from intentmesh.v1.status_service_pb2 import WATCH_END_SETTLED, WATCH_END_TERMINAL, WatchEnd

UNSUCCESSFUL_EXIT_CODE = 3


@click.command(name="watch")
@click.argument("intent_ids", nargs=-1)
@data_dir_option
@gateway_option
@click.option("--after", default=0, help="Only events after this sequence.")
@click.option("--until", type=click.Choice(["terminal", "settled"]), default="settled", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every intent of the mesh, until interrupted (operators).")
@json_option
@run_async
async def command(
    intent_ids: tuple[str, ...],
    data_dir: Path,
    gateway: str | None,
    after: int,
    until: str,
    everything: bool,
    as_json: bool,
) -> None:
    """Print every event of the intents until they have ended.

    Exit code 0 when all were COMPLETED, 3 when one ended otherwise. A lost connection is taken up again where it was.
    """
    output = Output.choose(as_json)
    if everything:
        async with open_operator_client(data_dir, gateway) as client:
            async for message in client.watch_all():
                for event in message.events:
                    _show(output, event)
        return
    async with open_client(data_dir, gateway) as client:
        ids = intent_ids or _ids_from_stdin()
        end = WATCH_END_TERMINAL if until == "terminal" else WATCH_END_SETTLED
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(_watch(client, output, intent_id, after, end)) for intent_id in ids]
    if any(watch.result() != INTENT_STATUS_COMPLETED for watch in watches):
        sys.exit(UNSUCCESSFUL_EXIT_CODE)


async def _watch(client: MeshClient, output: Output, intent_id: str, after: int, end: WatchEnd.ValueType) -> int:
    status = 0
    async for event in client.watch(intent_id, after=after, end=end):
        _show(output, event)
        status = event.status
    return status or (await client.get_status(intent_id)).status


def _show(output: Output, event: event_pb2.IntentEvent) -> None:
    output.record(event_record(event), line=event_line(event), styled=event_styled(event))


def _ids_from_stdin() -> tuple[str, ...]:
    if sys.stdin.isatty():
        raise click.UsageError("name an intent, or pipe ids in: intentmesh submit … | intentmesh watch")
    ids = tuple(word for line in sys.stdin for word in line.split()[:1])
    if not ids:
        raise click.UsageError("standard input held no intent id")
    return ids
