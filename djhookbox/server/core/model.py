"""The things the core knows: users, channels, and subscriptions between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ...wire.names import RESERVED_PREFIX
from .keeping import OVERHEAD, Shelf, weigh
from .log import Log
from .options import ChannelOptions, UserOptions
from .rates import Rate

#: The kinds of history entries that say who came and who went.
PRESENCE = ("SUBSCRIBE", "UNSUBSCRIBE")


class Connection(Protocol):
    """All that the core needs of a connection: an identity, and whose it is.

    Attributes:
        user: Whose it is.
        apart: Whether it subscribes and unsubscribes for itself only, and not for its user.

    """

    user: User | None
    apart: bool

    def __hash__(self) -> int: ...


class Subscription:
    """A user in a channel; which of the user's connections are in it, its audience says.

    Attributes:
        by_code: Made by the site (REST, auto_subscribe), so an edited policy cannot end it.
        since: When it was made, in seconds.
        shared: Whether it is one of all the user's connections, as in 2011.

    """

    __slots__ = ("by_code", "shared", "since", "user")

    def __init__(self, user: User, since: float, by_code: bool) -> None:
        self.user = user
        self.since = since
        self.by_code = by_code
        self.shared = False

    def covers(self, connection: Connection) -> bool:
        """Return whether another connection of the user joins without asking for it.

        One that subscribes for itself is put into channels by the site, not by other pages.
        """
        return self.shared and (self.by_code or not connection.apart)


class User:
    """Somebody whom the site named; all connections with the same name are one user."""

    __slots__ = ("connections", "name", "options", "subscriptions")

    def __init__(self, name: str, options: UserOptions) -> None:
        self.name = name
        self.options = options
        self.connections: dict[Connection, None] = {}
        self.subscriptions: dict[str, Channel] = {}


@dataclass(slots=True)
class HistoryEntry:
    """An entry of a channel's history list, and when it was made."""

    at: float
    kind: str
    data: dict[str, Any]
    weight: int = 0


class Channel:
    """A named channel.

    Attributes:
        audience: Every connection that receives its frames, kept flat for the fan-out.
        created: When it came into being.
        empty_since: When it had its last subscriber, or came into being; None while it has any.
        published: How often somebody publishes to it.
        log: Its publications with their numbers; None if it has no history.
        version: That of the last change, given by the engine.

    """

    __slots__ = (
        "_history_weight", "_shelf", "audience", "created", "empty_since", "history", "log", "name",
        "options", "published", "state", "subscribers", "version",
    )  # fmt: skip

    def __init__(
        self, name: str, options: ChannelOptions, now: float, shelf: Shelf | None = None
    ) -> None:
        self.name = name
        self._shelf = shelf or Shelf()
        self._history_weight = 0
        self.options = options
        self.subscribers: dict[str, Subscription] = {}
        self.audience: dict[Connection, None] = {}
        self.history: deque[HistoryEntry] = deque()
        self.log: Log | None = None
        self.state: dict[str, Any] = {}
        self.created = now
        self.empty_since: float | None = now
        self.published = Rate()
        self.version = 0

    @property
    def reserved(self) -> bool:
        """Whether it belongs to the server and the site."""
        return self.name.startswith(RESERVED_PREFIX)

    def presence(self) -> list[str]:
        """Return the names of the subscribers in order, if the channel shows them."""
        return list(self.subscribers) if self.options.presenceful else []

    def shown(self, publication: dict[str, Any]) -> dict[str, Any]:
        """Return a publication as it is shown now; the channel may have become anonymous."""
        if not self.options.anonymous:
            return publication
        return {key: value for key, value in publication.items() if key != "user"}

    def entries(self, now: float) -> Iterator[HistoryEntry]:
        """Yield the history entries that have not expired."""
        oldest = now - self.options.history_duration if self.options.history_duration else None
        return (entry for entry in self.history if oldest is None or entry.at >= oldest)

    def history_list(self, now: float) -> list[list[Any]]:
        """Return the history as clients read it.

        What was entered before the channel became anonymous names nobody either.
        """
        if not self.options.anonymous:
            return [[entry.kind, entry.data] for entry in self.entries(now)]
        return [
            [entry.kind, self.shown(entry.data)]
            for entry in self.entries(now)
            if entry.kind not in PRESENCE
        ]

    @property
    def weight(self) -> int:
        """Bytes of memory that its history and its log take up."""
        return self._history_weight + (0 if self.log is None else self.log.weight)

    def remember(self, now: float, kind: str, data: dict[str, Any], weight: int = 0) -> None:
        """Append to the history, and drop what no longer fits.

        Args:
            now: Seconds since the epoch.
            kind: The kind of the entry.
            data: What it says.
            weight: Bytes of memory that it takes up, if they are known.

        """
        if self.options.history_size > 0:
            weight = weight or OVERHEAD + weigh(data)
            self.history.append(HistoryEntry(now, kind, data, weight))
            self._history_weight += weight
            self.trim(now)
            self._shelf.added(self)

    def drop_oldest(self) -> bool:
        """Drop the oldest that it remembers; tell whether there was anything."""
        found = False
        if self.log is not None and self.log.publications:
            self.log.drop_oldest()
            found = True
        if self.history:
            self._pop()
            found = True
        return found

    def forget(self) -> None:
        """Drop the whole history; the log stays."""
        while self.history:
            self._pop()

    def _pop(self) -> None:
        self._history_weight -= self.history.popleft().weight

    def trim(self, now: float) -> None:
        """Drop what is too much or too old."""
        if self.log is not None:
            self.log.trim(now, self.options.history_size, self.options.history_duration)
        while len(self.history) > self.options.history_size:
            self._pop()
        if self.options.history_duration:
            while self.history and self.history[0].at < now - self.options.history_duration:
                self._pop()
        self._shelf.changed(self)
