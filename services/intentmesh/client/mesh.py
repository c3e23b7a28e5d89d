"""One object for all a user of the mesh does."""

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Self

from intentmesh.client.retry import RetryPolicy, call_with_retry
from intentmesh.client.watching import WatchPolicy, watch_all, watch_intent
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.principals import Principal
from intentmesh.v1 import intake_service_pb2 as intake
from intentmesh.v1 import solver_registry_service_pb2 as registry
from intentmesh.v1 import status_service_pb2 as status
from intentmesh.v1.auction_pb2 import Quote
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceStub
from intentmesh.v1.intent_pb2 import Intent, IntentStatus, IntentType
from intentmesh.v1.order_pb2 import Order
from intentmesh.v1.solver_registry_service_pb2_grpc import SolverRegistryServiceStub
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub

DEFAULT_TIMEOUT_SECONDS = 15.0


class MeshClient:
    """Calls the mesh through its gateway, or its services each by their own target. Every method raises MeshError.

    All calls have a deadline (`timeout_seconds`, retries included) and are repeated on UNAVAILABLE: each has one
    effect however often it is sent. Use as an asynchronous context manager, or call `close`.
    """

    def __init__(
        self,
        target: str,
        *,
        intake_target: str = "",
        status_target: str = "",
        registry_target: str = "",
        principal: Principal | None = None,
        internal_token: str = "",
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retry: RetryPolicy | None = None,
        watch: WatchPolicy | None = None,
    ) -> None:
        wanted = (intake_target or target, status_target or target, registry_target or target)
        self._channels = {
            each: open_channel(each, principal=principal, internal_token=internal_token)
            for each in dict.fromkeys(wanted)
        }
        self._intake = IntakeServiceStub(self._channels[wanted[0]])
        self._status = StatusServiceStub(self._channels[wanted[1]])
        self._registry = SolverRegistryServiceStub(self._channels[wanted[2]])
        self._timeout = timeout_seconds
        self._retry = retry or RetryPolicy()
        self._watch = watch or WatchPolicy()

    async def submit(
        self, order: Order, signature: bytes, intent_type: "IntentType.ValueType", *, request_id: str = ""
    ) -> intake.SubmitIntentResponse:
        """Hand in a signed order. Submitting the same order again returns the same intent."""
        request = intake.SubmitIntentRequest(order=order, signature=signature, type=intent_type, request_id=request_id)
        response: intake.SubmitIntentResponse = await self._call(self._intake.SubmitIntent, request)
        return response

    async def validate(
        self, order: Order, signature: bytes, intent_type: "IntentType.ValueType"
    ) -> intake.ValidateIntentResponse:
        """All that `submit` would refuse, at once; nothing is stored."""
        intent = intake.SubmitIntentRequest(order=order, signature=signature, type=intent_type)
        request = intake.ValidateIntentRequest(intent=intent)
        response: intake.ValidateIntentResponse = await self._call(self._intake.ValidateIntent, request)
        return response

    async def cancel(self, intent_id: str, signature: bytes, valid_until: int) -> intake.CancelIntentResponse:
        """Withdraw an intent; `signature` is the user's over CancelIntent, `valid_until` in Unix seconds."""
        request = intake.CancelIntentRequest(intent_id=intent_id, signature=signature, valid_until=valid_until)
        response: intake.CancelIntentResponse = await self._call(self._intake.CancelIntent, request)
        return response

    async def get_intent(self, intent_id: str) -> Intent:
        """The whole intent."""
        response = await self._call(self._intake.GetIntent, intake.GetIntentRequest(intent_id=intent_id))
        intent: Intent = response.intent
        return intent

    async def list_intents(
        self,
        user: str = "",
        *,
        statuses: "Sequence[IntentStatus.ValueType]" = (),
        types: "Sequence[IntentType.ValueType]" = (),
        transaction_hash: str = "",
        page_size: int = 0,
    ) -> AsyncGenerator[Intent, None]:
        """All matching intents, newest first, page by page as they are read."""
        request = intake.ListIntentsRequest(
            user=user, statuses=statuses, types=types, transaction_hash=transaction_hash, page_size=page_size
        )
        while True:
            page: intake.ListIntentsResponse = await self._call(self._intake.ListIntents, request)
            for intent in page.intents:
                yield intent
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_status(self, intent_id: str, *, min_sequence: int = 0) -> status.GetIntentStatusResponse:
        """The status, never older than `min_sequence`."""
        request = status.GetIntentStatusRequest(intent_id=intent_id, min_sequence=min_sequence)
        response: status.GetIntentStatusResponse = await self._call(self._status.GetIntentStatus, request)
        return response

    def watch(
        self,
        intent_id: str,
        after: int = 0,
        end: "status.WatchEnd.ValueType" = status.WatchEnd.WATCH_END_TERMINAL,
    ) -> AsyncGenerator[IntentEvent, None]:
        """Events of one intent after sequence `after`, each once and in order; resumes by itself.

        `end` says when all has been told.
        """
        return watch_intent(self._status, self._watch, intent_id, after, end)

    def watch_all(
        self, request: status.WatchIntentsRequest | None = None, token: str = ""
    ) -> AsyncGenerator[status.WatchIntentsResponse, None]:
        """Messages about all matching intents; keep a message's token to go on right after it, in another process too.

        A message without events is a bookmark.
        """
        chosen = status.WatchIntentsRequest()
        chosen.CopyFrom(request or chosen)
        chosen.resume_token = token or chosen.resume_token
        return watch_all(self._status, self._watch, chosen)

    async def quotes(self, draft: Order, *, min_quotes: int = 0) -> list[Quote]:
        """Offers for an order that nobody has signed yet, best first."""
        request = registry.RequestQuotesRequest(draft=draft, min_quotes=min_quotes)
        response = await self._call(self._registry.RequestQuotes, request)
        return list(response.quotes)

    async def solvers(self) -> list[registry.Solver]:
        """All registered solvers."""
        found: list[registry.Solver] = []
        request = registry.ListSolversRequest()
        while True:
            page: registry.ListSolversResponse = await self._call(self._registry.ListSolvers, request)
            found += page.solvers
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def close(self) -> None:
        """Close all connections; watches end."""
        for channel in self._channels.values():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Any, request: Any) -> Any:
        return await call_with_retry(self._retry, self._timeout, lambda left: method(request, timeout=left))
