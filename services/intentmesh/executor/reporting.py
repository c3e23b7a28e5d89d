"""Tells the registry what became of awards, until it has heard of each, or says that it never will."""

from dataclasses import replace

import structlog

from intentmesh.domain.errors import AlreadyExists, FailedPrecondition, InvalidArgument, MeshError, NotFound
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.gateway import Registry
from intentmesh.executor.journal import Journal
from intentmesh.executor.progress import PendingOutcome
from intentmesh.executor.work import Work
from intentmesh.v1.error_pb2 import ErrorReason

log = structlog.get_logger(__name__)

# The same report would be refused again. Missing rights are not among them: they can be given.
_REFUSALS = (InvalidArgument, NotFound, AlreadyExists, FailedPrecondition)


class Reporter:
    """Reports outcomes; what the registry cannot take now waits for the next look."""

    def __init__(self, registry: Registry, journal: Journal, alerts: Alerts) -> None:
        self._registry = registry
        self._journal = journal
        self._alerts = alerts

    async def report(self, work: Work) -> Work:
        """The intent without the outcomes that are settled with the registry. Raises as `Journal.write`."""
        kept = tuple([outcome for outcome in work.progress.outcomes if not await self._is_settled(work, outcome)])
        return await self._journal.write(work, progress=replace(work.progress, outcomes=kept))

    async def _is_settled(self, work: Work, outcome: PendingOutcome) -> bool:
        try:
            await self._registry.report(work.text_id, outcome)
        except _REFUSALS as error:
            # The solver's score lacks it, which a person may mend; the intent has nothing to gain from more tries.
            subject = f"{work.text_id}, award {outcome.award_number}"
            self._alerts.raise_alert(Alert("OutcomeRefused", subject, f"The registry refused it: {error.message}"))
        except MeshError as error:
            log.warning("outcome_not_reported", reason=ErrorReason.Name(error.reason), message=error.message)
            return False
        return True
