"""Notify the server after a transaction is committed.

The calls of a transaction are combined, so that editing many rows costs few calls, and a process
that is not running costs one refused connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from . import commits
from .exceptions import HookboxError, HookboxNotRunning
from .policy.patterns import covering_regex
from .wire.closing import Disconnect

logger = logging.getLogger("djhookbox")

#: With more users than this, all subscriptions are rechecked instead of naming each user.
_MANY_USERS = 1000

#: Users or identities whose connections one call closes: half a megabyte.
_MANY_DISCONNECTS = 5000

_PLURALS = {"user": "users", "identity": "identities"}


@dataclass(frozen=True, slots=True)
class Told:
    """The result of notifying the server about an edit.

    Attributes:
        channels: How many live channels are affected.
        connections: How many connections are rechecked, or None if the server does not report it.
        error: Why the server could not be notified, or None.

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


class Notice:
    """What the server is notified of after a commit."""

    def __init__(self) -> None:
        self.patterns: set[str] = set()
        self.users: set[str] = set()
        #: By kind (`user` or `identity`) and value: close code and reason.
        self.disconnects: dict[tuple[str, str], tuple[int, str]] = {}

    @classmethod
    def after_commit(cls, using: str | None) -> Notice:
        """Return the notice of the current transaction or savepoint."""
        return commits.waiting(using, cls) or cls()

    def book(self, using: str | None) -> None:
        """Notify the server after commit, or at once if no transaction is open."""
        commits.after_commit_once(using, self)

    def __call__(self) -> None:
        """Notify the server."""
        from . import client

        try:
            self._disconnect()
            if self.patterns:
                answer = client.recheck(sorted(self.patterns))
                _heard(Told(answer.channels or 0, answer.connections))
            if len(self.users) > _MANY_USERS:
                client.recheck([".*"])
            elif self.users:
                client.recheck([".*"], users=sorted(self.users))
        except HookboxNotRunning as error:
            # As during every deployment: nobody is connected to a process that is not running.
            logger.info("Hookbox is not running, so a change affects no connections.")
            _heard(Told(error=error))
        except HookboxError as error:
            logger.warning("Could not notify Hookbox of a change: %s", error)
            _heard(Told(error=error))

    def _disconnect(self) -> None:
        """Close the connections of removed users and identities, many with one call."""
        from . import client

        ends: dict[tuple[int, str], dict[str, list[str]]] = {}
        for (kind, value), end in self.disconnects.items():
            ends.setdefault(end, {"user": [], "identity": []})[kind].append(value)
        for (code, reason), values in ends.items():
            for kind, all_of_kind in values.items():
                for start in range(0, len(all_of_kind), _MANY_DISCONNECTS):
                    chunk = all_of_kind[start : start + _MANY_DISCONNECTS]
                    if len(chunk) == 1:
                        client.disconnect(**{kind: chunk[0]}, code=code, reason=reason)
                    else:
                        client.disconnect_all(**{_PLURALS[kind]: chunk}, code=code, reason=reason)


def disconnect(
    using: str | None, kind: str, values: Iterable[str], close: Disconnect, reason: str
) -> None:
    """Close the connections of users or identities after the current transaction is committed.

    Args:
        using: The database of the transaction.
        kind: `user` or `identity`.
        values: Names of users, or identities.
        close: The close code.
        reason: The reason sent to the pages.

    """
    code = close.code
    notice = Notice.after_commit(using)
    for value in values:
        if notice.disconnects.get((kind, value), (0, ""))[0] < code:  # deleted wins
            notice.disconnects[kind, value] = (code, reason)
    if notice.disconnects:
        notice.book(using)


def recheck(using: str | None, *, patterns: Iterable[str] = (), users: Iterable[str] = ()) -> None:
    """Recheck subscriptions after the current transaction is committed.

    Args:
        using: The database of the transaction.
        patterns: Recheck subscriptions on channels of these patterns.
        users: Recheck all subscriptions of users with these names.

    """
    notice = Notice.after_commit(using)
    notice.patterns.update(covering_regex(pattern) for pattern in patterns)
    notice.users.update(users)
    if notice.patterns or notice.users:
        notice.book(using)
