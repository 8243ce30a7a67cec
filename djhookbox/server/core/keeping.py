"""Limits on the memory used by histories: for each channel, and for all channels together."""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Protocol

#: Bytes per entry in addition to its payload: the objects around it, and its place in a list.
OVERHEAD = 700

_MIB = 1_048_576


def weigh(value: Any) -> int:
    """Return the approximate number of bytes of memory that a JSON value uses.

    This is more than the length of its text: twenty times as much for `[[],[],[]…`.
    """
    size = 0
    found = [value]
    for one in found:  # including what is appended in the meantime
        size += getsizeof(one)
        if type(one) is dict:
            found += one
            found += one.values()
        elif type(one) is list:
            found += one
    return size


class Kept(Protocol):
    """A holder of entries, the oldest of which can be dropped."""

    def __hash__(self) -> int: ...

    @property
    def weight(self) -> int:
        """Bytes of memory that the entries use."""

    @property
    def spare(self) -> bool:
        """Whether its oldest entry is kept only for clients that return."""

    def drop_oldest(self) -> bool:
        """Drop the oldest entry; return whether there was one."""


class Shelf:
    """Limit the memory of many holders, individually and in total.

    When the total is too large, entries that belong to no history are dropped first. Among equals,
    the holder whose last addition is the oldest loses entries first: a channel that nobody
    publishes to must not deprive active channels of their history.

    Args:
        most_each: Maximum bytes for one holder.
        most: Maximum bytes for all holders.

    """

    def __init__(self, most_each: int = 8 * _MIB, most: int = 64 * _MIB) -> None:
        self._most_each = most_each
        self._most = most
        #: The weight of each holder, in order of the last addition.
        self._weights: dict[Kept, int] = {}
        #: Those that have spare entries, in the same order.
        self._spare: dict[Kept, None] = {}
        self.total = 0

    def added(self, kept: Kept) -> None:
        """Record that a holder added an entry, and drop entries beyond the limits."""
        self.forget(kept)
        weight = kept.weight
        while weight > self._most_each and kept.drop_oldest():
            weight = kept.weight
        self._weights[kept] = weight
        self.total += weight
        if kept.spare:
            self._spare[kept] = None
        while self.total > self._most:
            oldest = next(iter(self._spare or self._weights))
            if not oldest.spare and oldest in self._spare:
                del self._spare[oldest]
                continue
            before = oldest.weight
            if oldest.drop_oldest():
                self._weights[oldest] -= before - oldest.weight
                self.total -= before - oldest.weight
            else:
                self.forget(oldest)

    def changed(self, kept: Kept) -> None:
        """Record that a holder dropped entries itself."""
        if kept in self._weights:
            self.total += kept.weight - self._weights[kept]
            self._weights[kept] = kept.weight

    def forget(self, kept: Kept) -> None:
        """Remove a holder that has no entries left."""
        self.total -= self._weights.pop(kept, 0)
        self._spare.pop(kept, None)
