"""What a watch over many intents wants to see."""

import hashlib
from dataclasses import dataclass

from intentmesh.status.told import Told
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest

FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """All conditions must hold; an empty one holds always. Ids and user are lower-case text."""

    intent_ids: frozenset[str]
    user: str
    types: frozenset[int]
    statuses: frozenset[int]

    @classmethod
    def of(cls, request: WatchIntentsRequest) -> "WatchFilter":
        """The filter of a request; sequence and case do not matter."""
        return cls(
            intent_ids=frozenset(intent_id.lower() for intent_id in request.intent_ids),
            user=request.user.lower(),
            types=frozenset(request.types),
            statuses=frozenset(request.statuses),
        )

    def wants(self, event: Told) -> bool:
        """Whether an event passes."""
        return (
            (not self.intent_ids or event.intent_id in self.intent_ids)
            and (not self.user or event.user == self.user)
            and (not self.types or event.type in self.types)
            and (not self.statuses or event.status in self.statuses)
        )

    def fingerprint(self) -> bytes:
        """Equal for equal filters; 8 bytes."""
        parts = (sorted(self.intent_ids), self.user, sorted(self.types), sorted(self.statuses))
        return hashlib.blake2b(repr(parts).encode(), digest_size=FINGERPRINT_BYTES).digest()
