"""What the server is told once a transaction is committed.

The calls of one transaction are put together, so that editing many rows costs few calls, and a
process that does not run costs one refused connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from . import transactions
from .exceptions import HookboxError, HookboxNotRunning
from .policy.patterns import reach
from .wire.closing import Disconnect

logger = logging.getLogger("djhookbox")

#: More users than this are not named one by one: all subscriptions are asked for again.
_MANY_USERS = 1000

#: Users or identities whose connections one call closes: half a megabyte.
_MANY_DEPARTURES = 5000

_PLURALS = {"user": "users", "identity": "identities"}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling the server about an edit.

    Attributes:
        channels: How many live channels it concerns.
        connections: How many connections are asked about, None if the server does not say.
        error: Why it could not be told, None if it was.

    """

    channels: int = 0
    connections: int | None = None
    error: HookboxError | None = None


_listener: ContextVar[list[Told] | None] = ContextVar("_listener", default=None)


@contextmanager
def listening() -> Iterator[list[Told]]:
    """Collect what comes of telling the server, until the block ends.

    It stays empty where a transaction around the block has yet to be committed.
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
    """What the server is told once a transaction is committed."""

    def __init__(self) -> None:
        self.patterns: set[str] = set()
        self.users: set[str] = set()
        #: By kind (`user` or `identity`) and value: close code and reason.
        self.departures: dict[tuple[str, str], tuple[int, str]] = {}

    @classmethod
    def after_commit(cls, using: str | None) -> Notice:
        """Return the notice of the transaction, or of the savepoint, that is open now."""
        return transactions.waiting(using, cls) or cls()

    def book(self, using: str | None) -> None:
        """Have the server told after commit, at once if no transaction is open."""
        transactions.after_commit_once(using, self)

    def __call__(self) -> None:
        """Tell the server."""
        from . import client

        try:
            self._send_away()
            if self.patterns:
                answer = client.recheck(sorted(self.patterns))
                _heard(Told(answer.channels or 0, answer.connections))
            if len(self.users) > _MANY_USERS:
                client.recheck([".*"])
            elif self.users:
                client.recheck([".*"], users=sorted(self.users))
        except HookboxNotRunning as error:
            # As in every deploy script: nobody is connected to a process that does not run.
            logger.info("Hookbox is not running, so a change affects no connections.")
            _heard(Told(error=error))
        except HookboxError as error:
            logger.warning("Could not notify Hookbox of a change: %s", error)
            _heard(Told(error=error))

    def _send_away(self) -> None:
        """Close the connections of those who go, with one call for many of them."""
        from . import client

        ends: dict[tuple[int, str], dict[str, list[str]]] = {}
        for (kind, value), end in self.departures.items():
            ends.setdefault(end, {"user": [], "identity": []})[kind].append(value)
        for (code, reason), values in ends.items():
            for kind, all_of_kind in values.items():
                for start in range(0, len(all_of_kind), _MANY_DEPARTURES):
                    chunk = all_of_kind[start : start + _MANY_DEPARTURES]
                    if len(chunk) == 1:
                        client.disconnect(**{kind: chunk[0]}, code=code, reason=reason)
                    else:
                        client.disconnect_all(**{_PLURALS[kind]: chunk}, code=code, reason=reason)


def depart(
    using: str | None, kind: str, values: Iterable[str], disconnect: Disconnect, reason: str
) -> None:
    """Have the connections of users or identities closed once the open transaction is committed.

    Args:
        using: The database of the transaction.
        kind: `user` or `identity`.
        values: Names of users, or identities.
        disconnect: The close code.
        reason: What the pages are told.

    """
    code = disconnect.code
    notice = Notice.after_commit(using)
    for value in values:
        if notice.departures.get((kind, value), (0, ""))[0] < code:  # gone outweighs changed
            notice.departures[kind, value] = (code, reason)
    if notice.departures:
        notice.book(using)


def recheck(using: str | None, *, patterns: Iterable[str] = (), users: Iterable[str] = ()) -> None:
    """Have subscriptions asked about again once the open transaction is committed.

    Args:
        using: The database of the transaction.
        patterns: Those on the channels of these patterns.
        users: All those of the users of these names.

    """
    notice = Notice.after_commit(using)
    notice.patterns.update(reach(pattern) for pattern in patterns)
    notice.users.update(users)
    if notice.patterns or notice.users:
        notice.book(using)
