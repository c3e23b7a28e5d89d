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


def cut_off(handlers: Collection[Task]) -> int:
    """End the calls of these handlers, which must have let go of what refers to their calls, circles of garbage too.

    Returns how many were found; the others are left as they are. Looks through all tasks, so better for many at once.
    The server lets go of the call that came last when the next one comes.
    """
    wanted = set(handlers)
    found = [(waiting, handler) for waiting in asyncio.all_tasks() if (handler := _handler_of(waiting)) in wanted]
    for waiting, handler in found:
        waiting.cancel()
        if handler is not None:
            handler.cancel()
    return len(found)


def _handler_of(task: Task) -> Task | None:
    """The handler's task that one of grpc's tasks was begun with; None where it is no such task."""
    if task.get_name() != _WAITING:
        return None
    variables = (held for scope in gc.get_referents(task.get_coro()) for held in gc.get_referents(scope))
    return next((held for held in variables if isinstance(held, asyncio.Task)), None)
