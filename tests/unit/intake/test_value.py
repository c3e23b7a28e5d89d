"""What an order is worth, by the policy's prices: bounds, the margin after gas, and plain mistakes."""

from dataclasses import replace
from decimal import Decimal

import pytest
from intentmesh.domain.order import OrderInput
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.intake.checks.value import check_return, check_value, gas_of
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason

from tests.fixtures.orders import make_order, permit2_request, with_output
from tests.unit.intake.networks import ALPHA, BETA, NETWORK

USDC = {(chain.chain_id, chain.tokens["USDC"].address): Decimal("0.000001") for chain in (ALPHA, BETA)}


def _bridge(given: int, wanted: int) -> Admissible:
    order = make_order(ALPHA, BETA, get="USDC", inputs=(OrderInput(ALPHA.tokens["USDC"].address, given),))
    candidate = StructureCheck(RequestValidator(), NETWORK).read(
        permit2_request(NETWORK, with_output(order, amount=wanted))
    )
    assert isinstance(candidate, Candidate)
    admissible = candidate.admissible()
    assert admissible is not None
    return admissible


def _reasons(findings: list[Finding]) -> list[str]:
    return [ErrorReason.Name(finding.reason).removeprefix("ERROR_REASON_") for finding in findings]


@pytest.mark.parametrize(("wanted", "found"), [(9_500_000, []), (9_500_001, ["VALUE_TOO_LOW"])])
def test_margin__without_gas_prices__is_what_the_order_leaves(wanted: int, found: list[str]) -> None:
    policy = Policy(prices=USDC, minimum_margin=Decimal("0.5"))
    assert _reasons(check_value(_bridge(10_000_000, wanted), policy)) == found


@pytest.mark.parametrize("side", [0, 1])
def test_margin__with_gas_prices__is_what_is_left_after_the_gas_of_both_chains(side: int) -> None:
    order = _bridge(10_000_000, 9_000_000)
    here, there = gas_of(order)
    assert here > 200_000
    assert there > 70_000
    # Exactly half a unit is left for the solver after this much gas, and then a little less.
    chain, gas = ((ALPHA, here), (BETA, there))[side]
    price = Decimal("0.5") / gas
    policy = Policy(prices=USDC, minimum_margin=Decimal("0.499999"), gas_prices={chain.chain_id: price})
    assert check_value(order, policy) == []
    dearer = replace(policy, gas_prices={chain.chain_id: price * Decimal("1.001")})
    (finding,) = check_value(order, dearer)
    assert (_reasons([finding]), finding.field) == (["VALUE_TOO_LOW"], "order.outputs")


def test_margin__token_without_a_price__is_not_judged() -> None:
    policy = Policy(prices={(ALPHA.chain_id, ALPHA.tokens["USDC"].address): Decimal(1)}, minimum_margin=Decimal(1))
    assert check_value(_bridge(1, 10), policy) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (4_999_999, ["SUSPICIOUS_PATTERN"]),
        (5_000_000, []),
        (20_000_000, []),
        (20_000_001, ["SUSPICIOUS_PATTERN"]),
    ],
)
def test_return__far_off_the_prices__is_suspicious(wanted: int, found: list[str]) -> None:
    policy = Policy(prices=USDC, smallest_return=Decimal("0.5"), largest_return=Decimal(2))
    assert _reasons(check_return(_bridge(10_000_000, wanted), policy)) == found
    assert check_return(_bridge(10_000_000, wanted), Policy(prices=USDC)) == []
