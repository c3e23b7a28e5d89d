"""Metrics of the status service. Labels are bounded: two methods, three bounds, cache levels, reasons of the protos."""

from prometheus_client import Counter, Gauge, Histogram

# What a stream was refused for: all places are taken, all but those reserved for others, all that its caller may have.
FULL = ("SERVER", "RESERVE", "CALLER")
METHODS = ("WatchIntent", "WatchIntents")
CLOSES = ("ENDED", "CLIENT_GONE", "SLOW_READER", "STREAM_CLOSED", "OVERLOADED", "RATE_LIMITED", "OTHER")

OPEN_STREAMS = Gauge("status_open_streams", "Streams whose calls have not ended", ["method"])
STREAM_CLOSES = Counter("status_stream_closes_total", "Streams closed by reason", ["method", "reason"])
REFUSED_STREAMS = Counter(
    "status_refused_streams_total", "Streams refused for want of room, by what was full", ["full"]
)
CUT_OFF_STREAMS = Counter("status_cut_off_streams_total", "Calls ended by force: not even the last word was taken")
EVENTS_SENT = Counter("status_events_sent_total", "Events written to streams", ["method"])
REPLAYED_EVENTS = Counter("status_replayed_events_total", "Events read from the store for one reader", ["method"])
REFUSED_TOKENS = Counter("status_refused_tokens_total", "Resume tokens refused", ["reason"])
GAPS = Counter("status_gaps_total", "Events that were found in the store, not hinted")
EVENT_DELAY_SECONDS = Histogram(
    "status_event_delay_seconds",
    "From an event's time to its arrival at this replica",
    ["way"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
FEED_BACKLOG_EVENTS = Gauge("status_feed_backlog_events", "Events that have no feed position yet")
FEED_BACKLOG_SECONDS = Gauge("status_feed_backlog_seconds", "Age of the oldest event without a feed position")
STATUS_READS = Counter("status_reads_total", "GetIntentStatus by the level that answered", ["source"])


def start_at_zero() -> None:
    """Register the series before the first call: a rate over a series that appears later misses its start."""
    for method in METHODS:
        OPEN_STREAMS.labels(method)
        EVENTS_SENT.labels(method)
        REPLAYED_EVENTS.labels(method)
        for reason in CLOSES:
            STREAM_CLOSES.labels(method, reason)
    for full in FULL:
        REFUSED_STREAMS.labels(full)
    for source in ("MEMORY", "VALKEY", "STORE", "UNKNOWN"):
        STATUS_READS.labels(source)
    for reason in ("INVALID_RESUME_TOKEN", "FILTER_CHANGED", "EPOCH_CHANGED", "POSITION_TOO_OLD"):
        REFUSED_TOKENS.labels(reason)
    for way in ("hint", "feed"):
        EVENT_DELAY_SECONDS.labels(way)
