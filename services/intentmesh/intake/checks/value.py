"""What an order is worth by the prices of the policy: bounds, a margin for whoever fills it, and plain mistakes."""

from decimal import Decimal

from intentmesh.domain.types import ChainId, clean_address
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy, Prices
from intentmesh.v1.error_pb2 import ErrorReason

# As `make audit` measures it, rounded up: opening and paying out an order of one input, each further input, the proof
# and the fill of each output.
_ESCROW_GAS = 220_000
_INPUT_GAS = 60_000
_PROOF_GAS = 60_000
_FILL_GAS = 80_000


def check_value(admissible: Admissible, policy: Policy) -> list[Finding]:
    """VALUE_TOO_LOW, VALUE_TOO_HIGH; nothing where a token has no price."""
    given = value_given(admissible, policy.prices) if policy.prices else None
    if given is None:
        return []
    findings = []
    if policy.minimum_value is not None and given < policy.minimum_value:
        findings.append(_finding(ErrorReason.ERROR_REASON_VALUE_TOO_LOW, given, f"at least {policy.minimum_value}"))
    if policy.maximum_value is not None and given > policy.maximum_value:
        findings.append(_finding(ErrorReason.ERROR_REASON_VALUE_TOO_HIGH, given, f"at most {policy.maximum_value}"))
    return [*findings, *_check_margin(admissible, policy, given)]


def check_return(admissible: Admissible, policy: Policy) -> list[Finding]:
    """SUSPICIOUS_PATTERN for an order that asks for far less, or far more, than it gives."""
    least, most = policy.smallest_return, policy.largest_return
    if not policy.prices or (least is None and most is None):
        return []
    given, wanted = value_given(admissible, policy.prices), value_wanted(admissible, policy.prices)
    if given is None or wanted is None:
        return []
    if (least is None or wanted >= given * least) and (most is None or wanted <= given * most):
        return []
    return [
        Finding(
            "order.outputs",
            ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN,
            f"The order gives {_shown(given)} and asks for {_shown(wanted)} in return; that looks like a mistake.",
        )
    ]


def gas_of(admissible: Admissible) -> tuple[int, int]:
    """Gas that the order takes on its origin and on its destination chain, about."""
    inputs, outputs = len(admissible.order.inputs), len(admissible.order.outputs)
    return _ESCROW_GAS + _INPUT_GAS * (inputs - 1) + _PROOF_GAS * outputs, _FILL_GAS * outputs


def _check_margin(admissible: Admissible, policy: Policy, given: Decimal) -> list[Finding]:
    wanted = value_wanted(admissible, policy.prices)
    if policy.minimum_margin is None or wanted is None:
        return []
    chains = (admissible.origin, admissible.destination)
    gas = sum(
        (
            amount * policy.gas_prices.get(chain.chain_id, Decimal(0))
            for chain, amount in zip(chains, gas_of(admissible), strict=True)
        ),
        Decimal(0),
    )
    if given - wanted - gas >= policy.minimum_margin:
        return []
    return [
        Finding(
            "order.outputs",
            ErrorReason.ERROR_REASON_VALUE_TOO_LOW,
            f"After gas for {_shown(gas)} the order leaves {_shown(given - wanted - gas)} to whoever fills it; served "
            f"is at least {policy.minimum_margin}.",
        )
    ]


def value_given(admissible: Admissible, prices: Prices) -> Decimal | None:
    """Of the inputs, in the reference currency; None where one has no price."""
    total = Decimal(0)
    for item in admissible.order.inputs:
        price = prices.get((admissible.origin.chain_id, item.token))
        if price is None:
            return None
        total += item.amount * price
    return total


def value_wanted(admissible: Admissible, prices: Prices) -> Decimal | None:
    """Of the outputs' signed amounts, in the reference currency; None where one has no price."""
    total = Decimal(0)
    for output in admissible.order.outputs:
        price = prices.get((ChainId(output.chain_id), clean_address(output.token)))
        if price is None:
            return None
        total += output.amount * price
    return total


def _finding(reason: "ErrorReason.ValueType", value: Decimal, bound: str) -> Finding:
    return Finding("order.inputs", reason, f"The order is worth {_shown(value)}; served is {bound}.")


def _shown(value: Decimal) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
