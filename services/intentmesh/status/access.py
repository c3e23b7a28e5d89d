"""Who may watch what. An intent's id is as good as a secret: who names it may read it."""

from intentmesh.domain.errors import PermissionDenied, Unauthenticated
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.status.filters import WatchFilter

_SEES_EVERYTHING = frozenset((PrincipalKind.OPERATOR, PrincipalKind.SERVICE, PrincipalKind.EXECUTOR))


class Access:
    """`anonymous_lists` lets everybody watch everything."""

    def __init__(self, *, anonymous_lists: bool) -> None:
        self._anonymous_lists = anonymous_lists

    def require_watch(self, wanted: WatchFilter, caller: Principal) -> None:
        """Asked when a watch opens, and so on each resume. Raises Unauthenticated or PermissionDenied."""
        if self._anonymous_lists or wanted.intent_ids or caller.kind in _SEES_EVERYTHING:
            return
        if caller.kind is PrincipalKind.ANONYMOUS:
            raise Unauthenticated(
                "watching intents without naming their ids needs the user's or an operator's principal"
            )
        if caller.kind is not PrincipalKind.USER or not wanted.user or caller.name.lower() != wanted.user:
            raise PermissionDenied("you may watch only your own intents, or intents that you name by id")
