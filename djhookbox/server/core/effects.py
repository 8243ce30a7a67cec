"""The effects of calls to the core; the shell performs them in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ...wire.values import JSON
from .model import Channel, Connection


class Made(NamedTuple):
    """When and where a publication was made by code.

    Attributes:
        at: The time of `publish()`, in seconds since the epoch, by the publisher's clock.
        trace: Its trace (`traceparent`), if there is one.
        arrived: When it arrived here, in nanoseconds since the epoch; 0 without a trace.

    """

    at: float
    trace: str = ""
    arrived: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame to certain connections."""

    connections: Collection[Connection]
    name: str
    args: Mapping[str, JSON]


class Broadcast(NamedTuple):
    """Send a frame to a channel's audience, except for the excluded connection.

    Attributes:
        made: When and where it was made, if that is known.

    """

    channel: Channel
    name: str
    args: Mapping[str, JSON]
    exclude: Connection | None = None
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Emptied:
    """The last subscriber of a channel has left."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class PollingChanged:
    """The channel's poller must be started, stopped or restarted."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class PresenceDue:
    """The channel's state must be changed to show whether a user is connected."""

    channel: Channel
    name: str


Effect: TypeAlias = Send | Broadcast | Emptied | PollingChanged | PresenceDue
