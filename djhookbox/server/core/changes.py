"""The changes of a channel: each is proposed to the engine, and applied when it comes back.

A change says what somebody wants. What it does is decided when it is applied (`applying`), on
the channel as it is by then: other changes may have come first.

The most frequent are tuples, which are made in half the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from .log import LogState, Position, Publication
from .model import Connection, User

#: Marks an argument that was not given, where None is a value.
MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Create:
    """Bring a channel into being.

    Attributes:
        given: Checked options as in a create_channel reply.
        at: When, in seconds since the epoch, as for all changes.

    """

    given: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Destroy:
    """End a channel.

    Attributes:
        linger: Seconds for which publications without a duration of their own are kept.
        only_empty: Only if nobody is in it.

    """

    at: float
    linger: float = 0.0
    only_empty: bool = False


class Publish(NamedTuple):
    """Publish to a channel.

    Attributes:
        data: `payload`, `datetime` and, unless the channel is anonymous, `user`.
        origin: The connection it came from, which does not get it if the channel is not
            reflective.

    """

    data: dict[str, Any]
    at: float
    origin: Connection | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Put a user into a channel.

    Attributes:
        user: Who.
        connection: The connection that asks for it, if one does. It matters only where
            subscriptions are per connection, and to what has been seen.
        initial_data: What the site gives to the subscriber.
        by_code: Whether the site has said so by itself.
        since: What that connection has seen: it is sent what came after, even if it is in the
            channel already.

    """

    user: User
    connection: Connection | None
    at: float
    initial_data: Any = MISSING
    by_code: bool = False
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Take a user out of a channel.

    Attributes:
        user: Who.
        reason: Why, if the user lost the right.
        connection: The connection that asks for it, if one does. What belongs to the user's
            other connections stays.

    """

    user: User
    at: float
    reason: str = ""
    connection: Connection | None = None


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Change options, which have been checked; `history` and `state` among them."""

    given: Mapping[str, Any]
    at: float


class SetState(NamedTuple):
    """Change and delete keys of a channel's state."""

    updates: Mapping[str, Any]
    deletes: tuple[str, ...] = ()


Change: TypeAlias = Create | Destroy | Publish | Subscribe | Unsubscribe | SetOptions | SetState


class Accepted(NamedTuple):
    """What the engine says of a change: it will be applied, and nothing can come before it.

    Attributes:
        version: Greater than that of every earlier change of the channel.
        publication: With Publish, if the channel has a history: the publication with its number.
        stream: With Create and SetOptions, if the channel has a history and had none: what is
            kept of its publications.

    """

    version: int
    publication: Publication | None = None
    stream: LogState | None = None
