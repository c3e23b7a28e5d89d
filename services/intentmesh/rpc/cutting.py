"""Ending calls whose clients take nothing.

grpc.aio has no word for it. A status waits in line behind the messages that the client did not take; a handler that is
cancelled leaves its call to the client, who may keep it for as long as the connection stands. The core does cancel a
call, and tells the client by a reset, once nothing refers to it any more. Two tasks do: the handler's, and one of
grpc's own that waits for the client's farewell.
"""

import asyncio
import gc
from collections.abc import Collection
from typing import Any, TypeAlias

Task: TypeAlias = asyncio.Task[Any]

# As grpc.aio names the tasks that wait for a farewell.
_WAITING = "rpc_task"
# Looked at before others get their turn: less than 2 ms.
_AT_A_TIME = 500


async def cut_off(handlers: Collection[Task]) -> int:
    """End the calls of these handlers, which must have let go of what refers to their calls, circles of garbage too.

    Returns how many were found; the others are left as they are, and those that end meanwhile. Looks through all tasks,
    some 50 ms at one go for 20,000 calls and some more in small parts: better seldom, for many at once. The server lets
    go of the call that came last when the next one comes.
    """
    wanted, found = set(handlers), 0
    for count, waiting in enumerate(asyncio.all_tasks(), start=1):
        handler = _handler_of(waiting)
        if handler is not None and handler in wanted and not handler.done():
            waiting.cancel()
            handler.cancel()
            found += 1
        if count % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    return found


def _handler_of(task: Task) -> Task | None:
    """The handler's task that one of grpc's tasks was begun with; None where it is no such task."""
    if task.get_name() != _WAITING:
        return None
    variables = (held for scope in gc.get_referents(task.get_coro()) for held in gc.get_referents(scope))
    return next((held for held in variables if isinstance(held, asyncio.Task)), None)
