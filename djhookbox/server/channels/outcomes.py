"""What becomes of proposed changes."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

from ...wire import answers
from ..core.stream import Position
from ..engine.base import EngineError, NotOpen
from ..refusals import Refusal

logger = logging.getLogger("djhookbox.server")


class Applied(NamedTuple):
    """The result of a change.

    Attributes:
        delivered: The number of connections a broadcast was sent to.
        position: The position of a publication in the channel's stream, if it is numbered.

    """

    delivered: int
    position: Position | None = None

    def answer(self, reported: bool | None = None) -> answers.Published:
        """Return the REST answer to a publication, and whether an event will report it."""
        if self.position is None:
            return _unnumbered(self.delivered, reported)
        return answers.Published(self.delivered, *self.position, reported)


@lru_cache(maxsize=1024)
def _unnumbered(delivered: int, reported: bool | None) -> answers.Published:
    # A frozen record takes a microsecond to create, and most channels give the same few answers.
    return answers.Published(delivered, reported=reported)


class EngineFailed(Refusal):
    """The engine failed, so nothing was done."""

    def __init__(self) -> None:
        reason = "The history of this channel cannot be kept now; try again later"
        super().__init__(reason, "unavailable")


class Unanswered(EngineFailed):
    """The engine did not answer in time: the change may still be made."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = "It is not known yet whether this was done; try again later, with a key"


class ChannelGone(Refusal):
    """The channel is gone; another channel may have its name by now."""

    def __init__(self) -> None:
        super().__init__("The channel was destroyed in the meantime")


def refusal(name: str, error: EngineError | NotOpen) -> Refusal:
    """Return the refusal for a failure of the engine."""
    if isinstance(error, NotOpen):
        return ChannelGone()
    logger.error("The engine failed for %r: %s", name, error)
    return EngineFailed()
