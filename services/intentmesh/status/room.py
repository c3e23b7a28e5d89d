"""Who may have how much of what this process has for its streams: their places, and the intents that they name."""

from collections.abc import Mapping
from dataclasses import dataclass

from intentmesh.domain.errors import ResourceExhausted
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.rate_limits import counted_as
from intentmesh.status import metrics
from intentmesh.v1.error_pb2 import ErrorReason

OVERLOADED_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Numbers of places. A caller is a principal; anonymous ones are told apart by their addresses."""

    all_callers: int
    each_caller: int
    each_service: int
    reserved: int
    """Of all, for services and operators."""
    reserved_for_operators: int
    """Of the reserved ones. Operators are bound by nothing but what the server can hold."""

    def of_each(self, kind: PrincipalKind) -> int:
        """How many one caller of this class may have."""
        if kind is PrincipalKind.OPERATOR:
            return self.all_callers
        return self.each_service if kind is PrincipalKind.SERVICE else self.each_caller

    def of_all(self, kind: PrincipalKind) -> int:
        """How many all may have together while a caller of this class gets another."""
        if kind is PrincipalKind.OPERATOR:
            return self.all_callers
        kept = self.reserved_for_operators if kind is PrincipalKind.SERVICE else self.reserved
        return self.all_callers - kept


class Room:
    """The places that are taken. `wanted` is what there is no room for, in words."""

    def __init__(self, bounds: Bounds, wanted: str = "another stream") -> None:
        self._bounds = bounds
        self._wanted = wanted
        self._taken = 0
        self._taken_by: dict[str, int] = {}

    def enter(self, caller: Principal, address: str, places: int = 1) -> str:
        """Take places, for one stream. Returns who has them, for `leave`. Raises ResourceExhausted (OVERLOADED)."""
        who = counted_as(caller, address)
        has, most = self._taken_by.get(who, 0), self._bounds.of_each(caller.kind)
        if (taken := self._taken + places) > self._bounds.of_all(caller.kind):
            metrics.REFUSED_STREAMS.labels("SERVER" if taken > self._bounds.all_callers else "RESERVE").inc()
            raise _overloaded(f"this server has no room for {self._wanted}", {})
        if has + places > most:
            metrics.REFUSED_STREAMS.labels("CALLER").inc()
            raise _overloaded(f"this server has no room for {self._wanted} of this caller", {"limit": str(most)})
        self._taken = taken
        self._taken_by[who] = has + places
        return who

    def leave(self, who: str, places: int = 1) -> None:
        """Give places back."""
        self._taken -= places
        self._taken_by[who] -= places
        if not self._taken_by[who]:
            del self._taken_by[who]


def _overloaded(message: str, metadata: Mapping[str, str]) -> ResourceExhausted:
    reason = ErrorReason.ERROR_REASON_OVERLOADED
    return ResourceExhausted(message, reason=reason, metadata=metadata, retry_after=OVERLOADED_RETRY_SECONDS)
