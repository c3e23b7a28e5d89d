"""`intentmesh status`: where one intent stands, with its execution."""

from datetime import UTC
from pathlib import Path

import click
from google.protobuf import json_format

from intentmesh.cli.mesh import data_dir_option, gateway_option, json_option, open_client, run_async
from intentmesh.cli.output import Form, Output, enum_label
from intentmesh.v1.intent_pb2 import (
    IntentPhase,
    IntentStatus,
    IntentType,
    Obligation,
    TransactionKind,
    TransactionStatus,
)


@click.command(name="status")
@click.argument("intent_id")
@data_dir_option
@gateway_option
@json_option
@run_async
async def command(intent_id: str, data_dir: Path, gateway: str | None, as_json: bool) -> None:
    """Show an intent: status, phase, what is owed, solver, transactions, gas."""
    output = Output.choose(as_json)
    async with open_client(data_dir, gateway) as client:
        intent = await client.get_intent(intent_id)
    if output.form is Form.JSON:
        output.record(json_format.MessageToDict(intent, preserving_proto_field_name=True), line="")
        return
    execution = intent.execution
    rows = [
        ("intent", intent.intent_id),
        ("type", enum_label(IntentType.Name(intent.type), "INTENT_TYPE")),
        ("status", enum_label(IntentStatus.Name(intent.status), "INTENT_STATUS")),
        ("phase", enum_label(IntentPhase.Name(intent.phase), "INTENT_PHASE")),
        ("owed", enum_label(Obligation.Name(intent.obligation), "OBLIGATION")),
        ("message", intent.message),
        ("user", intent.order.user),
        ("created", intent.create_time.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds")),
        ("fill deadline", intent.expire_time.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds")),
        ("solver", execution.solver or "-"),
        ("gas used", str(execution.gas_used)),
        ("cost in wei", execution.total_cost or "0"),
    ]
    output.table("Intent", ("field", "value"), rows)
    if execution.transactions:
        output.table(
            "Transactions",
            ("chain", "kind", "status", "block", "gas", "hash"),
            [
                (
                    str(transaction.chain_id),
                    enum_label(TransactionKind.Name(transaction.kind), "TRANSACTION_KIND"),
                    enum_label(TransactionStatus.Name(transaction.status), "TRANSACTION_STATUS"),
                    str(transaction.block_number),
                    str(transaction.gas_used),
                    transaction.hash,
                )
                for transaction in execution.transactions
            ],
        )
