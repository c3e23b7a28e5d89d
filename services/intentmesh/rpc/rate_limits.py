"""What all limits on callers have in common: who is counted, how a refusal reads, and what an answer tells of a budget.

What is counted, and how much of it is allowed, each service says for itself.
"""

import math
from ipaddress import IPv6Address, ip_address

from intentmesh.domain.errors import ResourceExhausted
from intentmesh.rpc.leases import Grant
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1.error_pb2 import ErrorReason

TOO_MANY_REQUESTS = "Too many requests, please try again later"

# A household or a machine of one's own has a whole /64 of IPv6 addresses.
_IPV6_SITE_BITS = 64


class LimitReached(ResourceExhausted):
    """Nothing was granted. The interceptor puts what the grant tells of the budget into the answer's metadata."""

    def __init__(
        self,
        grant: Grant,
        message: str = TOO_MANY_REQUESTS,
        reason: ErrorReason.ValueType = ErrorReason.ERROR_REASON_RATE_LIMITED,
    ) -> None:
        limit = grant.limit
        super().__init__(
            message,
            reason=reason,
            metadata={"limit": str(limit.amount), "window_seconds": str(limit.seconds)},
            retry_after=float(_whole_seconds(grant)),
        )
        self.grant = grant


def metadata_of(grant: Grant) -> tuple[tuple[str, str], ...]:
    """The usual headers; seconds are rounded up, so that who waits as told does not come too early."""
    return (
        ("ratelimit-limit", str(grant.limit.amount)),
        ("ratelimit-remaining", str(grant.remaining)),
        ("ratelimit-reset", str(_whole_seconds(grant))),
    )


def counted_as(principal: Principal, address: str) -> str:
    """The principal; for those without one, the address they come from."""
    if principal.kind is not PrincipalKind.ANONYMOUS:
        return str(principal)
    return f"address:{_site(address)}"


def _site(address: str) -> str:
    if ":" not in address:
        return address
    parsed = ip_address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    return str(IPv6Address(int(parsed) >> (128 - _IPV6_SITE_BITS) << (128 - _IPV6_SITE_BITS)))


def _whole_seconds(grant: Grant) -> int:
    return max(1, math.ceil(grant.reset_seconds))
