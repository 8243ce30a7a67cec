"""The clock of Redis, by which all nodes date and expire: their own may differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


class SharedClock:
    """Tells the time in seconds since the epoch as Redis has it, without asking each time.

    Between two readings it continues with the monotonic clock of this machine.

    Args:
        elapsed: Returns seconds that never go back.

    Attributes:
        fallback: Tells the time until there is a reading.

    """

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self.elapsed = elapsed
        self.fallback: Callable[[], float] = time.time
        self._ahead: float | None = None

    def __call__(self) -> float:
        """Return the time."""
        return self.fallback() if self._ahead is None else self.elapsed() + self._ahead

    def read(self, told: Sequence[bytes], asked: float) -> None:
        """Take a reading.

        Args:
            told: The answer to TIME: seconds, and microseconds.
            asked: When it was asked for, by `elapsed`.

        """
        seconds = int(told[0]) + int(told[1]) / 1e6
        # Redis read its clock at some time in between, so that a short round trip is exact and a
        # long one does not make worse what is known.
        least, most = seconds - self.elapsed(), seconds - asked
        ahead = (least + most) / 2 if self._ahead is None else self._ahead
        self._ahead = min(max(ahead, least), most)
