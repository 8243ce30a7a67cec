"""The active bans, loaded with one query and cached in each process."""

from __future__ import annotations

import time

from django.db import router

from ..caching import RowCache
from ..models import Ban
from .rules import Bans, Entry, Subject


def load() -> Bans:
    """Load the active bans."""
    bans = Ban.objects.using(router.db_for_write(Ban))
    rows = bans.active().values_list("pk", "kind", "value", "reason", "until")
    return Bans(
        Entry(pk, kind, value, reason, None if until is None else until.timestamp())
        for pk, kind, value, reason, until in rows.order_by("pk")
    )


#: The only cache of this process.
cache = RowCache(Ban, load)


def find(subject: Subject) -> Entry | None:
    """Return the ban that refuses somebody, or None."""
    return cache.get().find(subject, time.time())
