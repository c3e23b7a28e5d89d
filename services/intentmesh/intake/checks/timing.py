"""Layer 3: the deadlines leave solvers, proof and settlement their time, and lock funds no longer than allowed."""

import math
from collections.abc import Callable, Sequence

from intentmesh.chain.config import ChainConfig
from intentmesh.intake.candidate import Candidate
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.v1.error_pb2 import ErrorReason

# The last argument is now, in Unix seconds.
TimingCheck = Callable[[Candidate, Policy, int], Sequence[Finding]]


def check_timing(candidate: Candidate, policy: Policy, now: int) -> list[Finding]:
    """Everything that is wrong with the order's times at `now` (Unix seconds)."""
    findings: list[Finding] = []
    for check in CHECKS:
        findings += check(candidate, policy, now)
    return findings


def fill_deadline_is_not_near(candidate: Candidate, policy: Policy, now: int) -> Sequence[Finding]:
    """INSUFFICIENT_VALID_TO."""
    earliest = now + policy.minimum_fill_seconds
    if candidate.order.fill_deadline >= earliest:
        return ()
    fault = "has passed" if candidate.order.fill_deadline <= now else "leaves solvers too little time"
    return (
        Finding(
            "order.fill_deadline",
            ErrorReason.ERROR_REASON_INSUFFICIENT_VALID_TO,
            f"The fill deadline {fault}; the earliest is {earliest}.",
            {"earliest": str(earliest)},
        ),
    )


def fill_deadline_is_not_far(candidate: Candidate, policy: Policy, now: int) -> Sequence[Finding]:
    """EXCESSIVE_VALID_TO."""
    latest = now + policy.maximum_fill_seconds
    if candidate.order.fill_deadline <= latest:
        return ()
    return (_excessive("order.fill_deadline", "The fill deadline lies too far ahead", latest),)


def expiry_is_not_far(candidate: Candidate, policy: Policy, now: int) -> Sequence[Finding]:
    """EXCESSIVE_VALID_TO."""
    latest = now + policy.maximum_lock_seconds
    if candidate.order.expires <= latest:
        return ()
    why = "An order opened and never filled would lock the funds for too long"
    return (_excessive("order.expires", why, latest),)


def expiry_leaves_a_margin(candidate: Candidate, policy: Policy, _: int) -> Sequence[Finding]:
    """INSUFFICIENT_EXPIRY_MARGIN: a late finalise would race the refund."""
    if candidate.origin is None or candidate.destination is None:
        return ()
    earliest = candidate.order.fill_deadline + settlement_seconds(candidate.origin, candidate.destination, policy)
    if candidate.order.expires >= earliest:
        return ()
    return (
        Finding(
            "order.expires",
            ErrorReason.ERROR_REASON_INSUFFICIENT_EXPIRY_MARGIN,
            f"Proof and settlement of a late fill would race the refund; the earliest expiry is {earliest}.",
            {"earliest": str(earliest)},
        ),
    )


CHECKS: tuple[TimingCheck, ...] = (
    fill_deadline_is_not_near,
    fill_deadline_is_not_far,
    expiry_is_not_far,
    expiry_leaves_a_margin,
)


def settlement_seconds(origin: ChainConfig, destination: ChainConfig, policy: Policy) -> int:
    """From the last possible fill to a settlement that is safe: finality of both chains, attestation, finalise."""
    finality = math.ceil(origin.final_seconds + destination.final_seconds)
    return finality + policy.attestation_margin_seconds + policy.finalise_margin_seconds


def _excessive(field: str, why: str, latest: int) -> Finding:
    return Finding(
        field,
        ErrorReason.ERROR_REASON_EXCESSIVE_VALID_TO,
        f"{why}; the latest is {latest}.",
        {"latest": str(latest)},
    )
