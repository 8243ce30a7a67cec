"""The interface of engines; a persistent engine can replace the one in memory."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from typing import Protocol

from ..core.changes import Accepted, Change
from ..core.stream import Position


class EngineError(Exception):
    """The engine cannot do something at the moment, and has not done it.

    An engine that does not know whether an operation succeeded must find out, or repeat it until
    it succeeds. It must never raise this for an operation that may have succeeded.
    """


class Unusable(Exception):
    """An engine that the server cannot start with; the text is a sentence that says why."""


class Turn(Enum):
    """Which node may poll a channel."""

    OTHER = b"0"
    MINE = b"1"
    #: None: it had to be polled once, and has been.
    NONE = b"2"


class NotOpen(Exception):
    """A change of a channel that was never created, or has been destroyed."""


class Engine(Protocol):
    """Put the changes of each channel into one order, and keep its publications.

    Every change of a channel is proposed here first, and applied to the core once it has been
    accepted; nobody sees any of it before. A channel is open from Create to Destroy. Its
    publications form a stream, numbered 1, 2, 3… within an epoch: a number that a client has seen
    is never given to another publication of the epoch. The stream keeps what belongs to the history
    and what is younger than the recovery time of the engine; with a recovery time of 0, a channel
    without a history has no stream.

    The core also has the stream of a live channel: a copy, or the engine's own if that is in this
    process and answers directly (`StreamState.shared`). The engine stores what outlives the channel
    and, if it is persistent, the process. If a stream cannot be restored as it was, it starts again
    under another epoch, from which clients learn that they may have missed publications.

    `propose` is called for one channel at a time, and again only after the answer.
    """

    name: str

    def propose(self, channel: str, change: Change) -> Accepted | Awaitable[Accepted]:
        """Accept a change.

        Create opens the channel and returns its stream, if it has one; an open channel
        continues (its process may have died). Options set how many publications a stream keeps,
        and for how long, beyond the recovery time; if there is no stream any more, kept
        publications are dropped. Destroy closes the channel: it sets how long to keep publications
        of a history without a duration. Streams without a history are kept for the recovery time
        after the last subscriber left, and nothing is left of them then.

        Args:
            channel: The channel.
            change: The change to make.

        Returns:
            The version, and a number for a publication; directly or when awaited.

        Raises:
            NotOpen: If the channel is not open; raised directly or when awaited, like the next.
            EngineError: If nothing was done; nobody will see the change.

        """
        ...

    async def position(self, channel: str, now: float, history: bool = True) -> Position | None:
        """Return the position of a channel's stream; None for an open channel without one.

        The stream of a channel that is not open is created if necessary, and kept for the recovery
        time at least.

        Args:
            channel: The channel.
            now: The time in seconds since the epoch.
            history: Whether the channel would have a history; its position is kept for longer.

        """
        ...

    async def forget(self, channel: str, now: float) -> bool:
        """Drop the stream of a channel that is not open and would miss a publication.

        Within the recovery time after the last subscriber left, or after its position was asked
        for, it is kept.

        Returns:
            Whether the channel has no stream now; otherwise it must be opened and published to.

        """
        ...

    async def expire(self, now: float) -> None:
        """Drop expired publications; keep epochs and offsets while there is room."""
        ...
