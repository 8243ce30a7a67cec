"""The time of a test, which can be moved forward."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from django.core import signing
from django.utils import timezone


class _Time:
    """Stands in for the module `time` where Django checks the age of a signature."""

    def __init__(self, clock: Clock) -> None:
        self.time = clock.time


class Clock:
    """The time, plus what the test has added."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the time forward.

        Raises:
            ValueError: The number is negative.

        """
        if seconds < 0:
            raise ValueError("Time only moves forward.")
        self._ahead += seconds

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let Django use this time for `timezone.now()` and signatures: sessions and tokens."""
        real_now = timezone.now

        def now() -> datetime.datetime:
            return real_now() + datetime.timedelta(seconds=self._ahead)

        with ExitStack() as patches:
            patches.enter_context(mock.patch.object(timezone, "now", now))
            patches.enter_context(mock.patch.object(signing, "time", _Time(self)))
            yield
