"""The log of a channel's publications, by which clients catch up with what they have missed.

It is apart from Hookbox's history list, which also has comings and goings. Publications are
numbered 1, 2, 3… within an epoch: a number says something only about the log that gave it.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

#: Epoch and offset; the offset is one that browsers count exactly.
_CURSOR = re.compile(r"([0-9A-Za-z_-]{1,32}):([0-9]{1,15})", re.ASCII)


def new_epoch() -> str:
    """Return a text that no log has been numbered under."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Position:
    """How far in a log somebody has come; its text is what the protocol calls a cursor.

    Attributes:
        epoch: Of the log.
        offset: The last publication that has been seen, 0 for none.

    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    def place(self) -> dict[str, Any]:
        """Return what is said of a publication; the epoch only once, with its first."""
        epoch = {"epoch": self.epoch} if self.offset == 1 else {}
        return {"offset": self.offset, **epoch}

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Read a cursor.

        Raises:
            ValueError: If it is none.

        """
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("no cursor")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication in a log.

    Attributes:
        offset: Its number; the first of an epoch is 1.
        at: When it was made, in seconds since the epoch of time.
        data: `payload`, `datetime` and, unless the channel is anonymous, `user`.
        weight: About how many bytes of memory it takes up.

    """

    offset: int
    at: float
    data: dict[str, Any]
    weight: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LogState:
    """A log as it is kept beyond the life of its channel.

    Attributes:
        epoch: Under which it is numbered.
        offset: The number of its newest publication, also of one that is kept no longer.
        publications: The newest, as far as they are kept, oldest first and without holes.

    """

    epoch: str
    offset: int = 0
    publications: tuple[Publication, ...] = ()


class Log:
    """The log of a live channel.

    Attributes:
        publications: Those that are kept, oldest first and without holes up to the newest.
        weight: About how many bytes of memory they take up.

    """

    __slots__ = ("epoch", "offset", "publications", "weight")

    def __init__(self, state: LogState) -> None:
        self.epoch = state.epoch
        self.offset = state.offset
        self.publications = deque(state.publications)
        self.weight = sum(each.weight for each in state.publications)

    @property
    def position(self) -> Position:
        """Where somebody stands who has seen everything."""
        return Position(self.epoch, self.offset)

    def add(self, publication: Publication) -> None:
        """Append a publication; if numbers are left out, what came before counts as missed."""
        if publication.offset != self.offset + 1:
            self.publications.clear()
            self.weight = 0
        self.offset = publication.offset
        self.publications.append(publication)
        self.weight += publication.weight

    def drop_oldest(self) -> None:
        """Drop the oldest publication, which must be there."""
        self.weight -= self.publications.popleft().weight

    def trim(self, now: float, size: int, duration: float) -> None:
        """Drop publications that are too many or too old; 0 seconds means for ever."""
        while len(self.publications) > size:
            self.drop_oldest()
        if duration:
            while self.publications and self.publications[0].at < now - duration:
                self.drop_oldest()

    def after(self, position: Position) -> tuple[list[Publication], int | None]:
        """Return what came after a position.

        Returns:
            The publications that are still there, oldest first, and how many are not. If that
            cannot be known (another epoch) it is None, and everything that is there counts.

        """
        if position.epoch != self.epoch or position.offset > self.offset:
            return list(self.publications), None
        there = min(self.offset - position.offset, len(self.publications))
        first = len(self.publications) - there
        found = list(islice(self.publications, first, None))
        return found, self.offset - position.offset - there
