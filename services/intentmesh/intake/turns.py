"""A share of the event loop: so many orders a turn, whichever stream brings them.

A server takes up one new call a turn of its loop, and a call goes on by several turns more. So turns are short while
calls are served beside streams: of 32 orders each, sixty calls a second would queue for a second behind eight busy
streams; of 8, one takes a fiftieth of a second. While there are streams only, turns are long, since the code and the
tables of each check then stay in the processor's caches.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Checked before others get their turn; one takes about a tenth of a millisecond.
SHORT_TURN = 8
LONG_TURN = 64
# Where one call was, the next is likely: it shall not have to wait for a long turn first.
QUIET_SECONDS = 0.25


class Turns:
    """One for a process. First come, first served."""

    def __init__(
        self, short: int = SHORT_TURN, long: int = LONG_TURN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._short = short
        self._long = long
        self._clock = clock
        self._calls = 0
        self._last_call_at = -QUIET_SECONDS
        self._left = long
        self._waiting: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._ends_soon = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call is being served, which wants its turns as well."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._last_call_at = self._clock()

    def begun(self) -> None:
        """A stream was taken up. Where one is begun others are likely to wait, each of them for a turn of the loop."""
        self._last_call_at = self._clock()

    async def take(self, wanted: int) -> int:
        """Waits for a turn, and returns how many of the orders `wanted` may be worked on in it, one at least.

        What is done with them must not wait.
        """
        if self._left > 0 and not self._waiting:
            return self._use(wanted)
        mine: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, mine))
        return await mine

    @property
    def _size(self) -> int:
        is_quiet = self._calls == 0 and self._clock() >= self._last_call_at + QUIET_SECONDS
        return self._long if is_quiet else self._short

    def _use(self, wanted: int) -> int:
        count = min(wanted, self._size)
        self._left -= count
        if not self._ends_soon:
            self._ends_soon = True
            asyncio.get_running_loop().call_soon(self._end)
        return count

    def _end(self) -> None:
        """The loop has turned, and seen whoever else had something to do."""
        self._ends_soon = False
        self._left = self._size
        while self._waiting and self._left > 0:
            wanted, whose = self._waiting.popleft()
            # A stream that was cut meanwhile has cancelled its wait.
            if not whose.done():
                whose.set_result(self._use(wanted))
