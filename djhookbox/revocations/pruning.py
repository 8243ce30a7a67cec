"""Delete revocations that no process needs any more, a few at a time."""

from __future__ import annotations

import datetime

from django.db.models.functions import Now

from .models import Revocation, RevocationHead

#: How long revocations are kept; a process that was stopped for longer confirms all connections.
KEPT = datetime.timedelta(hours=24)
#: Rows to delete at once.
MOST = 1000


def prune(using: str) -> bool:
    """Delete old rows, numbered ones and others; return whether there may be more."""
    return forget_numbered(using) | forget_unnumbered(using)


def forget_numbered(using: str) -> bool:
    """Delete old rows that have numbers, oldest first; return whether there may be more.

    The head says up to which number before they are gone: a process that pulls in between is told
    to confirm its connections.
    """
    head = RevocationHead.objects.using(using).filter(pk=RevocationHead.KEY)
    state = head.values_list("pruned", Now()).first()
    if state is None:
        return False
    pruned, now = state
    rows = Revocation.objects.using(using).filter(number__gt=pruned).order_by("number", "id")
    found = list(rows.values_list("number", "token", "numbered")[:MOST])
    old = [(number, token) for number, token, at in found if at is None or at < now - KEPT]
    if not old:
        return False
    number, token = old[-1]
    head.filter(pruned__lt=number).update(pruned=number, pruned_token=token)
    Revocation.objects.using(using).filter(number__lte=number)._raw_delete(using)
    return len(found) == MOST


def forget_unnumbered(using: str) -> bool:
    """Delete old rows that nobody has pulled; return whether there may be more."""
    rows = Revocation.objects.using(using).filter(number=None, created__lt=Now() - KEPT)
    keys = list(rows.order_by("id").values_list("pk", flat=True)[:MOST])
    if keys:
        Revocation.objects.using(using).filter(number=None, pk__in=keys)._raw_delete(using)
    return len(keys) == MOST
