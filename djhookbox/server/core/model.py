"""The objects of the core: users, channels, and the subscriptions between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ...wire.names import RESERVED_PREFIX
from ...wire.options import ChannelOptions, UserOptions
from ...wire.values import JSON, JSONObject
from .keeping import OVERHEAD, Shelf, weigh
from .rates import Rate
from .stream import Stream

#: The kinds of history entries that record subscribers joining and leaving.
PRESENCE = ("SUBSCRIBE", "UNSUBSCRIBE")


class Connection(Protocol):
    """What the core needs to know about a connection: its identity and its user.

    Attributes:
        id: Its id.
        user: The connection's user.
        apart: Whether it subscribes and unsubscribes for itself only, not for its user.

    """

    id: str
    user: User | None
    apart: bool

    def __hash__(self) -> int: ...


#: One object for all subscriptions of a server that is alone.
_NOWHERE: frozenset[str] = frozenset()


class Subscription:
    """A user's subscription to a channel; the audience holds the connections it covers.

    Attributes:
        by_code: Made by the site (REST, auto_subscribe), so that a policy change cannot end it.
        since: When it was made, in seconds.
        shared: Whether it is for all of the user's connections, as in 0.3.3.
        elsewhere: Other nodes that have connections of the user in the channel.

    """

    __slots__ = ("by_code", "elsewhere", "shared", "since", "user")

    def __init__(self, user: User, since: float, by_code: bool) -> None:
        self.user = user
        self.since = since
        self.by_code = by_code
        self.shared = False
        self.elsewhere: frozenset[str] = _NOWHERE

    def covers(self, connection: Connection) -> bool:
        """Return whether another connection of the user joins without asking.

        The site, not other pages, subscribes a connection that subscribes for itself.
        """
        return self.shared and (self.by_code or not connection.apart)


class User:
    """A user named by the site; all connections with the same name belong to one user."""

    __slots__ = ("connections", "name", "options", "subscriptions")

    def __init__(self, name: str, options: UserOptions) -> None:
        self.name = name
        self.options = options
        self.connections: dict[Connection, None] = {}
        self.subscriptions: dict[str, Channel] = {}


@dataclass(slots=True)
class HistoryEntry:
    """An entry of a channel's history list, with the time it was made."""

    at: float
    kind: str
    data: JSONObject
    weight: int = 0


#: The history of all channels that never had an entry: an empty deque takes 600 bytes.
_NO_HISTORY: deque[HistoryEntry] = deque(maxlen=0)


class Channel:
    """A named channel.

    Attributes:
        audience: Every connection that receives its frames, kept flat for the fan-out.
        created: When it was created.
        empty_since: When it lost its last subscriber or was created; None while it has any.
        published: The rate of publications to it.
        stream: Its numbered publications; None if they are not numbered.
        state_weight: Bytes of memory that its state uses.
        options_weight: The same for options whose length is not limited.
        version: The version that the engine gave to its last change.
        keeping: On a durable channel, for how many seconds its stream keeps publications.
        recovery: The same on other channels, in addition to those that belong to the history.
        left: When its last subscriber left; 0 if it never had any.
        shelved: What the shelf knows of it, like `is_renewed` and `is_spare`; see `Kept`.

    """

    __slots__ = (
        "_history_weight", "_shelf", "audience", "created", "empty_since", "history", "is_renewed",
        "is_spare", "keeping", "left", "name", "options", "options_weight", "published", "recovery",
        "shelved", "state", "state_weight", "stream", "subscribers", "version",
    )  # fmt: skip

    def __init__(
        self, name: str, options: ChannelOptions, now: float, shelf: Shelf | None = None
    ) -> None:
        self.name = name
        self._shelf = shelf or Shelf()
        self._history_weight = 0
        self.shelved = 0
        self.is_renewed = self.is_spare = False
        self.options = options
        self.subscribers: dict[str, Subscription] = {}
        self.audience: dict[Connection, None] = {}
        self.history = _NO_HISTORY
        self.stream: Stream | None = None
        self.state: JSONObject = {}
        self.state_weight = self.options_weight = 0
        self.created = now
        self.empty_since: float | None = now
        self.published = Rate()
        self.version = 0
        self.keeping = self.recovery = self.left = 0.0

    @property
    def reserved(self) -> bool:
        """Whether its name is reserved for the server and the site."""
        return self.name.startswith(RESERVED_PREFIX)

    def keep(self, now: float) -> None:
        """Restart the time for which it is kept without subscribers."""
        self.empty_since = now

    def presence(self) -> list[str]:
        """Return the subscribers' names in order, if the channel shows them."""
        return list(self.subscribers) if self.options.presenceful else []

    def shown(self, publication: JSONObject) -> JSONObject:
        """Return a publication as shown now; the channel may have become anonymous."""
        if not self.options.anonymous:
            return publication
        return {key: value for key, value in publication.items() if key != "user"}

    def entries(self, now: float) -> Iterator[HistoryEntry]:
        """Yield the history entries that have not expired."""
        oldest = now - self.options.history_duration if self.options.history_duration else None
        return (entry for entry in self.history if oldest is None or entry.at >= oldest)

    def history_list(self, now: float) -> list[list[JSON]]:
        """Return the history in the form that clients receive.

        Entries made before the channel became anonymous do not reveal names either.
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
        """Bytes of memory that its history and its own stream use."""
        own = self._own
        return self._history_weight + (0 if own is None else own.weight)

    @property
    def _own(self) -> Stream | None:
        """Its stream, unless the engine shares it and limits its memory."""
        return None if self.stream is None or self.stream.is_shared else self.stream

    @property
    def held(self) -> int:
        """Bytes of memory that its state and its options use."""
        return self.state_weight + self.options_weight

    def remember(self, now: float, kind: str, data: JSONObject, weight: int = 0) -> None:
        """Append to the history, and drop entries that no longer fit.

        Args:
            now: Seconds since the epoch.
            kind: The kind of the entry.
            data: The content of the entry.
            weight: The bytes of memory that it uses, if known.

        """
        if self.options.history_size > 0:
            weight = weight or OVERHEAD + weigh(data)
            if self.history is _NO_HISTORY:
                self.history = deque()
            self.history.append(HistoryEntry(now, kind, data, weight))
            self._history_weight += weight
        elif self.stream is None or self.stream.is_shared:
            return
        self._trim(now)
        self._shelf.added(self)

    @property
    def spare(self) -> bool:
        """Whether its oldest publication is kept only for clients that return."""
        own = self._own
        return own is not None and len(own.publications) > self.options.history_size

    def drop_oldest(self) -> bool:
        """Drop the oldest entry or publication; return whether there was one."""
        found = False
        own = self._own
        if own is not None and own.publications:
            spare = self.spare
            own.drop_oldest()
            if spare:
                return True
            found = True
        if self.history:
            self._pop()
            found = True
        return found

    def forget(self) -> None:
        """Drop the whole history, but keep the stream."""
        while self.history:
            self._pop()

    def _pop(self) -> None:
        self._history_weight -= self.history.popleft().weight

    def expire(self, now: float) -> None:
        """Drop what is too old, if its stream begins with a publication that may be."""
        stream = self.stream
        oldest = now - self.recovery
        if stream is not None and stream.publications and stream.publications[0].at < oldest:
            self.trim(now)

    def trim(self, now: float) -> None:
        """Drop entries that are too many or too old."""
        self._trim(now)
        self._shelf.changed(self)

    def _trim(self, now: float) -> None:
        if self.stream is not None:
            if self.options.durable:
                self.stream.expire(now, self.keeping)
            else:
                options = self.options
                self.stream.trim(now, options.history_size, options.history_duration, self.recovery)
        while len(self.history) > self.options.history_size:
            self._pop()
        if self.options.history_duration:
            while self.history and self.history[0].at < now - self.options.history_duration:
                self._pop()
