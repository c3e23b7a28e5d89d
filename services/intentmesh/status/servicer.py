"""StatusService: thin handlers that read the request, ask the one who knows, and hand over bytes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from intentmesh.domain.types import parse_intent_id
from intentmesh.rpc.leases import Grant
from intentmesh.rpc.principals import client_address, current_principal
from intentmesh.rpc.rate_limits import metadata_of
from intentmesh.status.access import Access
from intentmesh.status.budgets import Budget, Budgets
from intentmesh.status.feed import Feed
from intentmesh.status.filters import WatchFilter
from intentmesh.status.hub import Hub
from intentmesh.status.statuses import Statuses
from intentmesh.status.streams import Context, Streams
from intentmesh.status.watch_intent import watch_intent
from intentmesh.status.watch_intents import watch_intents
from intentmesh.status.watched import Watched
from intentmesh.v1.status_service_pb2 import GetIntentStatusRequest, WatchIntentRequest, WatchIntentsRequest
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer

# What a request costs that cannot be read.
_BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {"GetIntentStatus": Budget.READS, "WatchIntent": Budget.WATCHES, "WatchIntents": Budget.WATCHES}
)


class StatusServicer(StatusServiceServicer):
    """Answers are ready bytes: the server's interceptor passes them on as they are. The watches write by themselves."""

    def __init__(
        self,
        statuses: Statuses,
        hub: Hub,
        feed: Feed,
        streams: Streams,
        watched: Watched,
        access: Access,
        budgets: Budgets,
    ) -> None:
        self._statuses = statuses
        self._hub = hub
        self._feed = feed
        self._streams = streams
        self._watched = watched
        self._access = access
        self._budgets = budgets

    async def GetIntentStatus(self, request: GetIntentStatusRequest, context: Context) -> Any:
        """See the proto."""
        grant = await self._count(Budget.READS)
        context.set_trailing_metadata(metadata_of(grant))
        answer = await self._statuses.get(parse_intent_id(request.intent_id), request.min_sequence)
        return answer.snapshot.response(answer.source)

    async def WatchIntent(self, request: WatchIntentRequest, context: Context) -> None:  # type: ignore[override]  # the stub knows generators only
        """See the proto."""
        intent_id = parse_intent_id(request.intent_id)
        async with self._streams.open("WatchIntent", context) as stream:
            await self._count(Budget.WATCHES)
            with self._watched.reading((intent_id,)):
                await watch_intent(self._hub, self._streams, stream, intent_id, request.after_sequence, request.end)

    async def WatchIntents(self, request: WatchIntentsRequest, context: Context) -> None:  # type: ignore[override]  # the stub knows generators only
        """See the proto."""
        wanted = WatchFilter.of(request)
        async with self._streams.open("WatchIntents", context) as stream:
            await self._count(Budget.WATCHES)
            self._access.require_watch(wanted, current_principal())
            with self._watched.reading(map(parse_intent_id, wanted.intent_ids)):
                await watch_intents(
                    self._feed, self._streams, stream, wanted, request.resume_token, from_start=request.from_start
                )

    async def count_refused(self, method: str, _context: Context) -> None:
        """A request that its handler never sees costs its caller what any other does. Raises LimitReached."""
        budget = _BUDGETS.get(method)
        if budget is not None:
            await self._count(budget)

    async def _count(self, budget: Budget) -> Grant:
        """A watch is counted once it has found room, so that what an overloaded server refuses uses up nothing.

        Of its budget only refusals tell: when a watch ends, what was left at its beginning is long out of date.
        """
        return await self._budgets.count(budget, current_principal(), client_address())
