"""The streams of durable channels as they are sent in the reply to the webhook `outbox`.

A channel without a publication has no row yet. Its position is then called `<incarnation>-<number>`
in place of an epoch, with the offset 0: what has a higher number comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .fields import Name
from .revocations import Position, Revocations

#: Maximum number of publications in a reply, and of the characters of their payloads.
MOST_ENTRIES = 500
MOST_TEXT = 1_048_576
#: Maximum number of streams to ask for in one call.
MOST_STREAMS = 100


def before(incarnation: str, number: int) -> str:
    """Return the epoch of a channel that had no publication at a number."""
    return f"{incarnation}-{number}"


def number_of(incarnation: str, epoch: str) -> int | None:
    """Return the number in an epoch that `before` has made, or None for other epochs."""
    head, _, digits = epoch.rpartition("-")
    if head != incarnation or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


@dataclass(frozen=True, slots=True)
class Entry:
    """A publication.

    Attributes:
        number: Its place among the publications of all durable channels.
        channel: The name of its channel; omitted inside of a stream, as is `epoch`.
        offset: Its place in the channel's stream.
        payload: The message as JSON text.
        user: The name of the sender.
        conn_id: The connection that sent it.
        key: Its key.
        at: The time of `publish()`, in seconds since the epoch.
        age: Seconds since it was numbered, by the database's clock.
        trace: The trace in which it was made (W3C `traceparent`).

    """

    number: int
    offset: int
    payload: str
    channel: str = ""
    epoch: str = ""
    user: str | None = None
    conn_id: str | None = None
    key: str | None = None
    at: float = 0.0
    age: float = 0.0
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A channel's position and its latest publications, as of a number.

    Attributes:
        began: The last number before its epoch.
        renewed: Whether the channel had another epoch before.
        entries: The latest publications, or those before a requested offset; oldest first,
            without gaps.

    """

    channel: str
    epoch: str
    offset: int = 0
    began: int = 0
    renewed: bool = False
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stream that a node asks for.

    Attributes:
        epoch: Together with `before`, asks for the publications before an offset of an epoch.

    """

    channel: Name
    epoch: str = ""
    before: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A publication that was not stored again, because one with its key exists.

    Attributes:
        number: The number of that one.

    """

    channel: str
    key: str
    epoch: str = ""
    offset: int = 0
    number: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The reply to `outbox`.

    Attributes:
        incarnation: Of the table.
        number: The last number that this reply covers.
        token: The token of that number's row.
        as_of: The number as of which the streams were read.
        over: Whether the node must start over: what it has does not continue.
        more: Whether there is more to pull at once.
        revocations: The revocations that the node lacks, unless they could not be read.
        unavailable: Whether publications could not be read now; the node asks again.

    """

    incarnation: str
    number: int
    token: str
    as_of: int = 0
    over: bool = False
    more: bool = False
    entries: tuple[Entry, ...] = ()
    streams: tuple[StreamPart, ...] = ()
    keys: tuple[Key, ...] = ()
    revocations: Revocations | None = None
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the site has numbered without being asked, and what it continues.

    Attributes:
        number: The last number before it.
        token: The token of that number.
        revoked: The last revocation; none waits for a number.
        pulled: What a pull would have returned: `entries` and where they end.

    """

    number: int
    token: str
    revoked: Position
    pulled: Pulled
