"""What the commands share: finding the mesh, its chains, tokens and accounts, and saying what went wrong."""

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import ParamSpec

import click

from intentmesh.client.mesh import MeshClient
from intentmesh.client.order_builder import ChainContracts, TokenAmount
from intentmesh.domain.digests import TokenDomain
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import Address, ChainId, parse_address
from intentmesh.embedded import endpoints as endpoints_file
from intentmesh.embedded.endpoints import TOKEN_FILE, ChainEndpoint, Endpoints, EndpointsError, TokenEndpoint
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1.error_pb2 import ErrorReason

DEFAULT_DATA_DIR = Path("build/mesh")

P = ParamSpec("P")

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIR,
    envvar="INTENTMESH_DATA_DIR",
    show_default=True,
    help="Folder of the mesh that `intentmesh up` runs.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
gateway_option = click.option(
    "--gateway", envvar="INTENTMESH_GATEWAY", help="gRPC target of another mesh, host:port; needs no --data-dir."
)


def run_async(function: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run a coroutine command; a refusal of the mesh becomes one clear message and exit code 1."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(_as_coroutine(function, *args, **kwargs))
        except MeshError as error:
            raise click.ClickException(describe(error)) from None
        except EndpointsError as error:
            raise click.ClickException(str(error)) from None
        except ExceptionGroup as group:
            # Several watches at once: the first refusal ends the command, whatever else failed with it.
            refusals, others = group.split(MeshError)
            if refusals is None or others is not None:
                raise
            raise click.ClickException(describe(_first(refusals))) from None
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # The reader of our pipe has seen enough.
            sys.exit(141)

    return command


async def _as_coroutine(function: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
    await function(*args, **kwargs)


def _first(group: ExceptionGroup[MeshError]) -> MeshError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, ExceptionGroup) else inner


def describe(error: MeshError) -> str:
    """The error for a person: reason, sentence, and each field at fault on a line of its own."""
    reason = ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    lines = [f"{reason}: {error.message}"]
    lines += [f"  {violation.field or '(message)'}: {violation.message}" for violation in error.violations]
    if error.retry_after is not None:
        lines.append(f"  try again in {error.retry_after:.0f} s")
    return "\n".join(lines)


def load_endpoints(data_dir: Path) -> Endpoints:
    """Where the mesh in this folder is. Raises EndpointsError."""
    return endpoints_file.read(data_dir)


def gateway_target(data_dir: Path, gateway: str | None) -> str:
    """The target given, else that of the mesh in the folder. Raises EndpointsError."""
    return gateway or load_endpoints(data_dir).gateway


def open_client(data_dir: Path, gateway: str | None) -> MeshClient:
    """A client as any user has it, through the gateway. Raises EndpointsError."""
    return MeshClient(gateway_target(data_dir, gateway))


def open_operator_client(data_dir: Path, gateway: str | None) -> MeshClient:
    """A client that may list and watch everybody's intents. Raises EndpointsError.

    Whoever can read the local mesh's folder is its operator. The token goes to the services themselves: the gateway
    lets nobody claim to be anybody. With `gateway` it is an ordinary client.
    """
    if gateway is not None:
        return MeshClient(gateway)
    endpoints = load_endpoints(data_dir)
    return MeshClient(
        endpoints.gateway,
        intake_target=endpoints.services.intake,
        status_target=endpoints.services.status,
        registry_target=endpoints.services.solver_registry,
        principal=Principal(PrincipalKind.OPERATOR, "command-line"),
        internal_token=(data_dir / "keys" / TOKEN_FILE).read_text(encoding="ascii").strip(),
    )


def contracts_of(chain: ChainEndpoint) -> ChainContracts:
    """The addresses an order on this chain names."""
    return ChainContracts(
        chain_id=ChainId(chain.chain_id),
        input_settler=parse_address(chain.contracts.input_settler),
        output_settler=parse_address(chain.contracts.output_settler),
        oracle=parse_address(chain.contracts.oracle),
        permit2=parse_address(chain.contracts.permit2),
    )


def token_of(chain: ChainEndpoint, symbol: str) -> TokenEndpoint:
    """The token of this name. Raises click.BadParameter that lists what there is."""
    for name, token in chain.tokens.items():
        if symbol.upper() == name.upper() or symbol.lower() == token.address.lower():
            return token
    raise click.BadParameter(f"{chain.name} has no token {symbol!r}; it has {', '.join(chain.tokens)}")


def token_domain(chain: ChainEndpoint, token: TokenEndpoint) -> TokenDomain:
    """The token's own EIP-712 domain. Raises click.BadParameter when it takes no ERC-3009 authorisations."""
    if token.erc3009 is None:
        raise click.BadParameter(f"token {token.address} takes no ERC-3009 authorisations: use --scheme permit2")
    return TokenDomain(
        token.erc3009["name"], token.erc3009["version"], ChainId(chain.chain_id), parse_address(token.address)
    )


def parse_amount(chain: ChainEndpoint, text: str) -> TokenAmount:
    """ "USDC:12.5" as an amount of the token's smallest unit. Raises click.BadParameter."""
    symbol, separator, number = text.partition(":")
    if not separator:
        raise click.BadParameter(f"{text!r} is not TOKEN:AMOUNT, such as USDC:12.5")
    token = token_of(chain, symbol)
    try:
        units = Decimal(number).scaleb(token.decimals)
    except InvalidOperation:
        raise click.BadParameter(f"{number!r} is not a number") from None
    if units != units.to_integral_value() or units <= 0:
        raise click.BadParameter(f"{number} {symbol} is not a positive whole number of 10^-{token.decimals} units")
    return TokenAmount(parse_address(token.address), int(units))


def format_units(amount: int, decimals: int) -> str:
    """A token amount for a person: no exponent, no trailing zeros."""
    number = Decimal(amount).scaleb(-decimals)
    return f"{number:f}".rstrip("0").rstrip(".") if decimals and amount else str(amount)


def parse_key(text: str) -> bytes:
    """A private key of 32 bytes of hex, or "env:NAME" / "file:PATH" that holds one. Raises click.BadParameter."""
    if text.startswith("env:"):
        text = os.environ.get(text.removeprefix("env:"), "")
    elif text.startswith("file:"):
        text = Path(text.removeprefix("file:")).read_text().strip()
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise click.BadParameter("a private key is 32 bytes of hex, or env:NAME, or file:PATH")
    return key


def parse_recipient(text: str) -> Address:
    """An address. Raises click.BadParameter."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
