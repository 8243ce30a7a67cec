"""What is wrong with the process now, with figures and since when: for the admin's server page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..wire.answers import Problem
from . import usage
from .channels.durable import Durable
from .runtime import Runtime
from .unsent import Unsent

#: All of them, in the order in which they are reported; the admin has words for each.
NAMES = (
    "engine_down", "site_failing", "webhooks_failed", "webhooks_slow", "events_waiting",
    "outbox_late", "connections", "files", "memory", "unsent", "loop_late", "too_slow",
    "events_lost", "gaps",
)  # fmt: skip

#: Seconds between checks, and for how long what happened counts as recent.
EVERY, RECENT = 5.0, 600.0

#: When something is a problem: shares of a limit, and seconds.
NEAR_LIMIT = 0.9
MANY_WAITING = 0.1
MOST_UNSENT = 0.8
SLOW_WEBHOOK = 1.0
LATE_LOOP = 0.2
LATE_OUTBOX = 30.0


class _Counts(NamedTuple):
    """Counters at one time."""

    at: float
    webhooks: int
    failed: int
    too_slow: int
    dropped: int
    gaps: int


class Problems:
    """Check regularly, and remember since when each problem has existed.

    Args:
        runtime: What the server shares.
        durable: The puller of the outbox.
        unsent: The unsent bytes of all clients.

    """

    def __init__(self, runtime: Runtime, durable: Durable, unsent: Unsent) -> None:
        self._runtime = runtime
        self._durable = durable
        self._unsent = unsent
        self._checked = float("-inf")
        self._earlier: deque[_Counts] = deque()
        self._found: dict[str, Problem] = {}
        #: Since when each problem that is a state has existed.
        self._since: dict[str, float] = {}

    @property
    def found(self) -> tuple[Problem, ...]:
        """The problems of the last check, in a fixed order."""
        return tuple(self._found.values())

    def look(self, now: float) -> None:
        """Check if it is time to; called once a second."""
        if abs(now - self._checked) < EVERY:
            return
        self._checked = now
        metrics = self._runtime.metrics
        counts = _Counts(
            now, metrics.webhooks_total, metrics.webhooks_failed, metrics.dropped_slow,
            metrics.events_dropped, metrics.gaps,
        )  # fmt: skip
        if not self._earlier:
            self._earlier.append(_Counts(metrics.started, 0, 0, 0, 0, 0))
        while len(self._earlier) > 1 and self._earlier[1].at <= now - RECENT:
            self._earlier.popleft()
        found = {
            name: Problem(name, round(value, 3), limit, round(since, 3))
            for name, value, limit, since in self._current(counts)
        }
        self._earlier.append(counts)
        self._found = found

    def _current(self, counts: _Counts) -> Iterator[tuple[str, float, float | None, float]]:
        """Yield name, figure, limit and since when."""
        runtime, now = self._runtime, counts.at
        metrics, config = runtime.metrics, runtime.config
        failing = metrics.failing_since
        before = self._earlier[0]
        if runtime.shared is not None and not runtime.shared.link.is_up:
            since = self._since.setdefault("engine_down", now)
            yield "engine_down", now - since, None, since
        else:
            self._since.pop("engine_down", None)
        if failing is not None:
            seconds = time.monotonic() - failing
            yield "site_failing", seconds, None, now - seconds
        if (failed := counts.failed - before.failed) > 0:
            total = max(failed, counts.webhooks - before.webhooks)
            yield "webhooks_failed", failed, total, self._first("failed")
        p95 = metrics.webhook_percentile(0.95)
        for name, value, limit, least in (
            ("webhooks_slow", p95, None, SLOW_WEBHOOK),
            ("events_waiting", runtime.events.waiting, config.max_events, MANY_WAITING),
            ("outbox_late", self._durable.lag, None, LATE_OUTBOX),
            ("connections", len(runtime.connections), config.max_connections, NEAR_LIMIT),
            ("files", *usage.files(), NEAR_LIMIT),
            ("memory", *usage.memory(), NEAR_LIMIT),
            ("unsent", self._unsent.total, config.max_unsent_total, MOST_UNSENT),
            ("loop_late", metrics.loop_lag, None, LATE_LOOP),
        ):
            if value is not None and value > least * (1 if limit is None else limit):
                yield name, value, limit, self._since.setdefault(name, now)
            else:
                self._since.pop(name, None)
        for name, field in (("too_slow", "too_slow"), ("events_lost", "dropped"), ("gaps", "gaps")):
            if (count := getattr(counts, field) - getattr(before, field)) > 0:
                yield name, count, None, self._first(field)

    def _first(self, field: str) -> float:
        """Return when a counter has grown for the first time lately."""
        least = getattr(self._earlier[0], field)
        grown = (one.at for one in self._earlier if getattr(one, field) > least)
        return next(grown, self._checked)
