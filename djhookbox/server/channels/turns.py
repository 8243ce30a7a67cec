"""Turns by name, taken when requested and executed in that order.

Unlike a lock, a turn is executed even if its caller stops waiting, and the caller knows
immediately whether a name has turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeVar

from ..tasks import Tasks

T = TypeVar("T")


class Turns:
    """Run work in sequence for each name."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        #: The last turn of each name; a name without an entry is idle.
        self.last: dict[str, asyncio.Future[None]] = {}

    def take(self, names: Collection[str], work: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Run work once all earlier turns of these names are done.

        A turn of several names waits only for earlier turns, so there can be no deadlock.

        Args:
            names: The names that the work concerns.
            work: The work to run; it must not wait for another turn of these names.

        Returns:
            A future for the result. Cancelling the wait does not stop the work.

        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        before = {self.last[name] for name in names if name in self.last}
        task = self._tasks.start(_after(before, work, done))
        for name in names:
            self.last[name] = task
        task.add_done_callback(partial(self._ended, names))
        return done

    def _ended(self, names: Collection[str], task: asyncio.Task[None]) -> None:
        for name in names:
            if self.last.get(name) is task:
                del self.last[name]


async def _after(
    before: Collection[asyncio.Future[None]],
    work: Callable[[], Awaitable[T]],
    done: asyncio.Future[T],
) -> None:
    try:
        if before:
            await asyncio.wait(before)
        result = await work()
    except Exception as error:
        if done.done():
            raise  # so that it is logged: nothing else handles it
        done.set_exception(error)
    except BaseException:
        done.cancel()
        raise
    else:
        if not done.done():
            done.set_result(result)
