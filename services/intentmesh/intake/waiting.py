"""Accepts that wait for the writer, and which of them can be stored together."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from intentmesh.domain.types import IntentId
from intentmesh.store.admission import RequestKey
from intentmesh.store.intents import NewIntent, RequestIdUse
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentStatus

log = structlog.get_logger()


@dataclass(slots=True)
class Acceptance:
    """A stored intent. `created` is false where it was there before."""

    intent_id: IntentId
    status: "IntentStatus.ValueType"
    sequence: int
    created: bool


Outcome = Acceptance | Exception
Done = Callable[[Outcome], None]


@dataclass(slots=True)
class Accept:
    """One intent on its way into the store. `done` is called once, after the commit."""

    new: NewIntent
    event: IntentEvent
    done: Done
    request: tuple[RequestKey, RequestIdUse] | None = None
    # The same submission by others at the same time.
    followers: list[Done] = field(default_factory=list)
    # It was sent to the store, and the answer was lost.
    in_doubt: bool = False
    # A statement has stored it, and what followed on it failed: unless that was a transaction, it is stored.
    was_inserted: bool = False

    def finish(self, outcome: Outcome) -> None:
        """Tells everybody who waits for it. Never raises."""
        _tell(self.done, outcome)
        if isinstance(outcome, Acceptance) and outcome.created:
            outcome = Acceptance(outcome.intent_id, outcome.status, outcome.sequence, created=False)
        for done in self.followers:
            _tell(done, outcome)


def _tell(done: Done, outcome: Outcome) -> None:
    try:
        done(outcome)
    except Exception as error:  # a bug of the one who waits, which others shall not wait for
        log.exception("outcome_not_told", error=repr(error))


# What makes two accepts one: the same intent, asked for in the same way.
_Submission = tuple[IntentId, tuple[RequestKey, RequestIdUse] | None]


class Waiting:
    """First come, first served. What cannot be stored beside another accept waits behind that one, and nobody else."""

    def __init__(self) -> None:
        self._line: deque[Accept] = deque()
        # By the intent or the request id that each of a queue has in common with one that was stored, or is.
        self._behind: dict[IntentId | RequestKey, dict[_Submission, Accept]] = {}
        self._callers = 0

    def __len__(self) -> int:
        """Callers that wait."""
        return self._callers

    def add(self, accept: Accept) -> None:
        """Last in line."""
        self._line.append(accept)
        self._callers += 1 + len(accept.followers)

    def take_group(self, limit: int) -> list[Accept]:
        """At most so many, of distinct intents and request ids. The same submission by others shares its outcome.

        The one group must be stored before the next is taken: those behind one of it are then free to go.
        """
        self._let_one_of_each_queue_go()
        group: dict[IntentId, Accept] = {}
        requests: set[RequestKey] = set()
        while self._line and len(group) < limit:
            accept = self._line.popleft()
            same = group.get(accept.new.intent_id)
            if same is not None and same.request == accept.request:
                _follow(same, accept)
            elif same is not None:
                self._put_behind(accept.new.intent_id, accept)
            elif accept.request is not None and accept.request[0] in requests:
                self._put_behind(accept.request[0], accept)
            else:
                group[accept.new.intent_id] = accept
                if accept.request is not None:
                    requests.add(accept.request[0])
        return self._gone(list(group.values()))

    def take_all(self) -> list[Accept]:
        """Nobody waits any more."""
        queues, self._behind = self._behind, {}
        accepts = [*self._line, *(accept for queue in queues.values() for accept in queue.values())]
        self._line.clear()
        return self._gone(accepts)

    def _put_behind(self, key: IntentId | RequestKey, accept: Accept) -> None:
        queue = self._behind.setdefault(key, {})
        first = queue.setdefault((accept.new.intent_id, accept.request), accept)
        if first is not accept:
            _follow(first, accept)

    def _let_one_of_each_queue_go(self) -> None:
        if not self._behind:
            return
        self._line.extendleft(reversed([queue.pop(next(iter(queue))) for queue in self._behind.values()]))
        self._behind = {key: queue for key, queue in self._behind.items() if queue}

    def _gone(self, accepts: list[Accept]) -> list[Accept]:
        self._callers -= len(accepts) + sum(len(accept.followers) for accept in accepts)
        return accepts


def _follow(first: Accept, accept: Accept) -> None:
    first.followers += [accept.done, *accept.followers]
