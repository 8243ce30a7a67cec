"""Answer with the revocations that a process lacks; number those that nobody has pulled yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.db import IntegrityError, transaction
from django.db.models import Exists, QuerySet
from django.db.models.functions import Length, Now

from ..outbox.heads import new_token, short_transaction
from ..outbox.statements import Lock, Select
from ..wire.revocations import (
    MOST_REVOCATION_TEXT,
    MOST_REVOCATIONS,
    Position,
    Revocations,
)
from ..wire.revocations import Revocation as Record
from . import pruning
from .models import Revocation, RevocationHead
from .storing import database, from_text

logger = logging.getLogger("djhookbox")

#: Seconds between two looks of a web process at old rows.
PRUNE_SECONDS = 60.0

_next_pruning = 0.0


@dataclass(frozen=True, slots=True)
class Head:
    """The head as it was read.

    Attributes:
        pending: Whether rows wait for a number.

    """

    number: int
    token: str
    pruned: int
    pruned_token: str
    pending: bool


def head_row(using: str) -> QuerySet[RevocationHead]:
    """Return the row of the head, as a query."""
    return RevocationHead.objects.using(using).filter(pk=RevocationHead.KEY)


def are_pending(using: str) -> Exists:
    """Return whether rows wait for a number, as a part of a query."""
    return Exists(Revocation.objects.using(using).filter(number=None))


#: The attributes of `Head` that are columns, in order.
POSITION = ("number", "token", "pruned", "pruned_token")
#: Reads the attributes of `Head`.
LOOK = Select(lambda using: head_row(using).values_list(*POSITION, are_pending(using)))
_LOCK = Lock(head_row, ("number",), locked=Now())


def pull(position: Position, head: Head | None = None) -> Revocations:
    """Return the revocations that follow the position up to which a process has pulled.

    Processes do not depend on each other: nothing is removed when one of them has pulled it.

    Args:
        position: The position.
        head: The head, if it has just been read.

    Raises:
        DatabaseError: The lock could not be acquired in time, or the database failed.

    """
    using = database()
    head = look(using) if head is None else head
    over = not _continues(position, head, using)
    if head.pending:
        head = _number(using)
    else:
        _prune_sometimes(using)
    if over or position.number == head.number:
        return Revocations(head.number, head.token, over=over, more=head.pending)
    last, token, entries = _after(position.number, head, using)
    return Revocations(last, token, more=head.pending or last < head.number, entries=tuple(entries))


def look(using: str) -> Head:
    """Return the head without locking it; one query, unless its row is missing."""
    found = LOOK.rows(using)
    if not found:
        _create(using)
        found = LOOK.rows(using)
    number, token, pruned, pruned_token, pending = found[0]
    return Head(number, token, pruned, pruned_token, bool(pending))


def _create(using: str) -> None:
    """Create the head; if it was deleted, numbers continue, and all processes start over."""
    last = Revocation.objects.using(using).exclude(number=None).order_by("-number")
    number = last.values_list("number", flat=True).first() or 0
    token = new_token()
    try:
        with transaction.atomic(using=using):
            RevocationHead.objects.using(using).create(
                pk=RevocationHead.KEY,
                number=number,
                token=token,
                pruned=number,
                pruned_token=token,
                locked=Now(),
            )
    except IntegrityError:
        pass  # another process has created it at the same time


def _continues(position: Position, head: Head, using: str) -> bool:
    """Return whether a position is one that this table has given, and no row after it is gone.

    It is not after a restored backup, and if the process was away for longer than rows are kept.
    """
    if not position.token or not head.pruned <= position.number <= head.number:
        return False
    if position.number == head.number:
        return position.token == head.token
    if position.number == head.pruned:
        return position.token == head.pruned_token
    rows = Revocation.objects.using(using).filter(number=position.number)
    return rows.values_list("token", flat=True).first() == position.token


# ---- numbers -------------------------------------------------------------------------------------


def _number(using: str) -> Head:
    """Give the rows that were committed the next number, under the lock."""
    with short_transaction(using, _LOCK):  # everything is read after the lock was taken
        heads = head_row(using)
        head = look(using)
        rows = Revocation.objects.using(using).filter(number=None).order_by("id")
        sizes = list(rows.values_list("pk", Length("text"))[: MOST_REVOCATIONS + 1])
        count = _fitting(size for _pk, size in sizes)
        if not count:
            return replace(head, pending=False)  # another call was first
        number, token = head.number + 1, new_token()
        keys = [pk for pk, _size in sizes[:count]]
        Revocation.objects.using(using).filter(pk__in=keys).update(
            number=number, token=token, numbered=Now()
        )
        heads.update(number=number, token=token)
        return Head(number, token, head.pruned, head.pruned_token, count < len(sizes))


def _fitting(sizes: Iterable[int]) -> int:
    """Return how many rows fit into a reply; at least one, if there is one."""
    total = count = 0
    for size in sizes:
        total += size
        if count and (total > MOST_REVOCATION_TEXT or count == MOST_REVOCATIONS):
            break
        count += 1
    return count


def _after(number: int, head: Head, using: str) -> tuple[int, str, list[Record]]:
    """Return the last number of a reply, its token, and all rows of its numbers."""
    rows = Revocation.objects.using(using).filter(number__gt=number, number__lte=head.number)
    ordered = rows.order_by("number", "id")
    sizes = list(ordered.values_list("number", Length("text"))[: MOST_REVOCATIONS + 1])
    count = _fitting(size for _number, size in sizes)
    last = head.number
    if count < len(sizes):
        # Rows with the same number belong together, and always fit.
        last = max(sizes[0][0], sizes[count][0] - 1)
    token, records = head.token, []
    for row in rows.filter(number__lte=last).order_by("number", "id"):
        if row.number == last:
            token = row.token
        try:
            records.append(from_text(row.key, row.text))
        except ValueError as error:  # the others must not wait for it
            logger.error("The revocation %s cannot be read: %s", row.key, error)
    return last, token, records


def _prune_sometimes(using: str) -> None:
    global _next_pruning
    now = time.monotonic()
    if now >= _next_pruning:
        _next_pruning = now + PRUNE_SECONDS
        pruning.prune(using)
