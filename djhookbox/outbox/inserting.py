"""Insert publications to durable channels in the caller's transaction, and poke the process."""

from __future__ import annotations

import datetime
import logging
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from django.utils import timezone
from django.utils.translation import gettext as _

from ..audit.writing import fit
from ..conf import settings
from ..decisions.decide import Decision
from ..exceptions import HookboxError, HookboxRefused, PayloadError
from ..wire.streams import MOST_ENTRIES, MOST_TEXT
from . import heads, pushing
from .models import Outbox
from .rows import Row
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


def insert(
    decision: Decision,
    channel: str,
    text: str,
    *,
    user: str,
    sender: str,
    source: str,
    key: str = "",
    connection_id: str = "",
    opened: Decision | None = None,
    using: str | None = None,
    pokes: bool = True,
    trace: str = "",
) -> Stored:
    """Insert a publication, which nobody sees before the transaction is committed.

    Args:
        decision: The decision to publish it, for the audit log.
        channel: The channel's name.
        text: The message as JSON text.
        user: The name that subscribers see.
        sender: The name for the audit log.
        source: The source for the audit log.
        key: A publication with the same key is stored once.
        connection_id: The connection of the browser that sent it.
        opened: The decision that opens the channel, if it is another one.
        using: The alias of the database, which must be the one that is pulled from.
        pokes: Whether to poke the process after the commit.
        trace: The trace in which it was made, as a `traceparent`.

    Raises:
        PayloadError: The message is too large.
        HookboxRefused: A program other than the bundled server runs, or nothing is pulled from
            the database.

    """
    check_size(text)
    alias = _alias(using)
    row = _new_row(
        decision, channel, text, user, sender, source, key, connection_id, opened or decision, trace
    )
    # Not with the model: that would take twice as long as everything else.
    row.id = _insert.execute(alias, row.values())
    if pokes:
        poke_after_commit(alias, row)
    return Stored(alias, row.id, row.created)


def insert_many(
    publications: Sequence[tuple[Decision, str, str]],
    *,
    user: str,
    sender: str,
    source: str,
    trace: str = "",
) -> None:
    """Insert many publications in one transaction, which may be the caller's, in order.

    Args:
        publications: Decisions, names of channels and JSON texts, as for `insert`.
        user: The name that subscribers see; the others are as for `insert`, too.
        sender: See there.
        source: See there.
        trace: See there.

    Raises:
        PayloadError: A message is too large.
        HookboxRefused: As for `insert`.

    """
    for _decision, _channel, text in publications:
        check_size(text)
    alias = _alias(None)
    with transaction.atomic(using=alias, savepoint=False):
        for part in _parts(publications):
            rows = [
                _new_row(decision, channel, text, user, sender, source, "", "", decision, trace)
                for decision, channel, text in part
            ]
            writes = Writes(alias)
            writes.insert(Outbox, _COLUMNS, [(*row.values(), False, "") for row in rows])
            writes.execute()
        poke_after_commit(alias, count=len(publications))


def _parts(
    publications: Sequence[tuple[Decision, str, str]],
) -> Iterator[list[tuple[Decision, str, str]]]:
    """Divide publications so that none of the statements becomes long."""
    part: list[tuple[Decision, str, str]] = []
    size = 0
    for each in publications:
        size += len(each[2])
        if part and (len(part) == MOST_ENTRIES or size > MOST_TEXT):
            yield part
            part, size = [], len(each[2])
        part.append(each)
    yield part


def _alias(using: str | None) -> str:
    """Return the alias of the database to write to.

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
    if using is None:
        _warn_of_other_transaction(alias)
    elif using != alias:
        raise HookboxRefused(
            _(
                "Publications are pulled from the database “%(alias)s”, not from “%(using)s”: see "
                "db_for_write() of your router."
            )
            % {"alias": alias, "using": using},
            code="refused",
        )
    return alias


def _new_row(
    decision: Decision,
    channel: str,
    text: str,
    user: str,
    sender: str,
    source: str,
    key: str,
    connection_id: str,
    opened: Decision,
    trace: str,
) -> Row:
    return Row(
        0,
        channel,
        text,
        user,
        fit(sender),
        connection_id,
        source,
        key,
        opened.decided_by[:255],
        decision.decided_by[:255],
        decision.reason[:255],
        _count(opened, "history_size"),
        _count(opened, "history_duration"),
        timezone.now(),
        trace or None,
    )


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


def _count(decision: Decision, name: str) -> int:
    value: Any = decision.options.get(name, 0)
    return value if isinstance(value, int) else 0


def _warn_of_other_transaction(alias: str) -> None:
    """Warn once if a transaction is open, but in another database than that of the outbox."""
    if connections[alias].in_atomic_block:
        return
    for connection in connections.all(initialized_only=True):
        pair = (connection.alias, alias)
        if connection.in_atomic_block and pair not in _warned:
            _warned.add(pair)
            logger.warning(
                "publish() was called in a transaction of the database %r, but the outbox is in "
                "%r: it is published even if the transaction is rolled back. (Shown once.)",
                connection.alias, alias,
            )  # fmt: skip


# ---- the poke ------------------------------------------------------------------------------------


class _Commit:
    """One commit to come; only the first of its callbacks does something.

    Attributes:
        done: Whether it has come.
        count: The number of publications in it, at least.
        rows: The publications, if they are few; rows of savepoints may have been rolled back.

    """

    def __init__(self) -> None:
        self.done = False
        self.count = 0
        self.rows: list[Row] = []

    def add(self, row: Row | None, count: int) -> None:
        """Add publications; None are unknown ones."""
        self.count += count
        if row is not None and self.count <= pushing.MOST_ROWS:
            self.rows.append(row)

    def has_come(self) -> None:
        """Poke the process."""
        if not self.done:
            self.done = True
            if self.count > pushing.MOST_ROWS:
                poke(None)
            else:
                poke(self.rows if self.count == len(self.rows) else ())


#: The commit that is waited for, by connection. A rollback drops the callbacks, and leaves the
#: object for the next transaction, where it is replaced.
_commits: weakref.WeakKeyDictionary[Any, _Commit] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def poke_after_commit(using: str, row: Row | None = None, count: int = 1) -> None:
    """Poke the process once after the current transaction is committed, or now without one.

    Args:
        using: The alias of the database.
        row: What was published, if it is one publication.
        count: How many publications it is.

    """
    connection = connections[using]
    with _lock:
        commit = _commits.get(connection)
        was_dropped = connection.in_atomic_block and not connection.run_on_commit
        if commit is None or commit.done or was_dropped:
            commit = _commits[connection] = _Commit()
        commit.add(row, count)
    # With autocommit off, nobody knows when the commit comes: the process looks by itself.
    with suppress(TransactionManagementError):
        # One callback for each row: those of a savepoint are dropped if it is rolled back.
        transaction.on_commit(commit.has_come, using=using, robust=True)


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
        logger.info("Hookbox was not told of a publication, and will see it by itself: %s", error)
