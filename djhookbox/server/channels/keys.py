"""Remember the keys of publications for a while, so that none is published twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Seconds for which a key is remembered, and how many keys; the oldest are forgotten first.
KEY_SECONDS = 300.0
MOST_KEYS = 100_000


class Keys(Generic[T]):
    """The results of what was done under a key; a restart forgets them."""

    def __init__(
        self, clock: Callable[[], float], seconds: float = KEY_SECONDS, most: int = MOST_KEYS
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        #: In order of time.
        self._known: dict[tuple[str, str], tuple[float, asyncio.Future[T]]] = {}

    async def once(self, name: str, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work, or return the result of the same work; what failed may be done again.

        Args:
            name: The channel.
            key: The key.
            work: The work.

        """
        self._forget()
        place = (name, key)
        known = self._known.get(place)
        if known is not None:
            return await asyncio.shield(known[1])
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._known[place] = (self._clock(), future)
        try:
            result = await work()
        except BaseException as error:
            del self._known[place]
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # retrieved: nobody may be waiting
            else:
                future.cancel()
            raise
        future.set_result(result)
        return result

    def _forget(self) -> None:
        oldest = self._clock() - self._seconds
        while self._known:
            place, (at, future) = next(iter(self._known.items()))
            if not future.done() or (at >= oldest and len(self._known) < self._most):
                return
            del self._known[place]
