"""Background tasks with an owner: each is awaited or cancelled at the end, and none is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TypeVar

logger = logging.getLogger("djhookbox.server")

T = TypeVar("T")

#: Members of a collection to look at before yielding to other tasks; each may start one of its own.
TURN = 200


async def within(
    seconds: float, work: Awaitable[T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Wait for something, but no longer than this many seconds.

    `asyncio.wait_for` swallows a cancellation on Python 3.10 and 3.11 if the work ends in the
    same turn, and waits without limit for work that does not respond to cancellation. This
    function does neither.

    Args:
        seconds: The timeout.
        work: The work, which is cancelled on a timeout or if the caller is cancelled.
        undo: Called with the result if the work completes after the caller has stopped waiting.

    Raises:
        asyncio.TimeoutError: If the work takes longer.

    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
    except asyncio.CancelledError:
        _abandon(task, undo)
        raise
    if not done:
        _abandon(task, undo)
        raise asyncio.TimeoutError
    return task.result()


def _abandon(task: asyncio.Future[T], undo: Callable[[T], object] | None) -> None:
    def ended(task: asyncio.Future[T]) -> None:
        # Retrieve the exception to keep asyncio from logging it: nobody waits for it.
        if not task.cancelled() and task.exception() is None and undo is not None:
            undo(task.result())

    task.add_done_callback(ended)
    task.cancel()


async def in_turns(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """Yield what is in a large collection now, in parts between which other tasks run.

    Something may have been removed from the collection by the time that its part is yielded.
    """
    found = list(items)
    for start in range(0, len(found), TURN):
        if start:
            await asyncio.sleep(0)
        yield found[start : start + TURN]


class Tasks:
    """Background tasks that nobody waits for until the server stops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, None, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background; its failure is logged as a bug."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self, seconds: float) -> None:
        """Give the running tasks this many seconds to finish, then cancel them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=max(0.0, seconds))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A background task failed", exc_info=error)
