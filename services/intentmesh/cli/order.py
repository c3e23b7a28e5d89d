"""`intentmesh order`: make and sign an order, or compute everything that is derived from one."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from intentmesh.cli.mesh import (
    contracts_of,
    data_dir_option,
    load_endpoints,
    parse_amount,
    parse_key,
    parse_recipient,
    run_async,
    token_domain,
    token_of,
)
from intentmesh.cli.order_files import document_of, hex_list, parse_domain_option, parse_settler, read_document
from intentmesh.cli.output import JsonValue
from intentmesh.client.order_builder import (
    DEFAULT_EXPIRY_MARGIN_SECONDS,
    DEFAULT_FILL_WINDOW_SECONDS,
    Scheme,
    SignedOrder,
    build_order,
    sign_erc3009,
    sign_permit2,
)
from intentmesh.domain.digests import erc3009_digest, permit2_digest
from intentmesh.domain.order import derive_type, order_id, output_hash
from intentmesh.domain.signatures import address_of
from intentmesh.domain.types import format_address, format_intent_id
from intentmesh.embedded.endpoints import Endpoints
from intentmesh.v1.intent_pb2 import IntentType


@click.group(name="order")
def command() -> None:
    """Make, sign and inspect orders."""


@dataclass(frozen=True, slots=True)
class OrderWish:
    """What the options say of an order. Amounts are TOKEN:AMOUNT; an empty destination is the origin."""

    sell: str
    buy: str
    origin: str = "alpha"
    destination: str | None = None
    recipient: str | None = None
    # The mesh's local user's where it is not given.
    key: str | None = None
    scheme: Scheme = Scheme.PERMIT2
    fill_window: int = DEFAULT_FILL_WINDOW_SECONDS
    expiry_margin: int = DEFAULT_EXPIRY_MARGIN_SECONDS


def order_options(required: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that describe an order. The command gets them as `wish: OrderWish | None`, None when neither
    --sell nor --buy was given (only where they are not required)."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(sell: str | None, buy: str | None, **others: Any) -> None:
            said = {field.name: others.pop(field.name) for field in fields(OrderWish) if field.name in others}
            if (sell is None) != (buy is None):
                raise click.UsageError("an order needs both --sell and --buy")
            said["scheme"] = Scheme(said["scheme"])
            wish = OrderWish(sell=sell, buy=buy, **said) if sell is not None and buy is not None else None
            function(wish=wish, **others)

        options = (
            click.option("--sell", required=required, metavar="TOKEN:AMOUNT", help="What the user gives, as USDC:100."),
            click.option("--buy", required=required, metavar="TOKEN:AMOUNT", help="The least that the recipient gets."),
            click.option("--from", "origin", default="alpha", show_default=True, help="Chain of the input."),
            click.option("--to", "destination", help="Chain of the output; default: the same."),
            click.option("--recipient", help="Who gets the output; default: the user."),
            click.option("--key", help="The user's key: hex, env:NAME or file:PATH; default: the mesh's local user."),
            click.option(
                "--scheme", type=click.Choice([scheme.value for scheme in Scheme]), default="permit2", show_default=True
            ),
            click.option("--fill-window", default=DEFAULT_FILL_WINDOW_SECONDS, show_default=True, help="In seconds."),
            click.option(
                "--expiry-margin",
                default=DEFAULT_EXPIRY_MARGIN_SECONDS,
                show_default=True,
                help="Seconds between the fill deadline and the refund.",
            ),
        )
        decorated: Callable[..., None] = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


@command.command(name="new")
@data_dir_option
@order_options(required=True)
@click.option("--json", "as_json", is_flag=True, help="On one line.")
@run_async
async def new(data_dir: Path, wish: OrderWish, as_json: bool) -> None:
    """Make an order, sign it and print it as JSON; `intentmesh submit FILE` takes it."""
    signed = make_order(load_endpoints(data_dir), wish)
    click.echo(json.dumps(document_of(signed), indent=None if as_json else 2))


def make_order(endpoints: Endpoints, wish: OrderWish) -> SignedOrder:
    """The order that is wished for, signed. Raises click.BadParameter and EndpointsError."""
    from_chain = endpoints.chain(wish.origin)
    to_chain = endpoints.chain(wish.destination or wish.origin)
    private_key = parse_key(wish.key or endpoints.account("user").private_key)
    user = address_of(private_key)
    contracts = contracts_of(from_chain)
    order = build_order(
        user=user,
        recipient=parse_recipient(wish.recipient) if wish.recipient else user,
        origin=contracts,
        destination=contracts_of(to_chain),
        sell=parse_amount(from_chain, wish.sell),
        buy=parse_amount(to_chain, wish.buy),
        now=int(time.time()),
        fill_window_seconds=wish.fill_window,
        expiry_margin_seconds=wish.expiry_margin,
    )
    if wish.scheme is Scheme.PERMIT2:
        return sign_permit2(order, contracts, private_key)
    domain = token_domain(from_chain, token_of(from_chain, wish.sell.partition(":")[0]))
    return sign_erc3009(order, contracts, (domain,), private_key)


@command.command(name="inspect")
@click.argument("file")
@click.option("--settler", help="Input settler that the order is bound to, where the file does not name it.")
@click.option(
    "--token-domain", "domains", multiple=True, metavar="TOKEN:NAME:VERSION", help="EIP-712 domain of an input token."
)
@click.option("--json", "as_json", is_flag=True, help="On one line.")
def inspect(file: str, settler: str | None, domains: tuple[str, ...], as_json: bool) -> None:
    """Compute what follows from an order: id, type, digests to sign. FILE is proto JSON; "-" reads standard input.

    Needs no mesh. The file holds the bare order, or an object with "order", "settler" and, for ERC-3009,
    "token_domains": [{"token", "name", "version"}].
    """
    document = read_document(file)
    bound_to = parse_settler(settler) if settler else document.settler
    if bound_to is None:
        raise click.UsageError('the order id depends on the input settler: give --settler, or "settler" in the file')
    order = document.order
    named = [*document.domains, *(parse_domain_option(text, order) for text in domains)]
    result: dict[str, JsonValue] = {
        "order_id": format_intent_id(order_id(order, bound_to)),
        "type": IntentType.Name(derive_type(order)).removeprefix("INTENT_TYPE_"),
        "settler": format_address(bound_to),
        "permit2_digest": "0x" + permit2_digest(order, bound_to).hex(),
        "erc3009_digests": [
            {
                "token": format_address(domain.address),
                "name": domain.name,
                "version": domain.version,
                "amount": str(entry.amount),
                "digest": "0x" + erc3009_digest(domain, order, bound_to, entry.amount).hex(),
            }
            for entry in order.inputs
            for domain in named
            if domain.address == entry.token
        ],
        "output_hashes": hex_list([output_hash(output) for output in order.outputs]),
    }
    click.echo(json.dumps(result, indent=None if as_json else 2))
