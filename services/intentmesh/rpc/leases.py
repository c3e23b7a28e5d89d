"""Tokens of fixed windows, counted in Valkey for all replicas and leased by each in portions.

A window begins with the first token taken from it. Keys with a small limit take their tokens one by one, so that the
limit is exact over all replicas; keys with a large one lease a thousandth of it at a time, so that Valkey is asked once
for many tokens. What a replica has leased and not used is lost at the end of the window: at most that thousandth.

Valkey away: each replica counts alone, going on from what it has used in the window itself. It then grants at most the
whole limit per window, so n replicas grant at most n times the limit. What it counted alone is reported when Valkey is
back, if the window still runs.

Valkey back without its data, in the middle of a window: each replica tells what was counted for it in that window, and
the shared count is never below that. Again n replicas grant at most n times the limit. In the last two seconds of a
window it is taken for its end.

The library `limits` does not fit: it asks the server anew for each decision, which costs as much as the rest of an
accept, has no leases, and nothing to go on with when the server is away. Ours are one script and the leases' book.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis

from intentmesh.rpc.metrics import RATE_LIMITER_FALLBACKS, RATE_LIMITER_LEASES

log = structlog.get_logger()

# Up to this limit every token is asked for.
EXACT_LIMIT = 10_000
_PORTIONS = 1_000
# How long Valkey is left alone after it failed.
FALLBACK_SECONDS = 5.0
TIMEOUT_SECONDS = 1.0
_KEYS = 100_000
_KEYS_AT_A_TIME = 256
_PREFIX = "intentmesh:limits:"

# For each key: limit, milliseconds for which a window lasts that begins now, tokens wanted, tokens used without asking,
# tokens that were counted for the asking process in the running window. Answers for each key: tokens granted, tokens
# used by all, milliseconds until the window ends.
_SCRIPT = """
local answers = {}
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3])
  local wanted, owed, known = tonumber(ARGV[5 * i - 2]), tonumber(ARGV[5 * i - 1]), tonumber(ARGV[5 * i])
  local counted = tonumber(redis.call('GET', key) or '0')
  local used = math.max(counted, known) + owed
  local granted = math.max(0, math.min(wanted, limit - used))
  used = used + granted
  if used > counted then
    redis.call('INCRBY', key, used - counted)
  end
  local left = redis.call('PTTL', key)
  if left < 0 then
    if used > 0 then redis.call('PEXPIRE', key, window) end
    left = window
  end
  answers[#answers + 1] = granted
  answers[#answers + 1] = used
  answers[#answers + 1] = left
end
return answers
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in `seconds`."""

    amount: int
    seconds: int

    @property
    def portion(self) -> int:
        """Tokens leased at a time."""
        return 1 if self.amount <= EXACT_LIMIT else self.amount // _PORTIONS


@dataclass(slots=True)
class Grant:
    """What came of taking tokens. `reset_seconds`: until the window ends."""

    granted: int
    limit: Limit
    remaining: int
    reset_seconds: float


@dataclass(slots=True)
class _Window:
    """What this process knows of a key. Times are of the monotonic clock, in seconds."""

    resets_at: float
    # Leased and not used yet.
    tokens: int = 0
    used_here: int = 0
    # Used while Valkey was away.
    owed: int = 0
    # Left for all replicas when Valkey was last asked.
    left: int = 0
    exhausted: bool = False

    @property
    def counted(self) -> int:
        """Of what this process has taken, what Valkey was told of."""
        return max(0, self.used_here + self.tokens - self.owed)


@dataclass(slots=True)
class _Asked:
    """Callers of one key that wait for Valkey."""

    limit: Limit
    wanted: int
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class LeasedTokens:
    """One for a process. Never raises for trouble with Valkey."""

    def __init__(self, valkey: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._valkey = valkey
        self._script = valkey.register_script(_SCRIPT)
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._asked: dict[str, _Asked] = {}
        self._asking: asyncio.Task[None] | None = None
        self._rests_until = -math.inf

    def take_now(self, key: str, limit: Limit, wanted: int = 1) -> Grant | None:
        """All that is wanted, or a refusal, where this process knows enough; None where Valkey has to be asked."""
        window = self._windows.get(key)
        if window is None or self._clock() >= window.resets_at:
            return None
        if window.tokens >= wanted:
            return self._use(window, limit, wanted)
        if window.exhausted and window.tokens == 0:
            return self._use(window, limit, 0)
        return None

    def use_one_now(self, key: str) -> bool:
        """Uses one leased token; False: there is none at hand, and nothing was used."""
        window = self._windows.get(key)
        if window is None or window.tokens < 1 or self._clock() >= window.resets_at:
            return False
        window.tokens -= 1
        window.used_here += 1
        return True

    async def take(self, key: str, limit: Limit, wanted: int = 1) -> Grant:
        """As many of the wanted tokens as the window has left."""
        while True:
            grant = self.take_now(key, limit, wanted)
            if grant is not None:
                return grant
            if self._clock() >= self._rests_until:
                await self._ask(key, limit, wanted)
            if self._clock() < self._rests_until:
                return self._take_alone(key, limit, wanted)
            window = self._window(key, limit)
            # Somebody else may have been quicker with what was leased; as long as there is more, it is asked for.
            if window.tokens >= wanted or window.exhausted:
                return self._use(window, limit, min(wanted, window.tokens))

    def reconsider(self) -> None:
        """After a change of limits: what was refused may be granted now."""
        for window in self._windows.values():
            window.exhausted = False

    def _use(self, window: _Window, limit: Limit, count: int) -> Grant:
        window.tokens -= count
        window.used_here += count
        return Grant(count, limit, window.left + window.tokens, max(0.0, window.resets_at - self._clock()))

    def _take_alone(self, key: str, limit: Limit, wanted: int) -> Grant:
        RATE_LIMITER_FALLBACKS.inc()
        window = self._window(key, limit)
        alone = min(wanted - min(wanted, window.tokens), max(0, limit.amount - window.used_here - window.tokens))
        window.owed += alone
        window.tokens += alone
        window.left = max(0, limit.amount - window.used_here - window.tokens)
        return self._use(window, limit, min(wanted, window.tokens))

    def _window(self, key: str, limit: Limit) -> _Window:
        """The running window; a new one where there is none."""
        window = self._windows.get(key)
        if window is None or self._clock() >= window.resets_at:
            window = _Window(self._clock() + limit.seconds)
            self._windows.pop(key, None)
            self._windows[key] = window
            while len(self._windows) > _KEYS:
                del self._windows[next(iter(self._windows))]
        return window

    async def _ask(self, key: str, limit: Limit, wanted: int) -> None:
        """Those who ask at the same time share one call."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked(limit, 0)
        asked.wanted += wanted
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_for_all(), name="rate limit leases")
        await asyncio.shield(asked.done)

    async def _ask_for_all(self) -> None:
        try:
            while self._asked:
                keys = list(self._asked)[:_KEYS_AT_A_TIME]
                asked = {key: self._asked.pop(key) for key in keys}
                try:
                    await self._ask_valkey(asked)
                except Exception as error:  # noqa: BLE001 (whatever it is, those who wait can count alone)
                    self._rests_until = self._clock() + FALLBACK_SECONDS
                    log.warning("rate_limiter_degraded", error=repr(error), seconds=FALLBACK_SECONDS)
                finally:
                    for waiting in asked.values():
                        waiting.done.set_result(None)
        finally:
            self._asking = None

    async def _ask_valkey(self, asked: dict[str, _Asked]) -> None:
        windows = {key: self._window(key, waiting.limit) for key, waiting in asked.items()}
        owed = {key: window.owed for key, window in windows.items()}
        now = self._clock()
        # Those may be over in Valkey when the question arrives: its last answer and this question take their time.
        ending = {key for key, window in windows.items() if window.resets_at - now <= 2 * TIMEOUT_SECONDS}
        arguments: list[int] = []
        for key, waiting in asked.items():
            limit, window = waiting.limit, windows[key]
            lasts, counted = (limit.seconds, 0) if key in ending else (window.resets_at - now, window.counted)
            arguments += (limit.amount, math.ceil(lasts * 1000), max(waiting.wanted, limit.portion), owed[key], counted)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answers = await self._script(keys=[_PREFIX + key for key in asked], args=arguments)
        RATE_LIMITER_LEASES.inc()
        for place, (key, window) in enumerate(windows.items()):
            granted, used, left_ms = answers[3 * place : 3 * place + 3]
            resets_at = self._clock() + left_ms / 1000
            if key in ending and resets_at > window.resets_at + TIMEOUT_SECONDS:
                # The next window has begun in Valkey, with what was owed.
                window.used_here = owed[key]
            window.owed -= owed[key]
            window.tokens += granted
            window.left = max(0, asked[key].limit.amount - used)
            window.exhausted = window.left == 0
            window.resets_at = resets_at
