"""What has been counted in a period, in as many points as a chart shows."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import add
from typing import Any

from django.utils import timezone

from ..models import Measurement
from ..wire.events import WEBHOOK_BOUNDS
from .recording import HOUR, MINUTE, TEN_MINUTES, moment

DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Period:
    """A period that ends now.

    Attributes:
        seconds: How long it is.
        point: How many seconds a point of a chart is about.
        step: Which rows have the figures.

    """

    seconds: int
    point: int
    step: int


PERIODS: Mapping[str, Period] = {
    "hour": Period(HOUR, MINUTE, MINUTE),
    "day": Period(DAY, TEN_MINUTES, TEN_MINUTES),
    "week": Period(7 * DAY, HOUR, HOUR),
    "month": Period(30 * DAY, 4 * HOUR, HOUR),
}

#: A histogram of webhooks, by outcome.
Outcomes = Mapping[str, Sequence[int]]


@dataclass(slots=True)
class Point:
    """What was counted in one part of a period, by all processes together.

    Attributes:
        connections: The sum of what was the highest number of each process, like the next two.
        messages_in: Per second, like the next one.
        refused: Connections that the process itself refused.
        refusals: What the site refused, by webhook.
        closed: Connections that ended, by close code.
        webhooks: Histograms by webhook and outcome.

    """

    connections: int = 0
    users: int = 0
    channels: int = 0
    messages_in: float = 0.0
    messages_out: float = 0.0
    refused: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    webhooks: dict[str, dict[str, Sequence[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """A period.

    Attributes:
        begin: When its first point begins.
        period: Its length.
        points: Its points; None where nothing was measured.

    """

    begin: datetime.datetime
    period: Period
    points: tuple[Point | None, ...]

    def time(self, index: int) -> datetime.datetime:
        """Return when a point begins."""
        return self.begin + datetime.timedelta(seconds=index * self.period.point)

    @cached_property
    def total(self) -> Point:
        """The sums of the whole period: refusals, close codes and webhooks."""
        total = Point()
        for point in self.points:
            if point is not None:
                total.refused += point.refused
                _count(total, point.refusals, point.closed, point.webhooks)
        return total


_COLUMNS = (
    "node", "begin", "covered", "connections", "users", "channels", "messages_in", "messages_out",
    "refused", "refusals", "closed", "webhooks",
)  # fmt: skip


def read(period: Period, now: datetime.datetime | None = None) -> History:
    """Return the figures of a period, with one query."""
    end = (now or timezone.now()).timestamp()
    # Begin at a whole point, so that points have the same rows whenever the page is opened.
    first = end - end % period.point - period.seconds + period.point
    begin = moment(first)
    rows = Measurement.objects.filter(step=period.step, begin__gte=begin)
    count = period.seconds // period.point
    parts: list[dict[str, list[Mapping[str, Any]]]] = [{} for _index in range(count)]
    for row in rows.values(*_COLUMNS):
        index = int((row["begin"] - begin).total_seconds() // period.point)
        if 0 <= index < count:
            parts[index].setdefault(row["node"], []).append(row)
    points = tuple(_point(part.values()) if part else None for part in parts)
    return History(begin, period, points)


def _point(nodes: Iterable[Sequence[Mapping[str, Any]]]) -> Point:
    """Return the figures of a part of a period, given the rows of each process."""
    point = Point()
    for rows in nodes:
        for name in Measurement.HIGHEST:
            highest = max(row[name] for row in rows)
            setattr(point, name, getattr(point, name) + highest)
        # Of the time that was measured: a process may just have been started.
        seconds = sum(row["covered"] for row in rows) or 1.0
        for name in ("messages_in", "messages_out"):
            rate = sum(row[name] for row in rows) / seconds
            setattr(point, name, getattr(point, name) + rate)
        for row in rows:
            point.refused += row["refused"]
            _count(point, row["refusals"], row["closed"], row["webhooks"])
    return point


def _count(
    point: Point,
    refusals: Mapping[str, int],
    closed: Mapping[str, int],
    webhooks: Mapping[str, Outcomes],
) -> None:
    point.refusals.update(refusals)
    point.closed.update(closed)
    for name, outcomes in webhooks.items():
        known = point.webhooks.setdefault(name, {})
        for outcome, counts in outcomes.items():
            known[outcome] = _added(known.get(outcome), counts)


def _added(counts: Sequence[int] | None, more: Sequence[int]) -> Sequence[int]:
    """Return the sum of two histograms, of which the first may be missing."""
    return tuple(map(add, counts, more)) if counts else more


# ---- webhooks ----------------------------------------------------------------------------------

#: Outcomes of webhooks without a usable answer.
ERRORS = ("failed", "rejected")


@dataclass(frozen=True, slots=True)
class Durations:
    """How many webhooks there were, and how long they took; None without any.

    Attributes:
        errors: How many of them failed or were rejected.
        p50: Seconds within which half of them ended; the last bound if they took longer.

    """

    count: int
    errors: int
    p50: float | None
    p95: float | None
    p99: float | None


def durations(webhooks: Iterable[Outcomes]) -> Durations:
    """Return the figures of some webhooks together."""
    total: Sequence[int] = ()
    errors = 0
    for outcomes in webhooks:
        for outcome, counts in outcomes.items():
            total = _added(total, counts)
            if outcome in ERRORS:
                errors += sum(counts)
    return Durations(
        sum(total), errors, *(percentile(total, fraction) for fraction in (0.5, 0.95, 0.99))
    )


def percentile(counts: Sequence[int], fraction: float) -> float | None:
    """Return a percentile of a histogram, evenly distributed within its bucket as in Prometheus."""
    total = sum(counts)
    if not total:
        return None
    rank = fraction * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            if index >= len(WEBHOOK_BOUNDS):
                break
            lower = WEBHOOK_BOUNDS[index - 1] if index else 0.0
            return lower + (WEBHOOK_BOUNDS[index] - lower) * (rank - below) / count
        below += count
    return WEBHOOK_BOUNDS[-1]
