"""What histories may take up in memory: each channel's, and those of all channels together."""

from __future__ import annotations

import sys
from typing import Any, Protocol

#: Bytes of an entry besides its payload: the objects around it, and its place in a list.
OVERHEAD = 700

_MIB = 1_048_576


def weigh(value: Any) -> int:
    """Return about how many bytes of memory a JSON value takes up.

    That is more than its text has: `[[],[],[]…` twenty times as much.
    """
    size = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        size += sys.getsizeof(one)
        if isinstance(one, dict):
            waiting.extend(one.keys())
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return size


class Kept(Protocol):
    """Something that holds entries, the oldest of which can be dropped."""

    def __hash__(self) -> int: ...

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes up."""

    def drop_oldest(self) -> bool:
        """Drop the oldest entry; tell whether there was one."""


class Shelf:
    """Bounds what many hold, each of them and all together.

    If it is too much in all, who was added to longest ago loses entries first: a channel that
    nobody publishes to cannot keep those in use from having a history.

    Args:
        most_each: Bytes that one may hold.
        most: Bytes that all of them may hold.

    """

    def __init__(self, most_each: int = 8 * _MIB, most: int = 64 * _MIB) -> None:
        self._most_each = most_each
        self._most = most
        #: Who holds how much, in the order in which they were added to last.
        self._weights: dict[Kept, int] = {}
        self.total = 0

    def added(self, kept: Kept) -> None:
        """Note that something was added, and drop what is too much."""
        self.forget(kept)
        while kept.weight > self._most_each and kept.drop_oldest():
            pass
        self._weights[kept] = kept.weight
        self.total += kept.weight
        while self.total > self._most:
            oldest = next(iter(self._weights))
            before = oldest.weight
            if oldest.drop_oldest():
                self._weights[oldest] -= before - oldest.weight
                self.total -= before - oldest.weight
            else:
                self.forget(oldest)

    def changed(self, kept: Kept) -> None:
        """Note that something was dropped by its holder."""
        if kept in self._weights:
            self.total += kept.weight - self._weights[kept]
            self._weights[kept] = kept.weight

    def forget(self, kept: Kept) -> None:
        """Note that somebody holds nothing any more."""
        self.total -= self._weights.pop(kept, 0)
