"""Counters, and the rates of the last ten minutes."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

#: Number of seconds that the samples cover, at one sample per second.
WINDOW = 600
#: Number of seconds that each point of a series covers.
STEP = 10


class Metrics:
    """Counters since the start of the server."""

    def __init__(self, now: float) -> None:
        self.started = now
        self.messages_in = 0
        self.messages_out = 0
        self.connections_total = 0
        self.refused_total = 0
        self.dropped_slow = 0
        self.webhooks_total = 0
        self.webhooks_failed = 0
        self.events_dropped = 0
        self.webhook_seconds: deque[float] = deque(maxlen=1000)
        self._samples: deque[tuple[float, int, int]] = deque([(now, 0, 0)], maxlen=WINDOW)

    def sample(self, now: float) -> None:
        """Record the counters; called once a second."""
        self._samples.append((now, self.messages_in, self.messages_out))

    def rates(self, seconds: int = 10) -> tuple[float, float]:
        """Return messages in and out per second over the latest seconds."""
        samples = list(self._samples)[-(seconds + 1) :]
        (begin, first_in, first_out), (end, last_in, last_out) = samples[0], samples[-1]
        span = end - begin
        if span <= 0:
            return 0.0, 0.0
        return (last_in - first_in) / span, (last_out - first_out) / span

    def series(self) -> tuple[list[float], list[float]]:
        """Return messages in and out per second for each `STEP` of the window, oldest first."""
        ends = list(self._samples)[::-1][::STEP][::-1]
        incoming, outgoing = [], []
        for (begin, first_in, first_out), (end, last_in, last_out) in pairwise(ends):
            span = max(end - begin, 0.001)  # clocks may be set back
            incoming.append((last_in - first_in) / span)
            outgoing.append((last_out - first_out) / span)
        return incoming, outgoing

    def webhook_percentile(self, fraction: float) -> float | None:
        """Return a percentile of recent webhook durations in seconds, or None without any."""
        times = sorted(self.webhook_seconds)
        return times[min(len(times) - 1, int(len(times) * fraction))] if times else None
