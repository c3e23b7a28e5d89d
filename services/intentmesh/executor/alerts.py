"""Critical failures, told to a person: a webhook in the form that Alertmanager takes (POST of a list of alerts).

Telling must never delay execution: `raise_alert` only puts into a bounded queue, and one background task sends.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import structlog

log = structlog.get_logger(__name__)

_QUEUE_LIMIT = 256
_TIMEOUT_SECONDS = 5.0
_TRIES = 3
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Alert:
    """`name` is the alert's kind; `subject` what it is about, mostly an intent id. The two together are one alert."""

    name: str
    subject: str
    summary: str


class Alerts:
    """Queue, deduplication and sending. `clock` gives Unix seconds."""

    def __init__(self, url: str, repeat_seconds: float, clock: Callable[[], float]) -> None:
        self._url = url
        self._repeat_seconds = repeat_seconds
        self._clock = clock
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(_QUEUE_LIMIT)
        self._told_at: dict[tuple[str, str], float] = {}

    def raise_alert(self, alert: Alert) -> None:
        """Tell it, unless it was told within the repeat time. Returns at once, never raises."""
        now = self._clock()
        key = (alert.name, alert.subject)
        if now - self._told_at.get(key, -self._repeat_seconds) < self._repeat_seconds:
            return
        self._remember(key, now)
        log.critical("critical_failure", alert=alert.name, subject=alert.subject, summary=alert.summary)
        if not self._url:
            return
        try:
            self._queue.put_nowait(alert)
        except asyncio.QueueFull:
            log.warning("alert_dropped", alert=alert.name, subject=alert.subject)

    async def send_forever(self) -> None:
        """The background task. A receiver that does not answer loses the alert after some tries; the log keeps it."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)) as session:
            while True:
                await self._send(session, await self._queue.get())

    async def _send(self, session: aiohttp.ClientSession, alert: Alert) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with session.post(self._url, json=[_payload(alert, self._clock())]) as response:
                    response.raise_for_status()
                    return
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("alert_not_sent", alert=alert.name, attempt=attempt, error=type(error).__name__)
                await asyncio.sleep(attempt)

    def _remember(self, key: tuple[str, str], now: float) -> None:
        # The newest last; of too many the oldest are forgotten, and told again before their time.
        self._told_at.pop(key, None)
        self._told_at[key] = now
        if len(self._told_at) > _MOST_REMEMBERED:
            del self._told_at[next(iter(self._told_at))]


def _payload(alert: Alert, now: float) -> dict[str, object]:
    return {
        "labels": {"alertname": alert.name, "severity": "critical", "service": "executor", "subject": alert.subject},
        "annotations": {"summary": alert.summary},
        "startsAt": datetime.fromtimestamp(now, UTC).isoformat(),
    }
