"""Delete what neither returning clients nor histories need any more, a little at a time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable

from django.db.models import Model, QuerySet
from django.db.models.functions import Now

from ..conf import settings
from . import heads
from .models import Outbox, StreamChannel, StreamEntry, StreamHead

#: Seconds between sweeps of one web process, and the entries that a sweep looks at.
SWEEP_SECONDS = 60.0
SWEEP_ENTRIES = 2000
#: Rows to delete with one statement, and channels to forget at once.
_BATCH = 500

_next_sweep = 0.0


def sweep_sometimes(using: str) -> None:
    """Sweep if the last sweep of this process was long enough ago."""
    global _next_sweep
    now = time.monotonic()
    if now >= _next_sweep:
        _next_sweep = now + SWEEP_SECONDS
        sweep(using)


def sweep(using: str, most: int = SWEEP_ENTRIES) -> bool:
    """Delete old entries that follow those looked at last; return whether there may be more.

    Entries are in order of age, so that nothing beyond the first young one is read. What a history
    still needs is kept, and looked at again after a day (see `forget`).
    """
    row = StreamHead.objects.using(using).annotate(now=Now()).filter(pk=StreamHead.KEY).first()
    if row is None:
        return False
    now: datetime.datetime = row.now
    oldest = now - datetime.timedelta(seconds=settings.durable_seconds)
    entries = list(
        StreamEntry.objects.using(using)
        .filter(number__gt=row.swept)
        .order_by("number")
        .defer("payload")[:most]
    )
    old = [entry for entry in entries if entry.numbered < oldest]
    if not old:
        return False
    channels = StreamChannel.objects.using(using).in_bulk({entry.channel_id for entry in old})
    _delete(
        StreamEntry.objects.using(using),
        "number__in",
        [e.number for e in old if not _is_history(e, channels.get(e.channel_id), now)],
        using,
    )
    # Not if somebody has restarted it in the meantime.
    StreamHead.objects.using(using).filter(pk=StreamHead.KEY, swept=row.swept).update(
        swept=old[-1].number
    )
    return len(old) == most


def _is_history(entry: StreamEntry, channel: StreamChannel | None, now: datetime.datetime) -> bool:
    if channel is None or entry.epoch != channel.epoch:
        return False
    if entry.offset <= channel.offset - channel.history_size:
        return False
    if not channel.history_duration:
        return True
    return (now - entry.numbered).total_seconds() < channel.history_duration


def forget(using: str, days: int) -> None:
    """Once a day: look at all old entries again, and forget channels without publications.

    Args:
        using: The alias of the database.
        days: Forget channels that had no publication for so many days, and failed rows as old.

    """
    with heads.locked(using) as head:  # numbering must not use a channel that is forgotten
        before = head.now - datetime.timedelta(days=days)
        before = min(before, head.now - datetime.timedelta(seconds=settings.durable_seconds))
        silent = StreamChannel.objects.using(using).filter(published__lt=before).order_by("pk")
        pks = list(silent.values_list("pk", flat=True)[:_BATCH])
        _delete(StreamEntry.objects.using(using), "channel__in", pks, using)
        _delete(StreamChannel.objects.using(using), "pk__in", pks, using)
        failed = Outbox.objects.using(using).filter(failed=True, created__lt=before)
        failed._raw_delete(using)
        StreamHead.objects.using(using).filter(pk=StreamHead.KEY).update(swept=0)


def _delete(rows: QuerySet[Model], lookup: str, values: Iterable[int], using: str) -> None:
    values = list(values)
    for start in range(0, len(values), _BATCH):
        found = rows.filter(**{lookup: values[start : start + _BATCH]})
        found._raw_delete(using)  # nothing refers to them
