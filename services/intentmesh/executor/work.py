"""One claimed intent as the executor sees it: the row, its order, what was done so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from intentmesh.domain.keccak import keccak
from intentmesh.domain.lifecycle import State
from intentmesh.domain.order import Order
from intentmesh.domain.types import Address, IntentId, format_intent_id, parse_address, to_bytes32
from intentmesh.executor.attestation import Collected
from intentmesh.executor.blame import Promise
from intentmesh.executor.discoveries import TransactionKey
from intentmesh.executor.evidence import Evidence
from intentmesh.executor.gather import Subject
from intentmesh.executor.progress import Progress
from intentmesh.executor.transitions import Situation
from intentmesh.executor.verification import Proven
from intentmesh.store.executions import Claim
from intentmesh.store.rows import IntentRow
from intentmesh.v1.auction_pb2 import Quote
from intentmesh.v1.intent_pb2 import ChainTransaction, IntentPhase


@dataclass(frozen=True, slots=True)
class Award:
    """The newest award of an intent."""

    number: int
    auction_id: str
    quote: Quote
    # Told to the winner alone, so that it knows the mesh by it.
    token: bytes

    @property
    def token_hash(self) -> str:
        """What anybody may see of the token."""
        return "0x" + keccak(self.token).hex()

    @property
    def solver_id(self) -> str:
        """The registry's id of the winner."""
        return self.quote.solver_id

    @property
    def promise(self) -> Promise:
        """What the winner promised."""
        return Promise(
            solver=to_bytes32(parse_address(self.quote.solver)),
            output_amounts=tuple(int(amount) for amount in self.quote.output_amounts),
            fill_time=self.quote.fill_time.ToMicroseconds() / 1e6,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """A consistent reading of everything stored about the intent. Replaced, never changed."""

    claim: Claim
    row: IntentRow
    order: Order
    progress: Progress
    award: Award | None
    transactions: Mapping[TransactionKey, ChainTransaction]
    attestations: Collected

    @property
    def intent_id(self) -> IntentId:
        """The order id on chain."""
        return IntentId(self.row.intent_id)

    @property
    def text_id(self) -> str:
        """The intent id as text."""
        return format_intent_id(self.row.intent_id)

    @property
    def state(self) -> State:
        """Status, phase and obligation as stored."""
        return self.row.state

    @property
    def standing_award(self) -> Award | None:
        """The newest award, while it is neither delivered nor given up."""
        return self.award if self.award is not None and self.award.number > self.progress.award_over else None

    @property
    def cancel_requested(self) -> bool:
        """Whether the user asked to cancel, now or before the phase moved on."""
        return self.progress.cancel_requested or self.state.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED

    @property
    def subject(self) -> Subject:
        """What evidence is to be gathered about."""
        return Subject(
            intent_id=self.intent_id,
            order=self.order,
            input_settler=Address(self.row.input_settler),
            signature_kind=self.row.signature[0] if self.row.signature else None,
            known=self.transactions,
        )

    def situation(self, now: float) -> Situation:
        """What the mesh knows beside the chains; `now` in Unix seconds."""
        return Situation(
            signature_out=self.row.award_number > 0,
            cancel_requested=self.cancel_requested,
            exhausted=self.progress.exhausted,
            deadline_passed=now >= self.order.fill_deadline,
            violation_told=self.progress.violation_told,
            failure=self.progress.failure,
        )

    def age(self, now: datetime) -> float:
        """Seconds since the last event."""
        return max((now - self.row.updated_at).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class View:
    """What the chains show, and what that proves."""

    evidence: Evidence
    proven: Proven
