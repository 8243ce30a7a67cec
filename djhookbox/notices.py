"""Revoke rights: store what ends in the transaction, and notify the server after its commit.

The server pulls what is stored, so that nothing depends on the call after the commit; that call
only makes it faster. The revocations of a transaction are sent together, so that editing many rows
costs few calls, and a process that does not answer costs a quarter of a second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.transaction import TransactionManagementError

from . import commits
from .conf import settings
from .exceptions import (
    HookboxError,
    HookboxNotRunning,
    HookboxRefused,
    HookboxUnreachable,
    PayloadError,
)
from .policy.patterns import covering_regex
from .revocations import storing
from .wire.closing import Disconnect
from .wire.revocations import MOST_REVOCATIONS, Revocation

logger = logging.getLogger("djhookbox")

#: With more users than this, all subscriptions are rechecked instead of naming each user.
_MANY_USERS = 1000

#: Users or identities that one revocation names: half a megabyte.
_MANY_DISCONNECTS = 5000
#: Users, identities and patterns that one call names.
_MANY_NAMES = 10_000

#: Seconds to wait for the answer where the server pulls what is stored, and to make no call after
#: one without an answer. Otherwise each request would wait for a process that is stopped.
CALL_SECONDS = 0.25
CALL_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """The result of notifying the server about an edit.

    Attributes:
        channels: How many live channels are affected.
        connections: How many connections are rechecked, or None if the server does not report it.
        error: Why the server could not be notified at once, or None.

    """

    channels: int = 0
    connections: int | None = None
    error: HookboxError | None = None


_listener: ContextVar[list[Told] | None] = ContextVar("_listener", default=None)


@contextmanager
def listening() -> Iterator[list[Told]]:
    """Collect the results of notifying the server until the block ends.

    The list stays empty if an enclosing transaction has not been committed yet.
    """
    told: list[Told] = []
    token = _listener.set(told)
    try:
        yield told
    finally:
        _listener.reset(token)


def _heard(told: Told) -> None:
    listener = _listener.get()
    if listener is not None:
        listener.append(told)


class _Silence:
    """The time after a call without an answer, in which this web process makes no other one."""

    def __init__(self) -> None:
        self._until = 0.0
        self._error: HookboxUnreachable | None = None

    def begin(self, error: HookboxUnreachable) -> None:
        """Begin, because of a call without an answer."""
        self._until = time.monotonic() + CALL_PAUSE
        self._error = error

    def end(self) -> None:
        """End it at once."""
        self._until = 0.0

    def check(self) -> None:
        """Raise the error again while it lasts.

        Raises:
            HookboxUnreachable: It lasts.

        """
        if self._error is not None and time.monotonic() < self._until:
            raise self._error


silence = _Silence()


class Notice(commits.Callback):
    """What ends with the commit of a transaction or savepoint.

    Args:
        using: The database of the transaction.

    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._patterns: set[str] = set()
        self._users: set[str] = set()
        #: By kind (`user` or `identity`) and value: the close code.
        self._disconnects: dict[tuple[str, str], int] = {}
        #: What to send after the commit, and what to store then.
        self._revocations: list[Revocation] = []
        self._unstored: list[Revocation] = []

    @classmethod
    def after_commit(cls, using: str | None) -> Notice:
        """Return the notice of the current transaction or savepoint."""
        alias = using or DEFAULT_DB_ALIAS
        return commits.waiting(connections[alias], cls) or cls(alias)

    # ---- in the transaction ----------------------------------------------

    def disconnect(self, kind: str, values: Iterable[str], code: int, reason: str) -> None:
        """Close the connections of users or identities."""
        names = []
        for value in dict.fromkeys(values):
            if self._disconnects.get((kind, value), 0) < code:  # the server lets the highest win
                self._disconnects[kind, value] = code
                names.append(value)
        self._add([
            _disconnection(kind, names[start : start + _MANY_DISCONNECTS], code, reason)
            for start in range(0, len(names), _MANY_DISCONNECTS)
        ])  # fmt: skip

    def recheck(self, patterns: Iterable[str], users: Iterable[str]) -> None:
        """Recheck subscriptions."""
        new_users = set(users) - self._users
        self._users |= new_users
        new_patterns = set(patterns) - self._patterns
        if len(self._users) > _MANY_USERS:
            new_users, new_patterns = set(), {*new_patterns, ".*"} - self._patterns
        self._patterns |= new_patterns
        if new_users or new_patterns:
            self._add([
                Revocation(
                    storing.new_key(),
                    users=tuple(sorted(new_users)),
                    patterns=tuple(sorted(new_patterns)),
                )
            ])  # fmt: skip

    def _add(self, revocations: Sequence[Revocation]) -> None:
        """Store revocations with what ends the rights, and book the call after the commit.

        If they are stored in another database, that is done after the commit.

        Raises:
            DatabaseError: They could not be stored: then nothing may be changed.

        """
        if not revocations:
            return
        if storing.are_stored():
            if storing.database() == self._using:
                storing.store(revocations)
            else:
                self._unstored += revocations
        self._revocations += revocations
        # With autocommit off, nobody knows when the commit comes: the server finds what is stored.
        with suppress(TransactionManagementError):
            commits.after_commit_once(self._using, self)

    # ---- after the commit ------------------------------------------------

    def __call__(self) -> None:
        """Notify the server."""
        revocations, self._revocations = self._revocations, []
        unstored, self._unstored = self._unstored, []
        seconds = min(CALL_SECONDS, settings.timeout) if storing.are_stored() else None
        if unstored:
            try:
                storing.store(unstored)
            except DatabaseError:
                logger.exception("Revocations could not be stored; they are sent only once.")
                seconds = None
                silence.end()
        try:
            for some in _calls(revocations):
                self._send(some, seconds)
        except HookboxNotRunning as error:
            # As during every deployment: nobody is connected to a process that is not running.
            logger.info("Hookbox is not running, so a change affects no connections.")
            _heard(Told(error=error))
        except HookboxUnreachable as error:
            _heard(Told(error=error))
        except HookboxError as error:
            logger.warning("Could not notify Hookbox of a change: %s", error)
            _heard(Told(error=error))
        storing.tidy_sometimes()

    def _send(self, revocations: Sequence[Revocation], seconds: float | None) -> None:
        """Make one call; one that is refused does not keep the others from being made."""
        from . import client

        silence.check()
        try:
            answer = client.revoke(revocations, seconds)
        except HookboxNotRunning:
            raise
        except HookboxUnreachable as error:
            if seconds is not None:
                silence.begin(error)
            logger.warning("Could not notify Hookbox of a change: %s", error)
            raise
        except (HookboxRefused, PayloadError) as error:
            logger.warning("Could not notify Hookbox of a change: %s", error)
            _heard(Told(error=error))
        else:
            if any(each.patterns for each in revocations):
                _heard(Told(answer.channels or 0, answer.connections))


def _disconnection(kind: str, names: Sequence[str], code: int, reason: str) -> Revocation:
    if kind == "user":
        return Revocation(storing.new_key(), code, reason, users=tuple(names))
    return Revocation(storing.new_key(), code, reason, identities=tuple(names))


def _calls(revocations: Sequence[Revocation]) -> Iterator[list[Revocation]]:
    """Divide revocations among calls; one that names many users gets its own call."""
    some: list[Revocation] = []
    names = 0
    for each in revocations:
        size = len(each.users) + len(each.identities) + len(each.patterns)
        if some and (names + size > _MANY_NAMES or len(some) == MOST_REVOCATIONS):
            yield some
            some, names = [], 0
        some.append(each)
        names += size
    if some:
        yield some


def disconnect(
    using: str | None, kind: str, values: Iterable[str], close: Disconnect, reason: str
) -> None:
    """Close the connections of users or identities when the current transaction is committed.

    Args:
        using: The database of the transaction.
        kind: `user` or `identity`.
        values: Names of users, or identities.
        close: The close code.
        reason: The reason sent to the pages.

    """
    Notice.after_commit(using).disconnect(kind, values, close.code, reason)


def recheck(using: str | None, *, patterns: Iterable[str] = (), users: Iterable[str] = ()) -> None:
    """Recheck subscriptions when the current transaction is committed.

    Args:
        using: The database of the transaction.
        patterns: Recheck subscriptions on channels of these patterns.
        users: Recheck all subscriptions of users with these names.

    """
    Notice.after_commit(using).recheck(map(covering_regex, patterns), users)
