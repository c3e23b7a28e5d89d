"""The layers in their order: cheap and in memory first, the signature next, the store and the chain last."""

import time
from collections.abc import Callable

from intentmesh.chain.config import NetworkConfig
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.business import BusinessChecks
from intentmesh.intake.checks.chain import ChainChecks
from intentmesh.intake.checks.security import check_security, check_signature
from intentmesh.intake.checks.shape import check_shape
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.intake.checks.timing import check_timing
from intentmesh.intake.findings import Finding
from intentmesh.intake.policy import Policy
from intentmesh.rpc.principals import Principal
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest


class Pipeline:
    """Every layer returns its findings; none stops at the first one."""

    def __init__(
        self,
        network: NetworkConfig,
        policy: Policy,
        business: BusinessChecks,
        chain: ChainChecks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._network = network
        self._policy = policy
        self._structure = StructureCheck(RequestValidator(), network)
        self._business = business
        self._chain = chain
        self._clock = clock

    def read(self, request: SubmitIntentRequest) -> Candidate | list[Finding]:
        """Layer 1: the candidate, or everything wrong with the request's form."""
        return self._structure.read(request)

    def shape(self, candidate: Candidate) -> list[Finding]:
        """Layer 2, and whether the signature is one at all. Nothing found: `candidate.admissible()` is not None."""
        findings = check_shape(candidate, self._network, self._policy)
        if candidate.signature is None:
            reason = ErrorReason.ERROR_REASON_INVALID_SIGNATURE
            findings.append(Finding("signature", reason, candidate.signature_fault))
        return findings

    def timing(self, candidate: Candidate) -> list[Finding]:
        """Layer 3."""
        return check_timing(candidate, self._policy, int(self._clock()))

    async def security(self, admissible: Admissible, caller: Principal) -> list[Finding]:
        """Layer 4. Asks the chain only where the signature may be one of a contract wallet.

        Raises ChainUnavailable.
        """
        findings = check_security(admissible, self._policy, caller)
        faults = check_signature(admissible)
        if faults and await self._chain.is_contract(admissible.origin.chain_id, admissible.order.user):
            faults = await self._chain.check_wallet_signature(admissible)
        return faults + findings

    async def business(self, admissible: Admissible) -> list[Finding]:
        """Layer 5."""
        return await self._business.check(admissible, self._policy)

    async def chain(self, admissible: Admissible) -> list[Finding]:
        """Layer 6. Raises ChainUnavailable."""
        return await self._chain.check_funds(admissible)
