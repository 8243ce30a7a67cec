"""Look for publications and revocations with one query: that is all an idle site is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DatabaseError, connections
from django.db.models import Subquery

from ..revocations import pulling as revoking
from ..revocations import storing
from . import heads
from .statements import Select


@dataclass(frozen=True, slots=True)
class Seen:
    """Both heads, as of one moment.

    Attributes:
        publications: The head of the streams.
        revocations: The head of the revocations.

    """

    publications: heads.Head
    revocations: revoking.Head


def look() -> Seen | None:
    """Return both heads, or None if they must be read separately.

    That is so if they are in different databases, if one of them does not exist yet, or if a table
    cannot be read: the other one may be readable.

    Raises:
        DatabaseError: The database cannot be reached.

    """
    using = heads.database()
    if storing.database() != using:
        return None
    try:
        found = _BOTH.rows(using)
    except DatabaseError:
        if connections[using].connection is None:
            raise  # there is no connection for another query either
        return None
    if not found:
        return None
    number, token, incarnation, former, now, began, first_token, pending, *revoked = found[0]
    last, last_token, pruned, pruned_token, waiting = revoked
    if last is None:
        return None
    return Seen(
        heads.Head(number, token, incarnation, former, now, began, first_token, bool(pending)),
        revoking.Head(last, last_token, pruned, pruned_token, bool(waiting)),
    )


_BOTH = Select(
    lambda using: heads.head_row(using).values_list(
        *heads.looked_at(using),
        *(Subquery(revoking.head_row(using).values(name)[:1]) for name in revoking.POSITION),
        revoking.are_pending(using),
    )
)
