"""Measure how often an event happens, without storing each time."""

from __future__ import annotations

import math

#: Seconds after which past events count for about a third.
FADING = 10.0


class Rate:
    """A moving average of the number of events per second."""

    __slots__ = ("_at", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float) -> None:
        """Record one event."""
        self._value = self.per_second(now) + 1 / FADING
        self._at = now

    def per_second(self, now: float) -> float:
        """Return the current average."""
        # A clock that was set back must not make a quiet channel look busy.
        return self._value * math.exp(min(0.0, self._at - now) / FADING)
