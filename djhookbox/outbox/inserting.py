"""Insert publications to durable channels in the caller's transaction, and poke the process."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.utils.translation import gettext as _

from .. import commits
from ..conf import settings
from ..exceptions import HookboxError, HookboxRefused, PayloadError
from ..wire.streams import MOST_ENTRIES, MOST_TEXT
from . import heads, pushing
from .models import Outbox
from .rows import Draft, Row
from .writing import Insert, Writes

logger = logging.getLogger("djhookbox")

#: Seconds to wait for the process to answer a poke, and to make no other one after a failure.
POKE_SECONDS = 0.25
POKE_PAUSE = 5.0

_insert = Insert(Outbox, Row.__match_args__[1:], failed="FALSE", error="''")
_COLUMNS = (*Row.__match_args__[1:], "failed", "error")

_quiet_until = 0.0
_warned: set[tuple[str, str]] = set()


class Stored(NamedTuple):
    """Where a publication is stored."""

    using: str
    pk: int
    created: datetime.datetime

    def still_waits(self) -> bool:
        """Return whether it was neither rolled back nor numbered."""
        # SQLite gives the key of a row that was rolled back to the next one.
        rows = Outbox.objects.using(self.using).filter(pk=self.pk, created=self.created)
        return rows.exists()


def insert(draft: Draft, *, using: str | None = None, pokes: bool = True) -> Stored:
    """Insert a publication, which nobody sees before the transaction is committed.

    Args:
        draft: The publication.
        using: The alias of the database, which must be the one that is pulled from.
        pokes: Whether to poke the process after the commit.

    Raises:
        PayloadError: The message is too large.
        HookboxRefused: A program other than the bundled server runs, or nothing is pulled from
            the database.

    """
    check_size(draft.text)
    connection = _connection(using)
    row = draft.row()
    # Not with the model: that would take twice as long as everything else.
    row.id = _insert.execute(connection, row.values())
    if pokes:
        poke_after_commit(connection, row)
    return Stored(connection.alias, row.id, row.created)


def insert_many(drafts: Sequence[Draft]) -> None:
    """Insert many publications in one transaction, which may be the caller's, in order.

    Raises:
        PayloadError: A message is too large.
        HookboxRefused: As for `insert`.

    """
    for draft in drafts:
        check_size(draft.text)
    connection = _connection(None)
    with transaction.atomic(using=connection.alias, savepoint=False):
        for part in _parts(drafts):
            writes = Writes(connection.alias)
            writes.insert(Outbox, _COLUMNS, [(*each.row().values(), False, "") for each in part])
            writes.execute()
        poke_after_commit(connection, count=len(drafts))


def _parts(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Divide publications so that none of the statements becomes long."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        size += len(draft.text)
        if part and (len(part) == MOST_ENTRIES or size > MOST_TEXT):
            yield part
            part, size = [], len(draft.text)
        part.append(draft)
    yield part


def _connection(using: str | None) -> BaseDatabaseWrapper:
    """Return the connection of the database to write to.

    Raises:
        HookboxRefused: A program other than the bundled server runs, or nothing is pulled from
            the database.

    """
    if settings.executable:
        raise HookboxRefused(
            _("Durable channels require the bundled server; see HOOKBOX_EXECUTABLE."),
            code="refused",
        )
    alias = heads.database()
    connection = connections[alias]
    if using is None:
        _warn_of_other_transaction(connection)
    elif using != alias:
        raise HookboxRefused(
            _(
                "Publications are pulled from the database “%(alias)s”, not from “%(using)s”: see "
                "db_for_write() of your router."
            )
            % {"alias": alias, "using": using},
            code="refused",
        )
    return connection


def check_size(text: str) -> None:
    """Refuse a message that would not fit into a reply of the webhook `outbox`.

    Raises:
        PayloadError: It is too large.

    """
    if len(text) > MOST_TEXT:
        raise PayloadError(
            _(
                "This is %(size)d bytes of JSON, but at most %(limit)d can be published to a "
                "durable channel. Send a URL to fetch it from instead."
            )
            % {"size": len(text), "limit": MOST_TEXT},
            code="limit",
        )


def _warn_of_other_transaction(outbox: BaseDatabaseWrapper) -> None:
    """Warn once if a transaction is open, but in another database than that of the outbox."""
    if outbox.in_atomic_block:
        return
    for connection in connections.all(initialized_only=True):
        pair = (connection.alias, outbox.alias)
        if connection.in_atomic_block and pair not in _warned:
            _warned.add(pair)
            logger.warning(
                "publish() was called in a transaction of the database %r, but the outbox is in "
                "%r: the message is published even after a rollback. (Shown once.)",
                *pair,
            )  # fmt: skip


# ---- the poke ------------------------------------------------------------------------------------


class _Commit(commits.Callback):
    """One commit to come; only the first of its callbacks does something."""

    def __init__(self) -> None:
        self._done = False
        self._count = 0
        #: The publications, if they are few; rows of savepoints may have been rolled back.
        self._rows: list[Row] = []

    def add(self, row: Row | None, count: int) -> None:
        """Add publications; None are unknown ones."""
        self._count += count
        if row is not None and self._count <= pushing.MOST_ROWS:
            self._rows.append(row)

    def __call__(self) -> None:
        """Poke the process."""
        if not self._done:
            self._done = True
            if self._count > pushing.MOST_ROWS:
                poke(None)
            else:
                poke(self._rows if self._count == len(self._rows) else ())


def poke_after_commit(
    connection: BaseDatabaseWrapper, row: Row | None = None, count: int = 1
) -> None:
    """Poke the process once after the current transaction is committed, or now without one.

    Args:
        connection: The connection of the database.
        row: What was published, if it is one publication.
        count: How many publications it is.

    """
    commit = commits.waiting(connection, _Commit, everywhere=True) or _Commit()
    commit.add(row, count)
    # With autocommit off, nobody knows when the commit comes: the process looks by itself.
    with suppress(TransactionManagementError):
        # One callback for each row: those of a savepoint are dropped if it is rolled back.
        connection.on_commit(commit, robust=True)


def poke(rows: Sequence[Row] | None) -> None:
    """Notify the process that there is something to pull; without it, it looks by itself.

    Args:
        rows: What was published, as far as it is known; None if it is too much to be pushed.

    """
    from .. import client

    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        push = None if rows is None else partial(pushing.push, rows)
        client.poke(min(POKE_SECONDS, settings.timeout), push)
    except HookboxError as error:
        # Each request would wait for a process that is stopped.
        _quiet_until = time.monotonic() + POKE_PAUSE
        logger.info(
            "Hookbox was not notified of a publication; it will find it by itself: %s", error
        )
