"""Settings of the solver; each by an environment variable `INTENTMESH_<NAME>` or in the configuration file."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from intentmesh.rpc.settings import ServiceSettings


def _parse_prices(value: Any) -> Any:
    """Turns "USDC=1,WETH=2000" into a table; a table, as a file has it, stays one."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not separator or not symbol.strip() for symbol, separator, _ in pairs):
        raise ValueError("prices look like USDC=1,WETH=2000")
    return {symbol.strip(): price.strip() for symbol, _, price in pairs}


Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
PriceTable = Annotated[
    dict[str, Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]],
    Field(min_length=1),
    NoDecode,
    BeforeValidator(_parse_prices),
]
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]


class SolverSettings(ServiceSettings):
    """How one solver is set up. `postgres_dsn` is its own database, never the mesh's."""

    postgres_dsn: str = Field(min_length=1, repr=False)
    network_file: Path
    # "env:NAME" or "file:PATH"; the key fills, is paid and signs the registration.
    solver_key: str
    solver_name: str = Field(default="reference", max_length=64)
    # Where the transaction ledger lives; empty: in the solver's own database.
    transactions_dsn: str = Field("", repr=False)

    executor_target: str
    registry_target: str
    # What the mesh dials to reach this solver.
    advertised_endpoint: str = Field(min_length=1, max_length=256)
    register_with_registry: bool = True

    # US dollars for one whole token, by symbol.
    prices: PriceTable
    markup_bps: BasisPoints = 10
    gas_margin_usd: Usd = Decimal("0.05")
    surplus_share_bps: BasisPoints = 5_000
    max_order_value_usd: Usd = Decimal(1_000_000)
    serve_callbacks: bool = False

    quote_validity_seconds: int = Field(default=60, gt=0)
    # How long opening and filling take, beyond the confirmations of the opening.
    fill_seconds: int = Field(default=15, gt=0)
    # No fill is sent when less is left until the fill deadline: a late fill pays and earns nothing.
    fill_margin_seconds: int = Field(default=10, gt=0)
    # No fill is sent when less is left until `expires`, beyond the finality of an attested fill: the finalisation
    # would race the refund.
    settle_margin_seconds: int = Field(default=60, gt=0)
    # Tries of one step of one award, each a transaction that failed for certain.
    max_tries: int = Field(default=5, gt=0)
    # How far back fills made before the job are looked for.
    fill_lookback_blocks: int = Field(default=5_000, gt=0)
