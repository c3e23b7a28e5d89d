"""Which kinds of callers a method is for, and whose intents a caller may see or act upon."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from intentmesh.domain.errors import PermissionDenied, Unauthenticated
from intentmesh.domain.types import parse_address
from intentmesh.rpc.principals import ANONYMOUS, Principal, PrincipalKind, current_principal

EVERYONE = "*"
# Principal, as text, to the users (0x and 40 lower-case digits, or EVERYONE) it may act for.
Delegations = Mapping[str, frozenset[str]]
NO_DELEGATIONS: Delegations = {}

# Those who run the mesh. A `service` is a consumer of it: it sees what is delegated to it.
_SEES_EVERYTHING = frozenset((PrincipalKind.OPERATOR, PrincipalKind.EXECUTOR))


def require(*kinds: PrincipalKind) -> Principal:
    """The caller, if it is of one of these kinds. Raises Unauthenticated (anonymous) or PermissionDenied."""
    caller = current_principal()
    if caller.kind in kinds:
        return caller
    wanted = " or ".join(kinds)
    if caller == ANONYMOUS:
        raise Unauthenticated(f"this call needs a principal of kind {wanted}")
    raise PermissionDenied(f"this call is for principals of kind {wanted}, not {caller.kind}")


def acts_for(caller: Principal, user: str, delegations: Delegations = NO_DELEGATIONS) -> bool:
    """Whether the caller is this user (0x and 40 digits in any case), or the user's delegate."""
    wanted = user.lower()
    # Whoever vouches for users might let one choose this name.
    if caller.kind is PrincipalKind.USER and caller.name.lower() == wanted != EVERYONE:
        return True
    users = delegations.get(str(caller), frozenset())
    return EVERYONE in users or wanted in users


def sees_intents_of(caller: Principal, user: str, delegations: Delegations = NO_DELEGATIONS) -> bool:
    """Whether all there is to know of this user's intents may be shown; `user` empty means everybody's."""
    return caller.kind in _SEES_EVERYTHING or acts_for(caller, user or EVERYONE, delegations)


def require_sees_intents_of(caller: Principal, user: str, delegations: Delegations = NO_DELEGATIONS) -> None:
    """For lists and watches that do not name their intents by id; `user` empty means everybody's.

    Raises Unauthenticated or PermissionDenied.
    """
    if sees_intents_of(caller, user, delegations):
        return
    if caller.kind is PrincipalKind.ANONYMOUS:
        raise Unauthenticated("intents that are not named by id are shown to their user and to operators only")
    raise PermissionDenied("you may see only your own intents, and those that you name by id")


def delegations_of(listed: Mapping[str, tuple[str, ...]]) -> Delegations:
    """From configuration: `{"service:shop": ["0x…"]}`. Raises ValueError."""
    found = {}
    for name, users in listed.items():
        if Principal.parse(name).kind is PrincipalKind.ANONYMOUS:
            raise ValueError("nobody delegates to anonymous callers")
        found[str(Principal.parse(name))] = frozenset(
            EVERYONE if user == EVERYONE else "0x" + parse_address(user).hex() for user in users
        )
    return found


def _checked(listed: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    delegations_of(listed)
    return listed


KnownDelegations = Annotated[dict[str, tuple[str, ...]], AfterValidator(_checked)]
"""Delegations as a setting."""
