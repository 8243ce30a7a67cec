"""When the sessions of connections expire: a heap, so that no connection needs a timer."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

from ..connection import Connection

#: Seconds after the time that the site named: sessions expire by its clock.
MARGIN = 1.0
#: Changes that are not worth an entry, in seconds.
SAME = 1.0
#: Entries that may be left over, in addition to one for each connection.
SPARE = 1000


class Expiries:
    """The connections in the order in which their sessions expire.

    Args:
        clock: Returns the time in seconds since the epoch; it may be set back.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Connection]] = []
        self._count = 0
        self._seen = clock()

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, connection: Connection, seconds: float) -> None:
        """Note in how many seconds the session of a connection expires."""
        if not math.isfinite(seconds):
            return
        at = self._clock() + max(0.0, seconds) + MARGIN
        if connection.expires is not None and abs(connection.expires - at) < SAME:
            return
        connection.expires = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, connection))

    def due(self) -> list[Connection]:
        """Return the connections whose sessions should have expired by now, and forget them."""
        now = self._clock()
        if now < self._seen - SAME:
            self._shift(now - self._seen)
        self._seen = now
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, _count, connection = heapq.heappop(self._heap)
            if self._is_valid(connection, at):
                connection.expires = None
                found.append(connection)
        return found

    def tidy(self, connections: int) -> None:
        """Drop what is left over of connections that have ended, if it is much.

        Args:
            connections: The number of open connections.

        """
        if len(self._heap) > 2 * connections + SPARE:
            self._rebuild(entry for entry in self._heap if self._is_valid(entry[2], entry[0]))

    def _shift(self, seconds: float) -> None:
        """Follow the clock, which was set back."""
        moved = []
        for at, count, connection in self._heap:
            if self._is_valid(connection, at):
                connection.expires = at + seconds
                moved.append((at + seconds, count, connection))
        self._rebuild(moved)

    def _rebuild(self, entries: Iterable[tuple[float, int, Connection]]) -> None:
        self._heap = list(entries)
        heapq.heapify(self._heap)

    @staticmethod
    def _is_valid(connection: Connection, at: float) -> bool:
        return not connection.closed and connection.expires == at
