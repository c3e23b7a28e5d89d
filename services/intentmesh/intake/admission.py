"""From a request to a stored intent, or to the reasons why not.

What can be decided in memory is decided without waiting (`assess`); where that finds nothing wrong and memory knows the
rest as well (`admit_now`), an order goes straight to the writer. Everything else takes the long way (`examine`), which
asks the store and the chain.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from intentmesh.chain.errors import ChainUnavailable
from intentmesh.domain.errors import MeshError, Unavailable
from intentmesh.domain.types import IntentId
from intentmesh.intake.accept import Acceptor
from intentmesh.intake.caller import Caller
from intentmesh.intake.candidate import Admissible, Candidate
from intentmesh.intake.checks.pipeline import Pipeline
from intentmesh.intake.findings import Finding, refusal
from intentmesh.intake.open_orders import OpenOrders, UserOrders, nothing_open
from intentmesh.intake.rate_limits import Budget, RateLimiter, user_key
from intentmesh.intake.waiting import Acceptance, Done, Outcome
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest

_FIND_WHILE_OFF_SECONDS = 1.0

# The intent, and what it is counted under: services have budgets apart from the users' own.
_CountingKey = tuple[IntentId, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a dry run found; the intent id where the order is well formed enough to have one."""

    findings: list[Finding]
    intent_id: IntentId | None


@dataclass(slots=True)
class Assessment:
    """What memory tells of a request. `admissible` is None where the form or `shape` holds findings."""

    request: SubmitIntentRequest
    # The order, or what is wrong with the request's form where none can be read.
    read: Candidate | list[Finding]
    admissible: Admissible | None = None
    shape: Sequence[Finding] = ()
    timing: Sequence[Finding] = ()
    security: Sequence[Finding] = ()
    # Of the signature, taken for one of an account without code.
    signature: Sequence[Finding] = ()
    # The counting of its intent that it shares, see `_UserCounts`.
    counting: _CountingKey | None = None

    @property
    def intent_id(self) -> IntentId | None:
        """Known where the order is well formed and its origin chain is served."""
        return self.read.intent_id if isinstance(self.read, Candidate) else None

    @property
    def early(self) -> list[Finding]:
        """Of the layers that are told together, whatever the others say."""
        form = self.read.form if isinstance(self.read, Candidate) else self.read
        return [*form, *self.shape, *self.timing]


class Admission:
    """Runs the checks and, where they find nothing, the accept."""

    def __init__(self, pipeline: Pipeline, acceptor: Acceptor, open_orders: OpenOrders, limiter: RateLimiter) -> None:
        self._pipeline = pipeline
        self._acceptor = acceptor
        self._open_orders = open_orders
        self._limiter = limiter
        self._user_counts = _UserCounts(limiter)

    async def submit(self, request: SubmitIntentRequest, caller: Caller, unheard: Done = lambda _: None) -> Acceptance:
        """Stores the intent, or finds it stored. Raises MeshError with every finding of the layers that could run.

        `unheard` is told the outcome where this was cancelled before it was there: the intent is stored all the same.
        """
        assessment = self.assess(request, caller)
        if not self.admit_now(assessment, caller):
            stored = await self.examine(assessment, caller)
            if stored is not None:
                return stored
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if answered.done():
                unheard(outcome)
            else:
                answered.set_result(outcome)

        self.begin(assessment, caller, done)
        outcome = await answered
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def assess(self, request: SubmitIntentRequest, caller: Caller) -> Assessment:
        """The layers that need nobody else. Never raises."""
        (assessment,) = self.assess_all([request], caller)
        return assessment

    def assess_all(self, requests: Sequence[SubmitIntentRequest], caller: Caller) -> list[Assessment]:
        """`assess` for several requests, layer by layer.

        The code and the tables of a layer then stay in the processor's caches: of 32 orders each costs a sixth less.
        """
        pipeline = self._pipeline
        assessments = [Assessment(request, pipeline.read(request)) for request in requests]
        for assessment in assessments:
            if isinstance(assessment.read, Candidate):
                assessment.shape = pipeline.shape(assessment.read)
                assessment.timing = pipeline.timing(assessment.read)
                assessment.admissible = None if assessment.shape else assessment.read.admissible()
        known = [(assessment, assessment.admissible) for assessment in assessments if assessment.admissible is not None]
        for assessment, admissible in known:
            assessment.security = pipeline.security(admissible, caller.principal, assessment.request.request_id)
        for assessment, admissible in known:
            assessment.signature = pipeline.signature(admissible)
        return assessments

    def admit_now(self, assessment: Assessment, caller: Caller) -> bool:
        """Whether the order passes every check as far as memory tells. Its funds are reserved then; `begin` follows."""
        admissible = assessment.admissible
        if admissible is None or assessment.timing or assessment.security or assessment.signature:
            return False
        open_orders = self._open_orders.known(admissible.order.user)
        if open_orders is None:
            return False
        # Other replicas may have accepted as much again since it was read.
        times = 1 if self._open_orders.is_fresh(open_orders) else 2
        if not self._pipeline.passes_now(admissible, open_orders, times):
            return False
        if not self._limiter.count_user_now(admissible.order.user, caller):
            return False
        self._open_orders.enter(admissible)
        return True

    async def examine(self, assessment: Assessment, caller: Caller) -> Acceptance | None:
        """Asks the store and the chain. None: the order passes and its funds are reserved, so `begin` must follow.

        Returns the intent where it is stored already, and raises MeshError with the findings where it is refused.
        """
        admissible = assessment.admissible
        if admissible is None:
            raise refusal(assessment.early)
        try:
            signature = await self._pipeline.settle_signature(admissible, assessment.signature)
        except ChainUnavailable:
            if stored := await self._found_as_signed(assessment, admissible, caller):
                return stored
            raise
        faults = [*assessment.timing, *signature, *assessment.security]
        if is_wallets_no(signature) and (stored := await self._found_as_signed(assessment, admissible, caller)):
            return stored
        if signature or may_not_ask(assessment.security):
            raise refusal(faults)
        if off := self._pipeline.switched_off():
            return await self._found_while_off(assessment, admissible, caller, refusal(off))
        try:
            with self._open_orders.kept(admissible.order.user):
                await self._require_acceptable(admissible, faults)
                return await self._enter(assessment, admissible, caller)
        except MeshError:
            # An order that was accepted is still that intent when its time is over, its funds moved, its chain away,
            # its recipient banned or its user's limit reached.
            stored = await self._acceptor.find_again(admissible, caller, assessment.request)
            if stored is None:
                raise
            return stored

    def begin(self, assessment: Assessment, caller: Caller, done: Done) -> None:
        """Hands an order that passed to the writer; `done` is called after the commit. Raises ResourceExhausted."""
        admissible = _known(assessment)

        def settled(outcome: Outcome) -> None:
            self._leave(assessment, admissible, created=isinstance(outcome, Acceptance) and outcome.created)
            done(outcome)

        try:
            self._acceptor.begin(admissible, caller, assessment.request, settled)
        except MeshError:
            self._leave(assessment, admissible, created=False)
            raise

    async def validate(self, request: SubmitIntentRequest, caller: Caller) -> Verdict:
        """Every check of `submit`, all findings at once, nothing stored. Raises ChainUnavailable."""
        assessment = self.assess(request, caller)
        admissible = assessment.admissible
        if admissible is None:
            return Verdict(assessment.early, assessment.intent_id)
        signature = await self._pipeline.settle_signature(admissible, assessment.signature)
        security = [*signature, *assessment.security]
        reused = await self._acceptor.reused_request_id(admissible, caller, assessment.request)
        is_entitled = not (signature or may_not_ask(security))
        if is_entitled and await self._acceptor.find(admissible) is not None:
            return Verdict(reused, admissible.intent_id)
        # What the user has open is nobody's business who has neither an order of theirs nor a right to look.
        may_see = is_entitled or self._pipeline.may_see(admissible, caller.principal)
        open_orders = await self._open_orders.read(admissible.order.user) if may_see else nothing_open()
        found = [
            *assessment.timing,
            *security,
            *self._pipeline.business(admissible, open_orders),
            *(await self._acceptor.conflicts(admissible) if may_see else ()),
            *reused,
        ]
        try:
            # A wallet that was asked for the signature already says the same there.
            found += [late for late in await self._pipeline.chain(admissible, open_orders) if late not in signature]
        except ChainUnavailable:
            # `submit` would not have got as far.
            if not found:
                raise
        return Verdict(found, admissible.intent_id)

    async def _found_as_signed(
        self, assessment: Assessment, admissible: Admissible, caller: Caller
    ) -> Acceptance | None:
        """The intent, if it is stored with this signature: its wallet agreed then, whatever it says now."""
        if may_not_ask(assessment.security):
            return None
        return await self._acceptor.find_as_signed(admissible, caller, assessment.request)

    async def _found_while_off(
        self, assessment: Assessment, admissible: Admissible, caller: Caller, off: MeshError
    ) -> Acceptance:
        """The intent, if it is stored; a store that does not tell soon is left alone."""
        stored = None
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_FIND_WHILE_OFF_SECONDS):
                stored = await self._acceptor.find_again(admissible, caller, assessment.request)
        if stored is None:
            raise off
        return stored

    async def _require_acceptable(self, admissible: Admissible, faults: Sequence[Finding]) -> None:
        if faults:
            raise refusal(faults)
        # Not from memory: what was open some seconds ago may have ended, and other replicas accept as well.
        open_orders = await self._open_orders.read(admissible.order.user)
        if findings := await self._late_findings(admissible, open_orders):
            raise refusal(findings)

    async def _enter(self, assessment: Assessment, admissible: Admissible, caller: Caller) -> Acceptance | None:
        """Reserves for an intent and counts it for its user. Raises LimitReached, and AlreadyExists DUPLICATE_NONCE.

        Returns the intent where it is stored already, which is no new one, whoever brings it how often.
        """
        self._open_orders.enter(admissible)
        counting = assessment.counting = self._user_counts.hold(admissible, caller)
        try:
            # Services have a large budget apart from the users' own, which is not worth a question for each order.
            asks = self._limiter.counts_bursts(caller)
            stored = await self._find_or_refuse(assessment, admissible, caller) if asks else None
            if stored is None:
                await self._user_counts.count(counting, admissible, caller)
                return None
        except BaseException:
            self._leave(assessment, admissible, created=False)
            raise
        self._leave(assessment, admissible, created=False)
        return stored

    async def _find_or_refuse(
        self, assessment: Assessment, admissible: Admissible, caller: Caller
    ) -> Acceptance | None:
        """The intent, if it is stored. Raises AlreadyExists where the writer would, as often as anybody sends it."""
        stored = await self._acceptor.find_again(admissible, caller, assessment.request)
        if stored is None and (conflicts := await self._acceptor.conflicts(admissible)):
            raise refusal(conflicts)
        return stored

    def _leave(self, assessment: Assessment, admissible: Admissible, *, created: bool) -> None:
        self._open_orders.leave(admissible, created=created)
        if assessment.counting is not None:
            self._user_counts.let_go(assessment.counting)
            assessment.counting = None

    async def _late_findings(self, admissible: Admissible, open_orders: UserOrders) -> list[Finding]:
        """As of the moment at which it returns, so that an order that enters then finds what it was found to have."""
        findings = self._pipeline.business(admissible, open_orders)
        if findings or self._pipeline.chain_now(admissible, open_orders):
            return findings
        # Others of the user may enter while the chain is asked.
        return await self._pipeline.chain(admissible, open_orders) or self._pipeline.business(admissible, open_orders)


@dataclass(slots=True)
class _Counting:
    holders: int = 0
    task: asyncio.Task[None] | None = None


class _UserCounts:
    """Counts an intent for its user once in each budget, however many bring it while it is on its way into the store.

    Otherwise whoever has a signed order of a user could use up what the user may bring, by sending it again and again.
    """

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._counting: dict[_CountingKey, _Counting] = {}

    def hold(self, admissible: Admissible, caller: Caller) -> _CountingKey:
        """`let_go` must follow."""
        key = admissible.intent_id, user_key(Budget.USER_INTENTS, admissible.order.user, caller)
        self._counting.setdefault(key, _Counting()).holders += 1
        return key

    def let_go(self, key: _CountingKey) -> None:
        counting = self._counting[key]
        counting.holders -= 1
        if counting.holders == 0:
            del self._counting[key]

    async def count(self, key: _CountingKey, admissible: Admissible, caller: Caller) -> None:
        """Raises LimitReached, for each who shares the counting."""
        counting = self._counting[key]
        if counting.task is None:
            counting.task = asyncio.create_task(self._limiter.count_user(admissible.order.user, caller))
            # Seen by whoever waits; with nobody there any more, it is a failure of nobody.
            counting.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(counting.task)


def may_not_ask(findings: Sequence[Finding]) -> bool:
    """Whether the caller has no business with the order at all, stored or not."""
    return any(finding.reason == ErrorReason.ERROR_REASON_NOT_ALLOWED for finding in findings)


def is_wallets_no(findings: Sequence[Finding]) -> bool:
    """Whether the contract wallet itself has refused to confirm its signature."""
    return any(finding.reason == ErrorReason.ERROR_REASON_INVALID_EIP1271_SIGNATURE for finding in findings)


def _known(assessment: Assessment) -> Admissible:
    if assessment.admissible is None:
        raise ValueError("the order was refused")
    return assessment.admissible
