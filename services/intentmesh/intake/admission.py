"""From a request to a stored intent, or to the reasons why not."""

from dataclasses import dataclass

from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import IntentId
from intentmesh.intake.accept import Acceptance, Acceptor
from intentmesh.intake.caller import Caller
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.pipeline import Pipeline
from intentmesh.intake.findings import Finding, refusal
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a dry run found; the intent id where the order is well formed enough to have one."""

    findings: list[Finding]
    intent_id: IntentId | None


class Admission:
    """Runs the checks and, where they find nothing, the accept."""

    def __init__(self, pipeline: Pipeline, acceptor: Acceptor) -> None:
        self._pipeline = pipeline
        self._acceptor = acceptor

    async def submit(self, request: SubmitIntentRequest, caller: Caller) -> Acceptance:
        """Stores the intent, or finds it stored. Raises MeshError with every finding of the layers that could run."""
        candidate = self._pipeline.read(request)
        if isinstance(candidate, list):
            raise refusal(candidate)
        admissible, timing = self._shaped(candidate)
        security = await self._pipeline.security(admissible, caller.principal)
        if security:
            raise refusal(timing + security)
        try:
            await self._require_acceptable(admissible, timing)
        except MeshError:
            # An order that was accepted is still that intent when its time is over, its funds moved, its chain away.
            stored = await self._acceptor.find(admissible)
            if stored is None:
                raise
            return stored
        return await self._acceptor.accept(admissible, caller, request)

    async def validate(self, request: SubmitIntentRequest, caller: Caller) -> Verdict:
        """Every check of `submit`, all findings at once, nothing stored. Raises ChainUnavailable."""
        candidate = self._pipeline.read(request)
        if isinstance(candidate, list):
            return Verdict(candidate, None)
        findings = self._pipeline.shape(candidate)
        timing = self._pipeline.timing(candidate)
        admissible = candidate.admissible()
        if findings or admissible is None:
            return Verdict(findings + timing, candidate.intent_id)
        security = await self._pipeline.security(admissible, caller.principal)
        if not security and await self._acceptor.find(admissible) is not None:
            return Verdict([], admissible.intent_id)
        late = [
            *await self._pipeline.business(admissible),
            *await self._acceptor.conflicts(admissible),
            *await self._pipeline.chain(admissible),
        ]
        return Verdict(timing + security + late, admissible.intent_id)

    def _shaped(self, candidate: Candidate) -> tuple[Admissible, list[Finding]]:
        shape, timing = self._pipeline.shape(candidate), self._pipeline.timing(candidate)
        admissible = candidate.admissible()
        if shape or admissible is None:
            raise refusal(shape + timing)
        return admissible, timing

    async def _require_acceptable(self, admissible: Admissible, timing: list[Finding]) -> None:
        if timing:
            raise refusal(timing)
        business = await self._pipeline.business(admissible)
        if business:
            raise refusal(business)
        funds = await self._pipeline.chain(admissible)
        if funds:
            raise refusal(funds)
