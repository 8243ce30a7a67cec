"""How often something happens, without keeping when each time was."""

from __future__ import annotations

import math

#: Seconds over which the past fades to about a third.
FADING = 10.0


class Rate:
    """A moving average of how many times a second something happens."""

    __slots__ = ("_at", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float) -> None:
        """Note that it has happened."""
        self._value = self.per_second(now) + 1 / FADING
        self._at = now

    def per_second(self, now: float) -> float:
        """Return the average as of now."""
        # A clock that was set back must not make a quiet channel look busy.
        return self._value * math.exp(min(0.0, self._at - now) / FADING)
