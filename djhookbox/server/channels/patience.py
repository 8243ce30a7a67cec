"""Give up waiting for answers after a time, with one timer for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from .outcomes import Unanswered

#: Seconds to wait for an answer.
ANSWER_SECONDS = 5.0


class Patience:
    """Fails futures that are not done in time; the work that they stand for continues."""

    def __init__(self) -> None:
        #: Each with the loop's time at which it fails; all wait equally long.
        self._waiting: deque[tuple[float, asyncio.Future[object]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any]) -> None:
        """Start waiting for a future."""
        self._drop_done()
        loop = future.get_loop()
        due = loop.time() + ANSWER_SECONDS
        self._waiting.append((due, future))
        if self._timer is None:
            self._timer = loop.call_at(due, self._give_up)

    def _drop_done(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()

    def _give_up(self) -> None:
        self._timer = None
        waiting = self._waiting
        self._drop_done()
        while waiting and waiting[0][0] <= waiting[0][1].get_loop().time():
            waiting.popleft()[1].set_exception(Unanswered())
            self._drop_done()
        if waiting:
            due, future = waiting[0]
            self._timer = future.get_loop().call_at(due, self._give_up)
