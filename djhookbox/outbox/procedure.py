"""Number the publications of one transaction with one statement, on PostgreSQL.

A function of the database does it, whose plans it keeps: `numbering` takes three times as long with
several statements, and the message waits meanwhile. The function knows the most frequent case only:
new publications without keys to one channel, which exists, while nothing else waits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db import ProgrammingError, connections

from ..audit import payloads
from ..policy.rules import Rule
from ..wire import values
from ..wire.revocations import Position
from ..wire.streams import Pulled, Pushed
from .allowing import Allowing
from .heads import new_token
from .numbering import digest
from .rows import Row, entry

logger = logging.getLogger("djhookbox")

_CALL = (
    "SELECT * FROM djhookbox_number(%s::bigint[], %s::text[], %s::text[], %s::text[], "
    "%s::integer[], %s::text[], %s, %s, %s, %s)"
)
#: PostgreSQL's code for a function that does not exist, as in a test database without migrations.
_UNDEFINED_FUNCTION = "42883"

#: Databases without the function.
_without: set[str] = set()


class Locked(Exception):
    """Another thread or process is numbering at the moment."""


def push(using: str, rules: Sequence[Rule], rows: Sequence[Row]) -> Pushed | None:
    """Number rows of the outbox that are all that waits; None if that must be done otherwise.

    Args:
        using: The alias of the database, which has the publish history and revocations, too.
        rules: The policies.
        rows: What a transaction has published that was just committed. Nothing is numbered if some
            of it was rolled back.

    Raises:
        Locked: Another thread or process is numbering.
        DatabaseError: The database failed, or the publish history cannot store a value.

    """
    if using in _without or not _are_simple(rows) or connections[using].vendor != "postgresql":
        return None
    rows = sorted(rows, key=lambda row: row.id)
    allowing = Allowing(rules)
    if any(allowing.check(row) for row in rows):
        return None
    found = _call(using, rows, tokens := [new_token() for _ in rows])
    if found is None:
        return None
    outcome, number, token, incarnation, epoch, place, revoked, revoked_token = found
    if outcome == "locked":
        raise Locked
    if outcome != "numbered":
        return None
    entries = tuple(
        entry(row, number + nth, place + nth, channel=row.channel, epoch=epoch, trace=row.trace)
        for nth, row in enumerate(rows, 1)
    )
    pulled = Pulled(incarnation, number + len(rows), tokens[-1], entries=entries)
    return Pushed(number, token, Position(revoked, revoked_token), pulled)


def _are_simple(rows: Sequence[Row]) -> bool:
    return bool(rows) and all(row.channel == rows[0].channel and not row.key for row in rows)


def _call(using: str, rows: Sequence[Row], tokens: Sequence[str]) -> tuple[Any, ...] | None:
    keeping = payloads.rules()
    kept = [
        payloads.kept_and_text(values.loads(row.payload), keeping, is_copy=True) for row in rows
    ]
    first = rows[0]
    params: tuple[Any, ...] = (
        [row.id for row in rows],
        tokens,
        [text for _, text in kept],
        [fields["preview"] for fields, _ in kept],
        [fields["size"] for fields, _ in kept],
        [str(fields["kept"]) for fields, _ in kept],
        digest(first.channel),
        first.opened_by,
        first.history_size,
        first.history_duration,
    )
    try:
        with connections[using].cursor() as cursor:
            cursor.execute(_CALL, params)
            return tuple(cursor.fetchone())
    except ProgrammingError as error:
        cause: object = error.__cause__
        if _UNDEFINED_FUNCTION not in (
            getattr(cause, "sqlstate", ""),
            getattr(cause, "pgcode", ""),
        ):
            raise
        _without.add(using)
        logger.info("The database %r lacks the function djhookbox_number().", using)
        return None
