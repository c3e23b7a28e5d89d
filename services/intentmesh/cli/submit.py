"""`intentmesh submit`: hand a signed order to the mesh. In a pipe it prints the intent's id, for `intentmesh watch`."""

from pathlib import Path

import click

from intentmesh.cli.mesh import data_dir_option, gateway_option, json_option, load_endpoints, open_client, run_async
from intentmesh.cli.order import OrderWish, make_order, order_options
from intentmesh.cli.order_files import read_document
from intentmesh.cli.output import Form, Output, enum_label
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.order import Order, derive_type
from intentmesh.v1.intent_pb2 import IntentStatus


@click.command(name="submit")
@click.argument("file", required=False)
@data_dir_option
@gateway_option
@order_options(required=False)
@json_option
@run_async
async def command(file: str | None, data_dir: Path, gateway: str | None, wish: OrderWish | None, as_json: bool) -> None:
    """Submit the signed order in FILE ("-": standard input), or make one from the options, sign and submit it."""
    if file is not None:
        order, signature = _read_signed(file)
    elif wish is not None:
        signed = make_order(load_endpoints(data_dir), wish)
        order, signature = signed.order, signed.signature
    else:
        raise click.UsageError("give the FILE of a signed order, or --sell and --buy")
    async with open_client(data_dir, gateway) as client:
        answer = await client.submit(order_to_proto(order), signature, derive_type(order))
    output = Output.choose(as_json)
    status = enum_label(IntentStatus.Name(answer.status), "INTENT_STATUS")
    output.record(
        {"intent_id": answer.intent_id, "status": status, "sequence": answer.sequence, "created": answer.created},
        line=answer.intent_id,
    )
    if output.form is Form.TERMINAL:
        known = "" if answer.created else " (the mesh knew it already)"
        output.note(f"{status}{known}; follow it with: intentmesh watch {answer.intent_id}")


def _read_signed(file: str) -> tuple[Order, bytes]:
    document = read_document(file)
    if document.signature is None:
        raise click.BadParameter(f"{file} holds no signature: make a signed order with `intentmesh order new`")
    return document.order, document.signature
