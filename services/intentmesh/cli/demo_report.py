"""What the demo concludes: each intent's way, each balance's change, and what is wrong with either."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intentmesh.cli.events import phase_of
from intentmesh.cli.holdings import NATIVE, Holder, Holding
from intentmesh.cli.output import JsonValue, enum_label
from intentmesh.client.order_builder import SignedOrder
from intentmesh.domain.types import Address, clean_address, parse_address
from intentmesh.embedded.endpoints import Endpoints
from intentmesh.v1 import event_pb2, intent_pb2
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, TransactionKind


@dataclass(slots=True)
class Journey:
    """One intent on its way."""

    title: str
    intent_id: str
    events: list[event_pb2.IntentEvent] = field(default_factory=list)
    intent: intent_pb2.Intent = field(default_factory=intent_pb2.Intent)

    def seconds_by_phase(self) -> Mapping[str, float]:
        """How long the intent was in each phase, in the order it went through them."""
        spent: dict[str, float] = {}
        for event, following in zip(self.events, self.events[1:], strict=False):
            seconds = _seconds(following) - _seconds(event)
            spent[phase_of(event)] = round(spent.get(phase_of(event), 0.0) + seconds, 3)
        return spent


@dataclass(frozen=True, slots=True)
class Change:
    """One balance before and after. `expected` is None where no order says anything (gas)."""

    before: Holding
    after: Holding
    expected: int | None

    @property
    def difference(self) -> int:
        return self.after.amount - self.before.amount

    @property
    def as_expected(self) -> bool:
        """Whether it moved by exactly what the orders say."""
        return self.expected is None or self.difference == self.expected

    def record(self) -> Mapping[str, JsonValue]:
        """For JSON; amounts are strings in the token's smallest unit."""
        return {
            "who": self.after.holder.name,
            "address": self.after.address_text,
            "chain": self.after.chain,
            "token": self.after.token,
            "before": str(self.before.amount),
            "after": str(self.after.amount),
            "change": str(self.difference),
            "expected": None if self.expected is None else str(self.expected),
        }


def changes(
    endpoints: Endpoints,
    orders: Sequence[SignedOrder],
    holders: Sequence[Holder],
    before: Sequence[Holding],
    after: Sequence[Holding],
) -> list[Change]:
    """Each balance with what the orders say about it. User and recipient pay no gas: their ETH must not move."""
    solver = next(holder.address for holder in holders if holder.name == "solver")
    expected = _expected(endpoints, orders, solver)
    result = []
    for old, new in zip(before, after, strict=True):
        says: int | None = expected[new.chain, new.token, new.holder.address]
        if new.token == NATIVE and new.holder.address == solver:
            says = None
        result.append(Change(old, new, says))
    return result


def _expected(
    endpoints: Endpoints, orders: Sequence[SignedOrder], solver: Address
) -> Counter[tuple[str, str, Address]]:
    """By chain, token and holder: inputs go from the user to the solver, outputs from the solver to the recipient."""
    moves: Counter[tuple[str, str, Address]] = Counter()
    for signed in orders:
        order = signed.order
        for entry in order.inputs:
            chain, token = _token(endpoints, order.origin_chain_id, entry.token)
            moves[chain, token, order.user] -= entry.amount
            moves[chain, token, solver] += entry.amount
        for output in order.outputs:
            chain, token = _token(endpoints, output.chain_id, clean_address(output.token))
            moves[chain, token, clean_address(output.recipient)] += output.amount
            moves[chain, token, solver] -= output.amount
    return moves


def _token(endpoints: Endpoints, chain_id: int, address: Address) -> tuple[str, str]:
    chain = endpoints.chain(str(chain_id))
    return chain.name, next(name for name, token in chain.tokens.items() if parse_address(token.address) == address)


def shortcomings(journeys: Sequence[Journey], moved: Sequence[Change]) -> list[str]:
    """What keeps the demo from having succeeded, in sentences."""
    problems = [
        f"{journey.title}: {_status(journey)}/{_phase(journey)} instead of COMPLETED/SETTLED ({journey.intent.message})"
        for journey in journeys
        if (_status(journey), _phase(journey)) != ("COMPLETED", "SETTLED")
    ]
    problems += [
        f"the {change.after.token} of {change.after.holder.name} on {change.after.chain} moved by {change.difference} "
        f"instead of {change.expected}"
        for change in moved
        if not change.as_expected
    ]
    return problems


def journeys_table(
    journeys: Sequence[Journey], chain_names: Mapping[int, str]
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns and rows: what was done for each intent, where, for how much gas, and how long each phase took."""
    columns = ("intent", "status", "phase", "solver", "transactions", "gas", "seconds by phase")
    return columns, [
        (
            f"{journey.title}\n{journey.intent_id[:18]}…",
            _status(journey),
            _phase(journey),
            f"{journey.intent.execution.solver[:10]}…",
            _transactions(journey.intent, chain_names),
            f"{journey.intent.execution.gas_used:,}",
            "\n".join(f"{phase} {seconds:.1f}" for phase, seconds in journey.seconds_by_phase().items()),
        )
        for journey in journeys
    ]


def _transactions(intent: intent_pb2.Intent, chain_names: Mapping[int, str]) -> str:
    return "\n".join(
        f"{chain_names[one.chain_id]} {enum_label(TransactionKind.Name(one.kind), 'TRANSACTION_KIND').lower()} "
        f"{one.hash[:10]}…"
        for one in intent.execution.transactions
    )


def _status(journey: Journey) -> str:
    return enum_label(IntentStatus.Name(journey.intent.status), "INTENT_STATUS")


def _phase(journey: Journey) -> str:
    return enum_label(IntentPhase.Name(journey.intent.phase), "INTENT_PHASE")


def _seconds(event: event_pb2.IntentEvent) -> float:
    return event.create_time.seconds + event.create_time.nanos / 1e9
