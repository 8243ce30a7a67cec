"""The stream of a channel's publications, from which clients catch up with missed ones.

It is separate from Hookbox's history list, which also records subscribers joining and leaving.
Publications are numbered 1, 2, 3… within an epoch: a number is meaningful only in its own stream.

An engine in this process shares its streams with the channels, so that each publication is kept,
counted and limited only once: the engine appends when it accepts a publication, and channels read.
This requires that a change is applied at once when such an engine has accepted it. The channels of
other engines, and durable channels, have streams of their own.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from ...wire.streams import number_of

#: Epoch and offset; browsers represent offsets of this length exactly.
_CURSOR = re.compile(r"([0-9A-Za-z_-]{1,32}):([0-9]{1,15})", re.ASCII)


def new_epoch() -> str:
    """Return an epoch that no stream has used before."""
    return secrets.token_hex(4)


class Position(NamedTuple):
    """A position in a stream; its text form is the protocol's cursor.

    Attributes:
        epoch: The stream's epoch.
        offset: The number of the last publication seen, or 0 for none.

    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Parse a cursor.

        Raises:
            ValueError: If the text is not a cursor.

        """
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise ValueError("no cursor")
        return cls(match[1], int(match[2]))


def place(epoch: str, offset: int) -> dict[str, object]:
    """Return the position fields of a publication; the first one includes the epoch."""
    return {"offset": offset, "epoch": epoch} if offset == 1 else {"offset": offset}


@dataclass(slots=True)
class Publication:
    """A publication in a stream; it never changes, but frozen records take longer to create.

    Attributes:
        offset: Its number; the first of an epoch is 1.
        at: When it was made, in seconds since the Unix epoch.
        data: `payload`, `datetime` and, unless the channel is anonymous, `user`.
        weight: The approximate number of bytes of memory it uses.
        number: On a durable channel, its number among those of all durable channels.
        origin: The id of the connection that sent it, where the site stores that.

    """

    offset: int
    at: float
    data: dict[str, object]
    weight: int = field(default=0, compare=False)
    number: int = 0
    origin: str = ""


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as it is kept after its channel is destroyed.

    Attributes:
        epoch: The epoch of its numbers.
        offset: The number of its newest publication, even if that is no longer kept.
        publications: The newest publications that are still kept, oldest first, without gaps.
        incarnation: On a durable channel, that of the site's table.
        began: The last number before the epoch.
        renewed: Whether the channel had another epoch before.
        as_of: The number as of which the site has read this.
        shared: The stream itself, if the engine shares it with the channel.

    """

    epoch: str
    offset: int = 0
    publications: tuple[Publication, ...] = ()
    incarnation: str = ""
    began: int = 0
    renewed: bool = False
    as_of: int = 0
    shared: Stream | None = field(default=None, compare=False, repr=False)


class Stream:
    """The stream of a live channel.

    Attributes:
        publications: Those that are kept, oldest first, without gaps up to the newest.
        weight: The approximate number of bytes of memory they use.
        is_shared: Whether it is the engine's too, which appends to it and limits its memory.

    """

    __slots__ = (
        "began", "epoch", "incarnation", "is_shared", "offset", "publications", "renewed", "weight",
    )  # fmt: skip

    def __init__(self, state: StreamState) -> None:
        self.is_shared = False
        self.incarnation = state.incarnation
        self.began = state.began
        self.renewed = state.renewed
        self.epoch = state.epoch
        self.offset = state.offset
        self.publications = deque(state.publications)
        self.weight = sum(each.weight for each in state.publications)

    @classmethod
    def of(cls, state: StreamState) -> Stream:
        """Return the stream of a live channel: the engine's own, if it shares that."""
        return state.shared or cls(state)

    @property
    def position(self) -> Position:
        """The position of a client that has seen everything."""
        return Position(self.epoch, self.offset)

    @property
    def oldest(self) -> int:
        """The offset of the oldest publication that is kept, or would be the next one."""
        return self.publications[0].offset if self.publications else self.offset + 1

    def is_complete_after(self, position: Position) -> bool:
        """Return whether everything after a position is there, or cannot be had anyway."""
        if position.epoch == self.epoch:
            return position.offset >= self.oldest - 1
        number = number_of(self.incarnation, position.epoch) if self.incarnation else None
        if number is None or self.oldest == 1 or (self.renewed and self.began > number):
            return True
        return bool(self.publications) and self.publications[0].number <= number

    def extend_back(self, publications: Sequence[Publication]) -> bool:
        """Add older publications if they end before the oldest one; return whether they do."""
        if not publications or publications[-1].offset != self.oldest - 1:
            return False
        self.publications.extendleft(reversed(publications))
        self.weight += sum(each.weight for each in publications)
        return True

    def begin(self, epoch: str) -> None:
        """Give the first publication's epoch to a durable channel that had none before."""
        self.epoch = epoch

    def add(self, publication: Publication) -> None:
        """Append a publication; if its number leaves a gap, earlier ones count as missed."""
        if publication.offset != self.offset + 1:
            self.publications.clear()
            self.weight = 0
        self.offset = publication.offset
        self.publications.append(publication)
        self.weight += publication.weight

    def drop_oldest(self) -> None:
        """Drop the oldest publication; there must be one."""
        self.weight -= self.publications.popleft().weight

    def trim(self, now: float, size: int, duration: float, recovery: float = 0) -> None:
        """Drop publications that are too many or too old; 0 seconds means forever.

        Those of the last `recovery` seconds are kept for clients that return.
        """
        publications = self.publications
        while publications and not (recovery and publications[0].at >= now - recovery):
            expired = duration and publications[0].at < now - duration
            if len(publications) <= size and not expired:
                return
            self.drop_oldest()

    def expire(self, now: float, seconds: float) -> None:
        """Drop publications that are older than this many seconds."""
        while self.publications and self.publications[0].at < now - seconds:
            self.drop_oldest()

    def after(self, position: Position) -> tuple[list[Publication], int | None]:
        """Return the publications after a position.

        Returns:
            The publications that are still kept, oldest first, and the number of those that are
            not. For another epoch that number is unknown: it is None, and all kept ones count.

        """
        if position.epoch != self.epoch or position.offset > self.offset:
            number = number_of(self.incarnation, position.epoch) if self.incarnation else None
            if number is not None:
                return self._after_number(number)
            return list(self.publications), None
        there = min(self.offset - position.offset, len(self.publications))
        first = len(self.publications) - there
        found = list(islice(self.publications, first, None))
        return found, self.offset - position.offset - there

    def _after_number(self, number: int) -> tuple[list[Publication], int | None]:
        """Return the publications after a time when the channel had none; as `after`."""
        found = [each for each in self.publications if each.number > number]
        if self.renewed and self.began > number:
            return found, None  # an epoch in between is over
        first = self.publications[0].offset if self.publications else self.offset + 1
        complete = first == 1 or len(found) < len(self.publications)
        return found, 0 if complete else None
