"""`intentmesh balances`: who holds what on which chain, read from the chains."""

from pathlib import Path

import click

from intentmesh.cli.holdings import Holder, Holding, read_holdings
from intentmesh.cli.mesh import data_dir_option, format_units, json_option, load_endpoints, run_async
from intentmesh.cli.output import Form, Output
from intentmesh.domain.types import parse_address


@click.command(name="balances")
@click.argument("addresses", nargs=-1)
@data_dir_option
@json_option
@run_async
async def command(addresses: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Show token and native balances of ADDRESSES; default: the mesh's own accounts."""
    endpoints = load_endpoints(data_dir)
    output = Output.choose(as_json)
    if addresses:
        holders = [Holder(address[:10], parse_address(address)) for address in addresses]
    else:
        holders = [Holder(account.role, parse_address(account.address)) for account in endpoints.accounts]
    holdings = await read_holdings(endpoints.chains, holders)
    if output.form is Form.JSON:
        for holding in holdings:
            output.record(_record(holding), line="")
        return
    rows = [(h.holder.name, h.chain, h.token, format_units(h.amount, h.decimals), h.address_text) for h in holdings]
    output.table("Balances", ("who", "chain", "token", "amount", "address"), rows)


def _record(holding: Holding) -> dict[str, str | int]:
    return {
        "who": holding.holder.name,
        "address": holding.address_text,
        "chain": holding.chain,
        "token": holding.token,
        "amount": str(holding.amount),
        "decimals": holding.decimals,
    }
