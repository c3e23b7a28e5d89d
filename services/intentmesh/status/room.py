"""Who may have how many streams open on this process. A place is held until the call has ended, not its handler."""

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
    """Numbers of streams. A caller is a principal; anonymous ones are told apart by their addresses."""

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
    """The places that are taken."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._taken = 0
        self._taken_by: dict[str, int] = {}

    def enter(self, caller: Principal, address: str) -> str:
        """Take a place. Returns who has it, for `leave`. Raises ResourceExhausted (OVERLOADED)."""
        who = counted_as(caller, address)
        has, most = self._taken_by.get(who, 0), self._bounds.of_each(caller.kind)
        if self._taken >= self._bounds.of_all(caller.kind):
            metrics.REFUSED_STREAMS.labels("SERVER" if self._taken >= self._bounds.all_callers else "RESERVE").inc()
            raise _overloaded("this server has no room for another stream", {})
        if has >= most:
            metrics.REFUSED_STREAMS.labels("CALLER").inc()
            raise _overloaded("this server has no room for another stream of this caller", {"limit": str(most)})
        self._taken += 1
        self._taken_by[who] = has + 1
        return who

    def leave(self, who: str) -> None:
        """Give a place back."""
        self._taken -= 1
        self._taken_by[who] -= 1
        if not self._taken_by[who]:
            del self._taken_by[who]


def _overloaded(message: str, metadata: Mapping[str, str]) -> ResourceExhausted:
    reason = ErrorReason.ERROR_REASON_OVERLOADED
    return ResourceExhausted(message, reason=reason, metadata=metadata, retry_after=OVERLOADED_RETRY_SECONDS)
