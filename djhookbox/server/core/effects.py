"""What a call to the core wants done; the shell carries it out in this order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .model import Channel, Connection


@dataclass(frozen=True, slots=True)
class Send:
    """A frame to certain connections."""

    connections: Collection[Connection]
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A frame to a channel's audience, but not to the excluded connection."""

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


Effect: TypeAlias = Send | Broadcast | Emptied | PollingChanged
