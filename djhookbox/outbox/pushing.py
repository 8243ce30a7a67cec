"""Number what was just committed, and send it with the poke.

A process that is asked to pull calls a webhook, which takes most of the time until the message
arrives. If little waits, the thread that has committed numbers it and sends it along. The process
uses that if it continues what it has pulled and no pull is under way; otherwise it pulls.

A thread that commits does not wait for others: if the lock is taken, it only pokes the process.
Web processes that commit often are not slowed down either: they leave numbering to the pulls, each
of which numbers all that has been committed since the last one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.db import Error, connections, router

from ..decisions.store import cache
from ..models import Publication
from ..policy.rules import Rule
from ..revocations import pulling as revoking
from ..revocations import storing
from ..wire.revocations import Position
from ..wire.streams import Pulled, Pushed
from . import heads, numbering, procedure
from .pulling import as_entry
from .rows import Row
from .statements import Read, Select

logger = logging.getLogger("djhookbox")

#: Maximum number of rows to number, and of the characters of their payloads.
MOST_ROWS = 20
MOST_TEXT = 16_384
#: Seconds to number nothing after a failure.
PAUSE = 1.0
#: How often a web process numbers: so many times per second on average, and in a row.
RATE = 50.0
BURST = 1000.0

#: Seconds to wait for the lock, where it may be less than a second. On SQLite, everybody who writes
#: holds it; on PostgreSQL, only others who number.
_LOCK_SECONDS = {"postgresql": 0.001, "sqlite": 0.02}

_ROWS = Select(lambda using: numbering.waiting(using, MOST_ROWS + 1))

_quiet_until = 0.0


class _Allowance:
    """How many times this process may still number; grows with time."""

    def __init__(self) -> None:
        self._left = BURST
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Use one up, if there is one."""
        self._left = min(BURST, self._left + RATE * (now - self._at))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


_allowance = _Allowance()


def push(rows: Sequence[Row] = ()) -> Pushed | None:
    """Number what waits, and return it; None if the process must pull it.

    Args:
        rows: What the transaction has published, if it is known. Some of it may have been rolled
            back.

    """
    global _quiet_until
    using = heads.database()
    now = time.monotonic()
    # No lock: threads that meet here may number once more than they should.
    if not _is_possible(using) or now < _quiet_until or not _allowance.take(now):
        return None
    try:
        rules = cache.get()  # before the lock is taken
        return procedure.push(using, rules, rows) or _push(using, rules, rows)
    except procedure.Locked:
        return None
    except (Error, ValueError) as error:
        # The lock is taken, or the publish history cannot store a value; the webhook copes.
        _quiet_until = time.monotonic() + PAUSE
        logger.info("Publications could not be numbered after their commit: %s", error)
        return None


def _is_possible(using: str) -> bool:
    connection = connections[using]
    return (
        connection.vendor in _LOCK_SECONDS
        and not connection.in_atomic_block  # as in a test
        and connection.get_autocommit()
        and storing.database() == using
        and router.db_for_write(Publication) == using
    )


def _push(using: str, rules: Sequence[Rule], published: Sequence[Row]) -> Pushed | None:
    reads = [Read(_ROWS), Read(revoking.LOOK)]
    channels = {row.channel for row in published}
    digests = [numbering.digest(name) for name in channels] if len(channels) == 1 else []
    reads += [numbering.read_channel(digest) for digest in digests]
    seconds = _LOCK_SECONDS[connections[using].vendor]
    locked = heads.locked_with(using, *reads, seconds=seconds)
    with locked as (head, (rows, revoked, *known)):
        # Revocations come first, also those of the same transaction: then the process must pull.
        if not _is_little(rows) or not revoked or revoked[0][-1]:
            return None
        number, token, *_ = revoked[0]
        read = dict(zip(digests, known, strict=True))
        done = numbering.number_rows(using, head, rules, rows, read)
    entries = tuple(as_entry(entry, head.now, whole=True) for entry in done.entries)
    pulled = Pulled(head.incarnation, done.head.number, done.head.token, entries=entries)
    return Pushed(head.number, head.token, Position(number, token), pulled)


def _is_little(rows: Sequence[tuple[Any, ...]]) -> bool:
    size = sum(len(Row(*row).payload) for row in rows)
    return 0 < len(rows) <= MOST_ROWS and size <= MOST_TEXT
