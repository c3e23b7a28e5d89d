"""Orders as files: proto JSON (`google.protobuf.json_format`), with the settler that the order is bound to."""

import base64
import binascii
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from google.protobuf import json_format

from intentmesh.cli.output import JsonValue
from intentmesh.client.order_builder import SignedOrder
from intentmesh.domain.convert import order_from_proto, order_to_proto
from intentmesh.domain.digests import TokenDomain
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import Order, derive_type, order_id
from intentmesh.domain.types import Address, format_address, format_intent_id, parse_address
from intentmesh.v1 import order_pb2
from intentmesh.v1.intent_pb2 import IntentType


@dataclass(frozen=True, slots=True)
class OrderDocument:
    """What a file says. `settler` and `signature` are None where it does not; `domains` are its token domains."""

    order: Order
    settler: Address | None
    signature: bytes | None
    domains: tuple[TokenDomain, ...]


def read_document(path: str) -> OrderDocument:
    """Read a file, or standard input for "-".

    The file is an object with "order" (and "settler", "signature", "token_domains"), or the bare order. Raises
    click.BadParameter that says what is wrong where.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        document = json.loads(text)
    except OSError as error:
        raise click.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise click.BadParameter(f"{path} holds no JSON object")
    wrapped = document.get("order")
    order = _parse_order(wrapped if isinstance(wrapped, dict) else _without_extras(document))
    settler = document.get("settler") or document.get("input_settler") or document.get("inputSettler")
    return OrderDocument(
        order=order,
        settler=parse_settler(settler) if settler is not None else None,
        signature=_parse_signature(document.get("signature")),
        domains=tuple(_parse_domain(entry, order) for entry in document.get("token_domains", [])),
    )


def document_of(signed: SignedOrder) -> Mapping[str, JsonValue]:
    """A signed order as `read_document` reads it."""
    order = json_format.MessageToDict(order_to_proto(signed.order), preserving_proto_field_name=True)
    return {
        "intent_id": format_intent_id(order_id(signed.order, signed.settler)),
        "type": IntentType.Name(derive_type(signed.order)),
        "settler": format_address(signed.settler),
        "order": order,
        "signature": base64.b64encode(signed.signature).decode("ascii"),
    }


def parse_settler(text: object) -> Address:
    """An address. Raises click.BadParameter."""
    try:
        return parse_address(str(text))
    except ValueError as error:
        raise click.BadParameter(f"settler: {error}") from None


def parse_domain_option(text: str, order: Order) -> TokenDomain:
    """ "TOKEN:NAME:VERSION", TOKEN being an address. Raises click.BadParameter."""
    parts = text.split(":")
    if len(parts) != 3:
        raise click.BadParameter(f"{text!r} is not TOKEN:NAME:VERSION")
    return _parse_domain({"token": parts[0], "name": parts[1], "version": parts[2]}, order)


def _without_extras(document: Mapping[str, object]) -> dict[str, object]:
    extras = {"settler", "input_settler", "inputSettler", "signature", "token_domains", "intent_id", "type"}
    return {key: value for key, value in document.items() if key not in extras}


def _parse_order(fields: Mapping[str, object]) -> Order:
    try:
        message = json_format.ParseDict(dict(fields), order_pb2.Order())
        return order_from_proto(message)
    except json_format.ParseError as error:
        raise click.BadParameter(f"order: {error}") from None
    except MeshError as error:
        problems = "; ".join(f"{violation.field}: {violation.message}" for violation in error.violations)
        raise click.BadParameter(f"order: {problems or error.message}") from None


def _parse_signature(value: object) -> bytes | None:
    if value is None:
        return None
    text = str(value)
    try:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise click.BadParameter("signature: neither base64 nor 0x hex") from None


def _parse_domain(entry: object, order: Order) -> TokenDomain:
    if not isinstance(entry, dict):
        raise click.BadParameter("token_domains: each entry is an object with token, name and version")
    try:
        token = parse_address(str(entry.get("token") or entry.get("address")))
    except ValueError as error:
        raise click.BadParameter(f"token_domains: {error}") from None
    return TokenDomain(
        name=str(entry.get("name", "")),
        version=str(entry.get("version", "1")),
        chain_id=order.origin_chain_id,
        address=token,
    )


def hex_list(values: Sequence[bytes]) -> list[JsonValue]:
    """Each as 0x and lower-case hex."""
    return ["0x" + value.hex() for value in values]
