"""A share of the event loop: so many orders a turn, whichever stream brings them.

A server takes up one new call a turn of its loop. If every stream did its own slice of work in each turn, sixty busy
streams would make a turn last a fifth of a second, and a call that comes then would wait for many of them.
"""

import asyncio
from collections import deque

# Checked before others get their turn; one takes about a tenth of a millisecond.
ORDERS_A_TURN = 32


class Turns:
    """One for a process. First come, first served."""

    def __init__(self, orders_a_turn: int = ORDERS_A_TURN) -> None:
        self.size = orders_a_turn
        self._left = orders_a_turn
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._ends_soon = False

    async def take(self, count: int) -> None:
        """Returns when it is the turn of so many orders, `size` at most; what is done with them must not wait."""
        if self._left > 0 and not self._waiting:
            self._use(count)
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, mine))
        await mine

    def _use(self, count: int) -> None:
        self._left -= count
        if not self._ends_soon:
            self._ends_soon = True
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """The loop has turned, and seen whoever else had something to do."""
        self._ends_soon = False
        self._left = self.size
        while self._waiting and self._left > 0:
            count, whose = self._waiting.popleft()
            # A stream that was cut meanwhile has cancelled its wait.
            if not whose.done():
                self._use(count)
                whose.set_result(None)
