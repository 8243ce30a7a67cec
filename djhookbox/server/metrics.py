"""Counters and histograms since the start, and the rates of the last ten minutes."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from itertools import accumulate, pairwise

#: Number of seconds that the samples cover, at one sample per second.
WINDOW = 600
#: Number of seconds that each point of a series covers.
STEP = 10


#: Bounds of the buckets in seconds: of webhooks, of the way from `publish()` to the last receiver,
#: and of writing a message to its receivers.
WEBHOOK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PUBLISH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
FANOUT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
ENGINE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0)
#: Seconds by which clocks of different machines may differ before it is noted.
SKEW = 0.05


class Histogram:
    """Count how many values were at most each bound.

    Args:
        bounds: The upper bounds of the buckets, ascending.

    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each bucket has."""
        return tuple(self._counts)

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """The bounds as Prometheus writes them, each with the number of values up to it."""
        bounds = [*map(str, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class Metrics:
    """Counters since the start of the server.

    Attributes:
        webhook_times: Histograms by webhook and outcome: `answered`, `refused`, `rejected` (the
            site does not accept the call) or `failed`.
        closed: Connections that ended, by close code.
        refusals: What the site refused, by webhook, in batches too.
        failing_since: When the first of the latest webhooks failed, if none has succeeded since;
            in the time of `time.monotonic`.
        publish_times: From `publish()` in the site to the write to the last receiver. It compares
            the clocks of two processes.
        clocks_ahead: Publications whose publisher's clock was clearly ahead of ours; they are not
            in the histogram.
        loop_lag: By how much the event loop was late at its last and its latest checks.

    """

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
        self.webhook_times: dict[tuple[str, str], Histogram] = {}
        self.webhooks_in_flight = 0
        self.failing_since: float | None = None
        self.bytes_out = 0
        self.fanout = Histogram(FANOUT_BUCKETS)
        self.publish_times = Histogram(PUBLISH_BUCKETS)
        self.clocks_ahead = 0
        self.closed: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.recovered = 0
        self.gaps = 0
        self.loop_lag = 0.0
        self._samples: deque[tuple[float, int, int]] = deque([(now, 0, 0)], maxlen=WINDOW)

    def begin(self, name: str) -> Timing:
        """Record that a webhook is made; call `end` of the result when it has ended."""
        self.webhooks_total += 1
        self.webhooks_in_flight += 1
        return Timing(self, name)

    def webhook(self, name: str, outcome: str, seconds: float, now: float) -> None:
        """Record a webhook that has ended.

        Args:
            name: The webhook.
            outcome: See `webhook_times`.
            seconds: How long it took.
            now: The time of `time.monotonic`.

        """
        self.webhook_seconds.append(seconds)
        histogram = self.webhook_times.get((name, outcome))
        if histogram is None:
            histogram = self.webhook_times[name, outcome] = Histogram(WEBHOOK_BUCKETS)
        histogram.add(seconds)
        if outcome != "failed":
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now

    def written(self, seconds: float) -> None:
        """Record how long ago a publication was made that has been written to its receivers."""
        if seconds < -SKEW:
            self.clocks_ahead += 1
        else:
            self.publish_times.add(max(0.0, seconds))

    @property
    def activity(self) -> int:
        """A number that changes when a message is sent or a connection is opened."""
        return self.messages_in + self.messages_out + self.connections_total

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


class Timing:
    """A webhook in progress.

    Attributes:
        outcome: How it ended, see `Metrics.webhook_times`; `failed` unless it is set.

    """

    __slots__ = ("_metrics", "_name", "_started", "outcome")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name
        self._started = time.monotonic()
        self.outcome = "failed"

    def end(self) -> None:
        """Record the end."""
        now = time.monotonic()
        self._metrics.webhooks_in_flight -= 1
        self._metrics.webhook(self._name, self.outcome, now - self._started, now)
