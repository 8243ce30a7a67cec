"""Rows of the outbox that could not be published: try them again, or discard them."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections
from django.db.models import QuerySet

from ..commits import writing
from . import heads
from .models import Outbox


def rows(keys: Collection[int] | None = None) -> QuerySet[Outbox]:
    """Return the failed rows, oldest first; only those with these keys, if given."""
    found = Outbox.objects.using(heads.database()).filter(failed=True).order_by("pk")
    return found if keys is None else found.filter(pk__in=keys)


def try_again(keys: Collection[int] | None = None) -> int:
    """Put failed rows at the end of the outbox, so that order is kept; return how many.

    They are published with the time at which they were first published.
    """
    from .inserting import poke_after_commit  # the admin needs this module in every process

    using = heads.database()
    with writing(Outbox):
        chosen = list(rows(keys).select_for_update())
        for row in chosen:
            row.delete()  # only one of two callers puts it there again
            row.pk, row.failed, row.error = None, False, ""
            row.save(using=using, force_insert=True)
        poke_after_commit(connections[using])
    return len(chosen)


def discard(keys: Collection[int] | None = None) -> int:
    """Delete failed rows; return how many."""
    return rows(keys).delete()[0]
