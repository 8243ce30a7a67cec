"""What an engine has to do; a persistent one can take the place of memory."""

from __future__ import annotations

from typing import Protocol

from ..core.log import LogState, Position, Publication


class EngineError(Exception):
    """The engine cannot keep or give something at the moment."""


class Engine(Protocol):
    """Keeps the log of publications of each channel that has a history.

    The log of a live channel is in the core; the engine has what outlives the channel, and if
    it is persistent the process. It is told of a publication before anybody sees it: a number
    that a client has seen is never given to another publication of the epoch. Calls for one
    channel are made one after the other.

    Where a log cannot be given back as it was, it begins anew under another epoch: then
    clients learn that they may have missed something.
    """

    name: str

    async def load(self, channel: str, now: float) -> LogState:
        """Return the log of a channel that comes into being; it begins if there is none.

        Until `release` nothing of it expires but by its own duration.
        """
        ...

    async def append(
        self, channel: str, epoch: str, publication: Publication, *, size: int, duration: float
    ) -> None:
        """Keep a publication.

        Args:
            channel: The channel.
            epoch: If it is another than before, the log begins anew with this publication.
            publication: Its offset follows the one before. One that is given again, because
                the call before failed or was cancelled, takes the place of what nobody saw.
            size: How many publications the log has at most.
            duration: How many seconds each is kept; 0 for as long as the channel lives.

        Raises:
            EngineError: It was not kept; nobody will see it.

        """
        ...

    async def position(self, channel: str, now: float) -> Position:
        """Return where the log of a channel that does not live stands; it begins if need be."""
        ...

    async def release(self, channel: str, now: float, linger: float) -> None:
        """Note that a channel is gone; what has no duration of its own lingers so long."""
        ...

    async def forget(self, channel: str, epoch: str = "") -> None:
        """Drop a log, of this epoch if one is given: publications pass it by from now on."""
        ...

    async def expire(self, now: float) -> None:
        """Drop what has expired; epochs and offsets stay, as far as there is room."""
        ...
