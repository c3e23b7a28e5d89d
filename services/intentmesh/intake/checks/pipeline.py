"""The layers in their order: cheap and in memory first, the signature next, the store and the chain last."""

import time
from collections.abc import Callable, Sequence

from intentmesh.chain.config import NetworkConfig
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.business import check_business, check_switch
from intentmesh.intake.checks.chain import ChainChecks
from intentmesh.intake.checks.security import check_security, check_signature, unreadable
from intentmesh.intake.checks.shape import check_shape
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.intake.checks.timing import check_timing
from intentmesh.intake.findings import Finding
from intentmesh.intake.open_orders import UserOrders
from intentmesh.intake.policy import Policy
from intentmesh.rpc.access import sees_intents_of
from intentmesh.rpc.principals import Principal
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest


class Pipeline:
    """Every layer returns its findings; none stops at the first one. `policy` gives the policy as of now."""

    def __init__(
        self,
        network: NetworkConfig,
        policy: Callable[[], Policy],
        chain: ChainChecks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._network = network
        self._policy = policy
        self._structure = StructureCheck(RequestValidator(), network)
        self._chain = chain
        self._clock = clock

    def read(self, request: SubmitIntentRequest) -> Candidate | list[Finding]:
        """Layer 1: the candidate, or everything wrong with the request's form where no order can be read."""
        return self._structure.read(request)

    def shape(self, candidate: Candidate) -> list[Finding]:
        """Layer 2, and whether the signature is one at all.

        Nothing found, and the form without fault: `candidate.admissible()` is not None.
        """
        findings = check_shape(candidate, self._network, self._policy())
        if candidate.signature is None and all(fault.field != "signature" for fault in candidate.form):
            reason = ErrorReason.ERROR_REASON_INVALID_SIGNATURE
            findings.append(Finding("signature", reason, candidate.signature_fault))
        return findings

    def timing(self, candidate: Candidate) -> list[Finding]:
        """Layer 3."""
        return check_timing(candidate, self._policy(), int(self._clock()))

    def security(self, admissible: Admissible, caller: Principal, request_id: str = "") -> list[Finding]:
        """Layer 4 without the signature."""
        findings = check_security(admissible, self._policy(), caller)
        if request_id and not request_id.isprintable():
            findings.append(unreadable("request_id"))
        return findings

    def signature(self, admissible: Admissible) -> list[Finding]:
        """Layer 4: the signature, taken for one of an account without code."""
        return check_signature(admissible)

    async def settle_signature(self, admissible: Admissible, faults: Sequence[Finding]) -> Sequence[Finding]:
        """Layer 4: what is no signature of the user's key may be one of the user's contract wallet.

        Raises ChainUnavailable.
        """
        if faults and await self._chain.is_contract(admissible.origin.chain_id, admissible.order.user):
            return await self._chain.check_wallet_signature(admissible)
        return faults

    def may_see(self, admissible: Admissible, caller: Principal) -> bool:
        """Whether what the user has open may be shown to the caller."""
        return sees_intents_of(caller, "0x" + admissible.order.user.hex(), self._policy().delegations)

    def switched_off(self) -> list[Finding]:
        """Of layer 5 what needs no look at the store."""
        return check_switch(self._policy())

    def business(self, admissible: Admissible, open_orders: UserOrders) -> list[Finding]:
        """Layer 5."""
        return check_business(admissible, self._policy(), open_orders)

    def chain_now(self, admissible: Admissible, open_orders: UserOrders) -> bool:
        """Layer 6 from memory: whether it is known to find nothing."""
        return self._chain.funds_suffice_now(admissible, open_orders)

    def passes_now(self, admissible: Admissible, open_orders: UserOrders, times: int) -> bool:
        """Layers 5 and 6 from memory: whether they find nothing, even with `times` as much open as is known of."""
        count = open_orders.count_without(admissible.intent_id) + 1
        if times * count > self._policy().maximum_open_intents_per_user:
            return False
        return not self.business(admissible, open_orders) and self._chain.funds_suffice_now(
            admissible, open_orders, times
        )

    async def chain(self, admissible: Admissible, open_orders: UserOrders) -> list[Finding]:
        """Layer 6. Raises ChainUnavailable."""
        return await self._chain.check_funds(admissible, open_orders)
