"""Turns by name, taken at the moment of asking and in that order.

Unlike a lock, a turn is carried out even if nobody waits for it any more, and whether a name has
any is known at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeVar

from ..tasks import Tasks

T = TypeVar("T")


class Turns:
    """What is done one after the other, for each name."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        #: The last that was taken of each name; one without has nothing going on.
        self.last: dict[str, asyncio.Task[None]] = {}

    def take(self, names: Collection[str], work: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Do something when all that was asked for before with these names is done.

        Whoever waits for two names waits only for what was there before: never in a circle.

        Args:
            names: What it is about.
            work: What is to be done; it must not wait for another turn of these names.

        Returns:
            Its result. To wait for it no longer does not stop the work.

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
    before: Collection[asyncio.Task[None]],
    work: Callable[[], Awaitable[T]],
    done: asyncio.Future[T],
) -> None:
    try:
        if before:
            await asyncio.wait(before)
        result = await work()
    except Exception as error:
        if done.done():
            raise  # to be logged, because nobody else learns of it
        done.set_exception(error)
    except BaseException:
        done.cancel()
        raise
    else:
        if not done.done():
            done.set_result(result)
