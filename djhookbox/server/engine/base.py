"""What an engine has to do; a persistent one can take the place of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication in a channel's log.

    Attributes:
        offset: Its number in the log; the first of an epoch is 1.
        at: When it was made, in seconds since the epoch of time.
        data: `payload`, `datetime` and, unless the channel is anonymous, `user`.

    """

    offset: int
    at: float
    data: dict[str, Any]


class Engine(Protocol):
    """Keeps the log of publications of each channel that has a history.

    The log counts only publications and outlives the channel. Offsets grow without holes
    within an epoch; when a log is lost the epoch changes.
    """

    name: str

    async def append(
        self, channel: str, at: float, data: dict[str, Any], *, size: int, duration: float
    ) -> int:
        """Add a publication, keep `size` of them for `duration` seconds; return its offset."""
        ...

    async def last(self, channel: str, count: int, now: float) -> list[Publication]:
        """Return the newest publications that have not expired, oldest first."""
        ...

    async def expire(self, now: float) -> None:
        """Drop what has expired."""
        ...
