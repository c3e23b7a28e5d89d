"""Orders and a network for the solver's unit tests."""

from dataclasses import replace
from decimal import Decimal

from intentmesh.chain.config import ChainConfig, NetworkConfig, TokenConfig
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import Address, ChainId, to_bytes32
from intentmesh.solver.appraisal import Appraiser, Policy
from intentmesh.solver.prices import PriceList, Terms

NOW = 1_800_000_000
ALPHA = ChainId(31337)
BETA = ChainId(31338)
USER = Address(b"\x01" * 20)
SOLVER = Address(b"\x02" * 20)
OTHER = Address(b"\x03" * 20)
USDC = Address(b"\x0a" * 20)
WETH = Address(b"\x0b" * 20)
ONE_USDC = 10**6
ONE_WETH = 10**18


def chain(
    chain_id: ChainId, name: str, *, surplus: bool = True, confirmations: int = 1, max_reorg_depth: int = 0
) -> ChainConfig:
    mark = chain_id % 251
    return ChainConfig(
        chain_id=chain_id,
        name=name,
        rpc_urls=("http://127.0.0.1:1",),
        confirmations=confirmations,
        max_reorg_depth=max_reorg_depth,
        block_time_seconds=1.0,
        input_settler=Address(bytes([mark]) * 20),
        output_settler=Address(bytes([mark, 1]) * 10),
        oracle=Address(bytes([mark, 2]) * 10),
        output_settler_accepts_surplus=surplus,
        tokens={"USDC": TokenConfig(address=USDC, decimals=6), "WETH": TokenConfig(address=WETH, decimals=18)},
    )


def network(*, surplus: bool = True, max_reorg_depth: int = 0) -> NetworkConfig:
    return NetworkConfig(
        chains=tuple(
            chain(chain_id, name, surplus=surplus, max_reorg_depth=max_reorg_depth)
            for chain_id, name in ((ALPHA, "alpha"), (BETA, "beta"))
        )
    )


def appraiser(
    *, surplus: bool = True, serve_callbacks: bool = False, share_bps: int = 10_000, max_reorg_depth: int = 0
) -> Appraiser:
    prices = PriceList({"USDC": Decimal(1), "WETH": Decimal(2000)}, Terms(0, Decimal(0), Decimal(10**6), share_bps))
    policy = Policy(fill_seconds=10, fill_margin_seconds=10, settle_margin_seconds=60, serve_callbacks=serve_callbacks)
    return Appraiser(network(surplus=surplus, max_reorg_depth=max_reorg_depth), prices, policy, SOLVER)


def swap(*, out: int = 1900 * ONE_USDC, context: bytes = b"", **changes: object) -> Order:
    """One WETH for USDC on alpha, proven by the output settler itself."""
    settler = to_bytes32(network().chain(ALPHA).output_settler)
    output = OrderOutput(settler, settler, ALPHA, to_bytes32(USDC), out, to_bytes32(USER), b"", context)
    order = Order(
        user=USER,
        nonce=1,
        origin_chain_id=ALPHA,
        expires=NOW + 3600,
        fill_deadline=NOW + 600,
        input_oracle=network().chain(ALPHA).output_settler,
        inputs=(OrderInput(WETH, ONE_WETH),),
        outputs=(output,),
    )
    return replace(order, **changes)  # type: ignore[arg-type]  # the caller names fields of Order


def bridge(*, out: int = 990 * ONE_USDC) -> Order:
    """1000 USDC from alpha to beta, proven by the attested oracles."""
    there = network().chain(BETA)
    output = OrderOutput(
        oracle=to_bytes32(there.oracle),
        settler=to_bytes32(there.output_settler),
        chain_id=BETA,
        token=to_bytes32(USDC),
        amount=out,
        recipient=to_bytes32(USER),
        callback_data=b"",
        context=b"",
    )
    return replace(
        swap(),
        input_oracle=network().chain(ALPHA).oracle,
        inputs=(OrderInput(USDC, 1000 * ONE_USDC),),
        outputs=(output,),
    )


def with_output(order: Order, **changes: object) -> Order:
    """The order with its first output changed."""
    first = replace(order.outputs[0], **changes)  # type: ignore[arg-type]  # the caller names fields of OrderOutput
    return replace(order, outputs=(first, *order.outputs[1:]))
