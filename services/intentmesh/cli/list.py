"""`intentmesh list`: intents, newest first."""

from datetime import UTC
from pathlib import Path

import click
from google.protobuf import json_format

from intentmesh.cli.mesh import data_dir_option, gateway_option, json_option, open_operator_client, run_async
from intentmesh.cli.output import Form, Output, enum_label
from intentmesh.v1 import intent_pb2
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, IntentType


@click.command(name="list")
@data_dir_option
@gateway_option
@click.option("--user", default="", help="Only this address's.")
@click.option("--status", "statuses", multiple=True, help="Only these, such as EXECUTING; may be repeated.")
@click.option("--transaction", default="", help="Only those that a transaction of this hash did something for.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@run_async
async def command(
    data_dir: Path,
    gateway: str | None,
    user: str,
    statuses: tuple[str, ...],
    transaction: str,
    limit: int,
    as_json: bool,
) -> None:
    """List intents, newest first."""
    wanted = [_status(name) for name in statuses]
    output = Output.choose(as_json)
    intents: list[intent_pb2.Intent] = []
    async with open_operator_client(data_dir, gateway) as client:
        async for intent in client.list_intents(user, statuses=wanted, transaction_hash=transaction):
            intents.append(intent)
            if len(intents) == limit:
                break
    if output.form is Form.JSON:
        for intent in intents:
            output.record(json_format.MessageToDict(intent, preserving_proto_field_name=True), line="")
        return
    output.table("Intents", ("created", "type", "status", "phase", "user", "intent"), [_row(i) for i in intents])


def _row(intent: intent_pb2.Intent) -> tuple[str, ...]:
    return (
        intent.create_time.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        enum_label(IntentType.Name(intent.type), "INTENT_TYPE"),
        enum_label(IntentStatus.Name(intent.status), "INTENT_STATUS"),
        enum_label(IntentPhase.Name(intent.phase), "INTENT_PHASE"),
        intent.order.user,
        intent.intent_id,
    )


def _status(name: str) -> IntentStatus.ValueType:
    try:
        return IntentStatus.Value(f"INTENT_STATUS_{name.upper()}")
    except ValueError:
        known = ", ".join(enum_label(key, "INTENT_STATUS") for key in IntentStatus.keys()[1:])
        raise click.BadParameter(f"there is no status {name!r}; there are {known}") from None
