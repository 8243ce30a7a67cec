"""The effects of calls to the core; the shell performs them in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .model import Channel, Connection


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame to certain connections."""

    connections: Collection[Connection]
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a frame to a channel's audience, except for the excluded connection."""

    channel: Channel
    name: str
    args: Mapping[str, Any]
    exclude: Connection | None = None


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
