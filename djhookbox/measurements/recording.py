"""Add what a process reports for each minute to the rows of that time."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from django.conf import settings as django_settings
from django.db import router
from django.utils import timezone

from ..models import Measurement
from ..wire.events import WEBHOOK_BOUNDS, Measured
from .models import LARGEST, LARGEST_TOTAL

MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600

#: For how long rows are kept, by the seconds that they are about.
KEPT = {
    MINUTE: datetime.timedelta(hours=3),
    TEN_MINUTES: datetime.timedelta(days=3),
    HOUR: datetime.timedelta(days=93),
}

#: Different names that a row has at most, such as close codes.
MOST_NAMES = 100

_BUCKETS = len(WEBHOOK_BOUNDS) + 1


def record(node: str, measured: Measured) -> None:
    """Add a minute of a process to its rows; delete old rows once an hour.

    The caller has begun a transaction. Processes at the same address add to the same rows.

    Raises:
        ValueError: The time cannot be stored.

    """
    for step in KEPT:
        begin = moment(measured.begin - measured.begin % step)
        if begin < timezone.now() - KEPT[step]:
            continue  # it was reported late, and would be deleted
        rows = Measurement.objects.using(router.db_for_write(Measurement))
        _row, created = rows.get_or_create(node=node, step=step, begin=begin)
        row = rows.select_for_update().get(pk=_row.pk)
        _add(row, measured)
        row.save()
        if created and step == HOUR:
            prune()


def moment(seconds: float) -> datetime.datetime:
    """Return a time as Django stores it.

    Raises:
        ValueError: There is no such time.

    """
    try:
        then = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    except (OverflowError, OSError) as error:
        raise ValueError(f"begin is not a time: {error}") from None
    if not django_settings.USE_TZ:
        then = timezone.make_naive(then, timezone.get_default_timezone())
    return then


def prune() -> None:
    """Delete old rows."""
    rows = Measurement.objects.using(router.db_for_write(Measurement))
    for step, kept in KEPT.items():
        rows.filter(step=step, begin__lt=timezone.now() - kept).delete()


def _add(row: Measurement, measured: Measured) -> None:
    row.covered = min(float(row.step), row.covered + max(0.0, measured.seconds))
    for name in Measurement.HIGHEST:
        value = min(LARGEST, max(getattr(row, name), getattr(measured, name)))
        setattr(row, name, value)
    for name in Measurement.TOTALS:
        value = min(LARGEST_TOTAL, getattr(row, name) + max(0, getattr(measured, name)))
        setattr(row, name, value)
    row.closed = _sum(row.closed, measured.closed)
    row.refusals = _sum(row.refusals, measured.refusals)
    webhooks = dict(row.webhooks)
    for name, outcomes in measured.webhooks.items():
        known = dict(webhooks.get(name, {}))
        for outcome, counts in outcomes.items():
            if len(counts) == _BUCKETS:  # another version may have other bounds
                known[outcome] = added(known.get(outcome, ()), counts)
        if name in webhooks or len(webhooks) < MOST_NAMES:
            webhooks[name] = known
    row.webhooks = webhooks


def added(counts: Sequence[int], more: Sequence[int]) -> list[int]:
    """Return the sum of two histograms, of which the first may be empty."""
    first = counts or (0,) * len(more)
    return [min(LARGEST_TOTAL, one + max(0, other)) for one, other in zip(first, more, strict=True)]


def _sum(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    total = dict(counts)
    for name, count in more.items():
        if name in total or len(total) < MOST_NAMES:
            total[name] = min(LARGEST_TOTAL, total.get(name, 0) + max(0, count))
    return total
