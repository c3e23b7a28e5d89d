"""The one place where the status service's parts are wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import grpc

from intentmesh.rpc import server
from intentmesh.rpc.access import delegations_of
from intentmesh.rpc.leases import LeasedTokens
from intentmesh.rpc.server import Service
from intentmesh.rpc.settings import SettingsError
from intentmesh.rpc.valkey import open_valkey
from intentmesh.status import metrics
from intentmesh.status.access import Access
from intentmesh.status.budgets import Budgets
from intentmesh.status.feed import Feed
from intentmesh.status.hearing import Hearing
from intentmesh.status.hub import Hub
from intentmesh.status.memory_cache import MemoryCache
from intentmesh.status.room import Room
from intentmesh.status.servicer import StatusServicer
from intentmesh.status.settings import StatusSettings
from intentmesh.status.shared_cache import SharedCache
from intentmesh.status.stamping import FEED_CHANNEL, Stamper
from intentmesh.status.statuses import Statuses
from intentmesh.status.streams import StreamLimits, Streams
from intentmesh.status.watched import Watched
from intentmesh.store.hints import HintSubscriber
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.v1.status_service_pb2_grpc import add_StatusServiceServicer_to_server

NAME = "status"
SERVICE = "intentmesh.v1.StatusService"


@asynccontextmanager
async def build(settings: StatusSettings) -> AsyncIterator[Service]:
    """The status service, connected. Raises SettingsError."""
    if not settings.postgres_dsn or not settings.valkey_url:
        raise SettingsError("postgres_dsn and valkey_url: the status service needs both")
    metrics.start_at_zero()
    await migrate(settings.postgres_dsn)
    async with (
        await open_pool(settings.postgres_dsn, max_size=settings.postgres_pool_size, name=NAME) as pool,
        open_valkey(settings.valkey_url) as valkey,
    ):
        hub = Hub(pool, idle_kept=settings.idle_histories_kept, poll_seconds=settings.poll_seconds)
        feed = Feed(
            pool,
            max_events=settings.feed_events_kept,
            max_bytes=settings.feed_bytes_kept,
            poll_seconds=settings.poll_seconds,
        )
        await feed.open()
        stamper = Stamper(pool, valkey, feed.look, interval_seconds=settings.stamp_seconds)
        memory, shared = MemoryCache(settings.cached_statuses), SharedCache(valkey)
        hearing = Hearing(
            HintSubscriber(valkey),
            HintSubscriber(valkey, FEED_CHANNEL),
            hub=hub,
            feed=feed,
            stamper=stamper,
            memory=memory,
            shared=shared,
        )
        streams = Streams(_limits(settings), Room(settings.stream_bounds()), Random())  # noqa: S311 - spreads reconnects, guards nothing
        watched = Watched(pool, Room(settings.name_bounds(), "the intents that this stream names"))
        access = Access(anonymous_lists=settings.anonymous_lists, delegations=delegations_of(settings.delegations))
        budgets = Budgets(LeasedTokens(valkey), settings.limits(), settings.service_limits())
        servicer = StatusServicer(Statuses(pool, memory, shared), hub, feed, streams, watched, access, budgets)

        def add(target: grpc.aio.Server) -> None:
            add_StatusServiceServicer_to_server(servicer, target)

        async def store_answers() -> None:
            await pool.fetchval("SELECT 1")

        yield Service(
            name=NAME,
            add=add,
            service_names=(SERVICE,),
            background=(
                hearing.listen_to_events,
                hearing.listen_to_feed,
                hub.heal,
                feed.follow,
                stamper.run,
                stamper.measure,
                shared.write_behind,
                watched.keep_marked,
                streams.cut_off_stalled,
            ),
            checks={"store": store_answers},
            drain=(streams.close_all,),
            count_refused=servicer.count_refused,
        )


def _limits(settings: StatusSettings) -> StreamLimits:
    return StreamLimits(
        heartbeat=settings.heartbeat_seconds,
        write_timeout=settings.write_timeout_seconds,
        last_word=settings.last_word_seconds,
        age=settings.stream_age_seconds,
        message_events=settings.max_message_events,
        message_bytes=settings.max_message_bytes,
    )


def main() -> None:
    """Entry of the process: `intentmesh serve status`."""
    server.main(NAME, StatusSettings, build)
