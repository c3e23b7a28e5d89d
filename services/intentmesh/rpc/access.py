"""Which kinds of callers a method is for."""

from intentmesh.domain.errors import PermissionDenied, Unauthenticated
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind, current_principal


def require(*kinds: PrincipalKind) -> Principal:
    """The caller, if it is of one of these kinds. Raises Unauthenticated (anonymous) or PermissionDenied."""
    caller = current_principal()
    if caller.kind in kinds:
        return caller
    wanted = " or ".join(kinds)
    if caller == ANONYMOUS:
        raise Unauthenticated(f"this call needs a principal of kind {wanted}")
    raise PermissionDenied(f"this call is for principals of kind {wanted}, not {caller.kind}")
