"""Who may watch what. An intent's id is as good as a secret: who names it may read it."""

from intentmesh.rpc.access import NO_DELEGATIONS, Delegations, require_sees_intents_of
from intentmesh.rpc.principals import Principal
from intentmesh.status.filters import WatchFilter


class Access:
    """`anonymous_lists` lets everybody watch everything."""

    def __init__(self, *, anonymous_lists: bool, delegations: Delegations = NO_DELEGATIONS) -> None:
        self._anonymous_lists = anonymous_lists
        self._delegations = delegations

    def require_watch(self, wanted: WatchFilter, caller: Principal) -> None:
        """Asked when a watch opens, and so on each resume. Raises Unauthenticated or PermissionDenied."""
        if not (self._anonymous_lists or wanted.intent_ids):
            require_sees_intents_of(caller, wanted.user or "", self._delegations)
