"""What the status service can be told. Times are in seconds."""

from pydantic import Field

from intentmesh.rpc.access import KnownDelegations
from intentmesh.rpc.leases import Limit
from intentmesh.rpc.settings import ServiceSettings
from intentmesh.status.budgets import Limits
from intentmesh.status.room import Bounds

_LIMITS = Limits()
# By one stream, as the proto bounds it.
_MOST_NAMED_AT_ONCE = 1_000


class StatusSettings(ServiceSettings):
    """Environment: INTENTMESH_MAX_STREAMS and so on."""

    postgres_pool_size: int = Field(10, ge=2)
    anonymous_lists: bool = False
    """Callers without a principal may watch intents that they do not name by id. For development only."""
    delegations: KnownDelegations = Field(default_factory=dict)
    """Who may watch which users' intents; as JSON: {"service:shop": ["0x…"]}; "*" is everybody."""

    reads_per_minute: int = Field(_LIMITS.reads.amount, ge=1)
    watches_per_minute: int = Field(_LIMITS.watches.amount, ge=1)
    """Opened, not open: `streams_per_caller` bounds those."""
    # Principals of class `service`.
    service_reads_per_minute: int = Field(7_200_000, ge=1)
    service_watches_per_minute: int = Field(600_000, ge=1)

    max_streams: int = Field(20_000, gt=0)
    """Open at a time, as all of these, on one process."""
    streams_per_caller: int = Field(1_000, ge=1)
    """By principal or else by address: an office or a relay may stand behind one."""
    streams_per_service: int = Field(10_000, ge=1)
    """Of one principal of class `service`. Operators are not counted each."""
    reserved_share: float = Field(0.1, ge=0, lt=1)
    """Of `max_streams`, for services and operators: strangers and users cannot fill a server."""
    operator_share: float = Field(0.1, ge=0, le=1)
    """Of what is reserved, for operators alone."""
    max_watched_ids: int = Field(200_000, ge=_MOST_NAMED_AT_ONCE)
    """Intents that streams name, each counted once for each of them; each takes some 500 bytes. Who may have a share of
    the streams may have the same of these, and anyone as many as one stream can name."""
    heartbeat_seconds: float = Field(10.0, gt=0, lt=15)
    """A silent stream gets a message this often; the protos promise one within 15 s."""
    write_timeout_seconds: float = Field(10.0, gt=0)
    """A reader that takes longer for one message is closed as a slow one."""
    last_word_seconds: float = Field(30.0, gt=0)
    """A reader that does not take even the end of its stream in this time is cut off."""
    stream_age_seconds: float = Field(1800.0, gt=0)
    """Streams are closed as planned after about this long."""
    max_message_events: int = Field(500, gt=0)
    max_message_bytes: int = Field(262_144, gt=0)
    """Both bound what one stream has in hand at a time."""

    poll_seconds: float = Field(1.0, gt=0)
    """How late a watch may hear of an event whose hint was lost."""
    stamp_seconds: float = Field(0.1, gt=0)
    """How late an event may get its feed position when its hint was lost."""
    feed_events_kept: int = Field(20_000, gt=0)
    feed_bytes_kept: int = Field(33_554_432, gt=0)
    idle_histories_kept: int = Field(2_000, ge=0)

    cached_statuses: int = Field(50_000, gt=0)

    def stream_bounds(self) -> Bounds:
        return self._bounds(self.max_streams, self.streams_per_caller, self.streams_per_service)

    def name_bounds(self) -> Bounds:
        def share(streams: int) -> int:
            return max(_MOST_NAMED_AT_ONCE, self.max_watched_ids * streams // self.max_streams)

        return self._bounds(self.max_watched_ids, share(self.streams_per_caller), share(self.streams_per_service))

    def _bounds(self, all_callers: int, each_caller: int, each_service: int) -> Bounds:
        reserved = int(all_callers * self.reserved_share)
        return Bounds(
            all_callers=all_callers,
            each_caller=each_caller,
            each_service=each_service,
            reserved=reserved,
            reserved_for_operators=int(reserved * self.operator_share),
        )

    def limits(self) -> Limits:
        return Limits(Limit(self.reads_per_minute, 60), Limit(self.watches_per_minute, 60))

    def service_limits(self) -> Limits:
        return Limits(Limit(self.service_reads_per_minute, 60), Limit(self.service_watches_per_minute, 60))
