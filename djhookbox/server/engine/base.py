"""What an engine has to do; a persistent one can take the place of memory."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from ..core.changes import Accepted, Change
from ..core.log import Position


class EngineError(Exception):
    """The engine cannot do something at the moment, and has not done it.

    An engine that does not know whether something was done finds out, or repeats it until it
    does; it never raises this for what may have happened.
    """


class NotOpen(Exception):
    """A change of a channel that was never created, or has been destroyed."""


class Engine(Protocol):
    """Puts the changes of each channel into one order, and keeps its publications.

    Every change of a channel is proposed here first, and applied to the core when it has been
    accepted; nobody sees anything of it before. From Create to Destroy a channel is open. If it
    has a history, its publications are a stream, numbered 1, 2, 3… within an epoch: a number
    that a client has seen is never given to another publication of the epoch.

    The log of a live channel is in the core as well; the engine has what outlives the channel,
    and if it is persistent the process. Where a stream cannot be given back as it was, it
    begins anew under another epoch: then clients learn that they may have missed something.

    `propose` is called for one channel at a time, and again only when the answer is there.
    """

    name: str

    def propose(self, channel: str, change: Change) -> Accepted | Awaitable[Accepted]:
        """Take a change in.

        Create opens the channel and returns its stream, if it has a history; an open one goes on
        (its process may have died). Options say how many publications a stream keeps, and for
        how long; without a history there is no stream, and what was kept is dropped. Destroy
        closes the channel: what has no duration of its own is kept as long as that says.

        Args:
            channel: The channel.
            change: What is to happen.

        Returns:
            The version, and a number for a publication: at once, or when it is awaited.

        Raises:
            NotOpen: There is no such channel; raised here or when awaited, as the next.
            EngineError: Nothing was done; nobody will see the change.

        """
        ...

    async def position(self, channel: str, now: float) -> Position | None:
        """Return where the stream of a channel stands.

        One of a channel that is not open begins if need be. None for an open channel without a
        history.
        """
        ...

    async def forget(self, channel: str) -> None:
        """Drop the stream of a channel that is not open: a publication has passed it by."""
        ...

    async def expire(self, now: float) -> None:
        """Drop what has expired; epochs and offsets stay, as far as there is room."""
        ...
