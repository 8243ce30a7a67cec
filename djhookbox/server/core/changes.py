"""The changes of a channel: each is proposed to the engine, and applied once accepted.

A change says what is requested. Its effect is determined when it is applied (`applying`), on the
channel as it is by then: other changes may have been applied first.

The most frequent changes are tuples, which take half the time to create.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ...wire.fields import ABSENT
from ...wire.values import JSON, JSONObject
from .effects import Made
from .model import Connection, User
from .stream import Position, Publication, StreamState

#: Time, kind and data of an entry of Hookbox's history.
HistoryEntry: TypeAlias = tuple[float, str, JSONObject]


@dataclass(frozen=True, slots=True)
class Create:
    """Create a channel.

    Attributes:
        given: Checked options, as in a create_channel reply.
        at: The time in seconds since the epoch, as for all changes.
        stream: On a durable channel, the stream as the site has it.

    """

    given: Mapping[str, JSON]
    at: float
    stream: StreamState | None = None


@dataclass(frozen=True, slots=True)
class Destroy:
    """Destroy a channel.

    Attributes:
        linger: Seconds to keep publications that have no duration of their own.
        only_empty: Destroy the channel only if it has no subscribers.
        left: When its last subscriber left; 0 if it had none.

    """

    at: float
    linger: float = 0.0
    only_empty: bool = False
    left: float = 0.0


class Publish(NamedTuple):
    """Publish to a channel.

    Attributes:
        data: `payload`, `datetime` and, unless the channel is anonymous, `user`.
        origin: The sending connection, which does not receive the publication if the channel is
            not reflective.
        stored: On a durable channel, the publication as the site has numbered it.
        epoch: Its epoch.
        key: The key that code gave, which makes a repetition the same publication.
        polled: Whether only the node that polls the channel may make it.
        made: When and where code made it; other nodes are not told.

    """

    data: JSONObject
    at: float
    origin: Connection | None = None
    stored: Publication | None = None
    epoch: str = ""
    key: str = ""
    polled: bool = False
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe a user to a channel.

    Attributes:
        user: The user.
        connection: The connection that asks for it, if any. It matters only for subscriptions
            per connection, and for catching up.
        initial_data: The data that the site gives to the subscriber.
        by_code: Whether the site subscribed the user on its own initiative.
        since: The connection's position. It receives everything after that, even if it is
            already subscribed.
        told: Whether another node of the user has asked for it.
        displaced: If the user arrived on that node just before: the history entries that this
            displaced, at most one.

    """

    user: User
    connection: Connection | None
    at: float
    initial_data: JSON = ABSENT
    by_code: bool = False
    since: Position | None = None
    told: bool = False
    displaced: Sequence[object] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe a user from a channel.

    Attributes:
        user: The user.
        reason: The reason, if the user lost the right.
        connection: The connection that asks for it, if any. The subscriptions of the user's
            other connections are kept.
        told: Whether it concerns only this node: its connections have ended, or another node of
            the user has asked for it.

    """

    user: User
    at: float
    reason: str = ""
    connection: Connection | None = None
    told: bool = False


@dataclass(frozen=True, slots=True)
class Reload:
    """Replace the stream of a durable channel by what the site has; subscribers catch up.

    Attributes:
        stream: The stream as the site has it.

    """

    stream: StreamState
    at: float


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Change options, which must have been checked; they may include `history` and `state`."""

    given: Mapping[str, JSON]
    at: float


class SetState(NamedTuple):
    """Change and delete keys of a channel's state."""

    updates: Mapping[str, JSON]
    deletes: tuple[str, ...] = ()


Change: TypeAlias = (
    Create | Destroy | Publish | Subscribe | Unsubscribe | Reload | SetOptions | SetState
)


@dataclass(frozen=True, slots=True)
class Member:
    """A subscriber of a channel, and the nodes that have connections of it in the channel."""

    name: str
    since: float
    shared: bool
    by_code: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of a channel at one version.

    Attributes:
        id: The channel's opening.
        changed: The version of the last change of options.
        options: As in a create_channel reply, without `history` and `state`.
        history: Time, kind and data of each entry.
        created: Whether the channel did not exist before.

    """

    id: str
    version: int
    changed: int
    options: JSONObject
    state: JSONObject
    history: Sequence[HistoryEntry]
    members: Sequence[Member]
    stream: StreamState | None
    at: float
    created: bool


class Accepted(NamedTuple):
    """The engine's acceptance of a change: it will be applied, and nothing can precede it.

    Attributes:
        version: A number greater than that of every earlier change of the channel.
        publication: The numbered publication, for Publish if the channel has a history.
        stream: The publications that are kept, for Create and SetOptions if the channel has a
            history and had none before.
        snapshot: For Create, the channel as other nodes have it, if they do.
        elsewhere: For Publish, the number of connections of other nodes that receive it.
        known: For Publish, where the same publication is already, if its key has been used.
        void: Whether nothing was changed, so that nothing is to be applied.

    """

    version: int
    publication: Publication | None = None
    stream: StreamState | None = None
    snapshot: Snapshot | None = None
    elsewhere: int = 0
    known: Position | None = None
    void: bool = False
