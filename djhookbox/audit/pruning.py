"""Delete old rows of the audit log, in batches so that nobody waits for it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connections, router
from django.utils import timezone

from ..models import ConnectionLog, Log, Pruning, Publication, SubscriptionLog
from . import nodes

#: Rows deleted per statement: a tenth of a second, during which SQLite blocks other writers.
BATCH = 10_000

#: The audit logs by the name of their count in `Pruning`.
LOGS: dict[str, type[Log]] = {
    "connections": ConnectionLog,
    "subscriptions": SubscriptionLog,
    "publications": Publication,
}


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of pruning.

    Attributes:
        counts: Deleted rows by audit log, as in `LOGS`.
        complete: Whether all old rows were deleted.

    """

    counts: dict[str, int]
    complete: bool


def prune(
    days: int,
    *,
    seconds: float | None = None,
    batch: int = BATCH,
    clock: Callable[[], float] = time.monotonic,
) -> Pruned:
    """Delete old rows, oldest first, and record that it was done.

    Args:
        days: Delete rows older than this many days.
        seconds: When to stop even if rows remain; the next call continues.
        batch: Rows deleted at once.
        clock: Returns the time.

    """
    end = None if seconds is None else clock() + seconds
    before = timezone.now() - datetime.timedelta(days=days)
    counts = dict.fromkeys(LOGS, 0)
    complete = True
    for name, deleted in _all_batches(before, batch):
        counts[name] += deleted
        if end is not None and clock() >= end:
            complete = False
            break
    nodes.forget_old(min(before, timezone.now() - datetime.timedelta(days=1)))
    _note(counts, complete)
    return Pruned(counts, complete)


def due(days: int) -> dict[str, int]:
    """Return how many rows of each log `prune` would delete."""
    return {name: model.objects.older_than(days).count() for name, model in LOGS.items()}


def _all_batches(before: datetime.datetime, batch: int) -> Iterator[tuple[str, int]]:
    for name, model in LOGS.items():
        for deleted in _batches(model, before, batch):
            yield name, deleted


def _batches(model: type[Log], before: datetime.datetime, batch: int) -> Iterator[int]:
    using = router.db_for_write(model)
    # Old versions of SQLite accept few parameters.
    size = min(batch, connections[using].features.max_query_params or batch)
    rows = model.objects.using(using)
    while True:
        old = rows.filter(created__lt=before).order_by("created").values_list("pk", flat=True)
        keys = list(old[:size])
        if keys:
            yield rows.filter(pk__in=keys).delete()[0]
        if len(keys) < size:
            return


def _note(counts: dict[str, int], complete: bool) -> None:
    previous = Pruning.last()
    if previous is not None and not previous.complete:  # this call continues the previous one
        counts = {name: count + getattr(previous, name) for name, count in counts.items()}
    Pruning.objects.update_or_create(
        pk=1, defaults={**counts, "complete": complete, "ended": timezone.now()}
    )
