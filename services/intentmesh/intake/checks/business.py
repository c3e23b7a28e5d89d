"""Layer 5: whether the mesh wants the order now, by its policy and by what the user has open."""

from intentmesh.intake.candidate import Admissible
from intentmesh.intake.checks.value import check_value
from intentmesh.intake.findings import Finding
from intentmesh.intake.open_orders import UserOrders
from intentmesh.intake.policy import Policy
from intentmesh.v1.error_pb2 import ErrorReason


def check_switch(policy: Policy) -> list[Finding]:
    """INTAKE_DISABLED."""
    if policy.intake_enabled:
        return []
    return [Finding("", ErrorReason.ERROR_REASON_INTAKE_DISABLED, "The intake is switched off for now.")]


def check_business(admissible: Admissible, policy: Policy, open_orders: UserOrders) -> list[Finding]:
    """INTAKE_DISABLED, TOO_MANY_OPEN_INTENTS, VALUE_TOO_LOW, VALUE_TOO_HIGH."""
    if off := check_switch(policy):
        return off
    findings = check_value(admissible, policy)
    limit = policy.maximum_open_intents_per_user
    count = open_orders.count_without(admissible.intent_id)
    if count >= limit:
        findings.append(
            Finding(
                "order.user",
                ErrorReason.ERROR_REASON_TOO_MANY_OPEN_INTENTS,
                f"The user has {count} open intents; at most {limit} are served at a time.",
                {"limit": str(limit)},
            )
        )
    return findings
