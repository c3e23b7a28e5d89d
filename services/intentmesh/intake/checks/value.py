"""What an order is worth by the prices of the policy: bounds, a margin for whoever fills it, and plain mistakes."""

from decimal import Decimal

from intentmesh.domain.types import ChainId, clean_address
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy, Prices
from intentmesh.v1.error_pb2 import ErrorReason


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
    wanted = value_wanted(admissible, policy.prices)
    if policy.minimum_margin is not None and wanted is not None and given - wanted < policy.minimum_margin:
        findings.append(
            Finding(
                "order.outputs",
                ErrorReason.ERROR_REASON_VALUE_TOO_LOW,
                f"The order leaves {_shown(given - wanted)} to whoever fills it; gas and proof need "
                f"{policy.minimum_margin}.",
            )
        )
    return findings


def check_return(admissible: Admissible, policy: Policy) -> list[Finding]:
    """SUSPICIOUS_PATTERN for an order that asks for far less than it gives."""
    if policy.smallest_return is None or not policy.prices:
        return []
    given, wanted = value_given(admissible, policy.prices), value_wanted(admissible, policy.prices)
    if given is None or wanted is None or wanted >= given * policy.smallest_return:
        return []
    return [
        Finding(
            "order.outputs",
            ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN,
            f"The order gives {_shown(given)} and asks for {_shown(wanted)} in return; that looks like a mistake.",
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
