"""Keep the garbage collector from stopping the process while it is busy.

A full collection looks at every object: with 20,000 connections, it takes more than 150 ms. Objects
that stay for long, as those of connections do, are therefore exempted from collections ("frozen")
when there are many new ones. Once nothing happens, everything is collected once.
"""

from __future__ import annotations

import gc

#: New objects after which these are collected, and how many such collections precede one of older
#: objects. With Python's defaults, a process that publishes through Redis spent a seventh of its
#: time on objects that were still in use, and each client that arrives leaves dozens that stay.
THRESHOLDS = (10_000, 10, 100)
#: Connections by which the server has grown before their objects are frozen.
GROWTH = 500
#: Share by which the number of connections has changed before everything is collected again.
CHANGE = 0.25
#: Seconds in which nothing has happened before everything is collected.
IDLE_SECONDS = 10.0
#: Minimum number of seconds between two such collections.
PAUSE_SECONDS = 600.0


class Collecting:
    """Decide once a second whether to freeze or to collect."""

    def __init__(self) -> None:
        self._frozen_at = 0
        self._collected_at = 0
        #: What had happened at the last look that something had, and when that was.
        self._activity = -1
        self._active = 0.0
        self._collected = float("-inf")
        self._thresholds: tuple[int, int, int] | None = None

    def start(self) -> None:
        """Collect young objects less often, until stopped."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)

    def look(self, now: float, connections: int, activity: int) -> None:
        """Freeze after growth; collect when idle.

        Args:
            now: A time in seconds.
            connections: The number of connections.
            activity: A number that changes when anything happens.

        """
        if activity != self._activity:
            self._activity, self._active = activity, now
        if connections >= self._frozen_at + GROWTH:
            gc.freeze()
            self._frozen_at = connections
            return
        has_changed = abs(connections - self._collected_at) > CHANGE * self._collected_at
        is_idle = now - self._active >= IDLE_SECONDS
        if self._frozen_at and has_changed and is_idle and now - self._collected >= PAUSE_SECONDS:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._frozen_at = self._collected_at = connections
            self._collected = now

    def stop(self) -> None:
        """Let everything be collected again as usual."""
        if self._thresholds is not None:
            gc.set_threshold(*self._thresholds)
        if self._frozen_at:
            gc.unfreeze()
