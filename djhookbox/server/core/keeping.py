"""Limits on the memory used by histories: for each channel, and for all channels together."""

from __future__ import annotations

from collections.abc import Collection
from sys import getsizeof
from typing import Generic, Protocol, TypeVar

#: Bytes per entry in addition to its payload: the objects around it, and its place in a list.
OVERHEAD = 700

_MIB = 1_048_576


def weigh(value: object) -> int:
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


class Holder(Protocol):
    """A holder of entries, as `SecondChance` knows it.

    Attributes:
        is_renewed: Whether it added an entry since it was put last.
        is_spare: Whether it is expected to have spare entries.

    """

    is_renewed: bool
    is_spare: bool

    def __hash__(self) -> int: ...

    @property
    def spare(self) -> bool:
        """Whether its oldest entry is kept only for clients that return."""


H = TypeVar("H", bound=Holder)


class SecondChance(Generic[H]):
    """Which of many holders loses an entry next.

    Entries that belong to no history are lost first. Among equals, a holder that added nothing for
    a long time loses entries first: a channel that nobody publishes to must not deprive active
    channels of their history.

    An addition only marks its holder (`is_renewed`). The mark lets the holder stay when it is the
    first to lose an entry, but as the last one, and without the mark.

    Attributes:
        holders: The holders of entries; the first one loses some next, unless it is marked.

    """

    __slots__ = ("_spare", "holders")

    def __init__(self) -> None:
        self.holders: dict[H, None] = {}
        #: Those that may have spare entries, in the same order.
        self._spare: dict[H, None] = {}

    def enter(self, holder: H) -> None:
        """Add a holder that has its first entry."""
        holder.is_renewed = False
        self.holders[holder] = None

    def expect_spare(self, holder: H) -> None:
        """Record that a holder has spare entries."""
        holder.is_spare = True
        self._spare[holder] = None

    def next(self) -> H:
        """Return the holder that loses its oldest entry; there must be one."""
        while True:
            first = next(iter(self._spare or self.holders))
            if first.is_spare and not first.spare:
                self._unspare(first)
            elif first.is_renewed:
                first.is_renewed = False
                self.holders[first] = self.holders.pop(first)
                if first.is_spare:
                    self._spare[first] = self._spare.pop(first)
            else:
                return first

    def forget(self, holder: H) -> None:
        """Remove a holder that has no entries left."""
        holder.is_renewed = False
        self.holders.pop(holder, None)
        self._unspare(holder)

    def _unspare(self, holder: H) -> None:
        self._spare.pop(holder, None)
        holder.is_spare = False


class Kept(Holder, Protocol):
    """A holder of entries, the oldest of which can be dropped.

    Attributes:
        shelved: The weight of its entries that the shelf counts.

    """

    shelved: int

    @property
    def weight(self) -> int:
        """Bytes of memory that the entries use."""

    def drop_oldest(self) -> bool:
        """Drop the oldest entry; return whether there was one."""

    def expire(self, now: float) -> None:
        """Drop entries that are too old."""


class Shelf:
    """Limit the memory of many holders, individually and in total.

    When the total is too large, `SecondChance` says who loses entries.

    Args:
        most_each: Maximum bytes for one holder.
        most: Maximum bytes for all holders.

    Attributes:
        total: Bytes that all of them use.

    """

    def __init__(self, most_each: int = 8 * _MIB, most: int = 64 * _MIB) -> None:
        self._most_each = most_each
        self._most = most
        self._order: SecondChance[Kept] = SecondChance()
        self.total = 0

    @property
    def holders(self) -> Collection[Kept]:
        """The holders of entries."""
        return self._order.holders

    def added(self, kept: Kept) -> None:
        """Record that a holder added an entry, and drop entries beyond the limits."""
        weight = kept.weight
        while weight > self._most_each and kept.drop_oldest():
            weight = kept.weight
        if kept.shelved:
            kept.is_renewed = True
        elif weight:
            self._order.enter(kept)
        self.total += weight - kept.shelved
        kept.shelved = weight
        if not kept.is_spare and kept.spare:
            self._order.expect_spare(kept)
        if self.total > self._most:
            self._drop()

    def changed(self, kept: Kept) -> None:
        """Record that a holder dropped entries itself."""
        if kept.shelved:
            self.total += kept.weight - kept.shelved
            kept.shelved = kept.weight
            if not kept.shelved:
                self.forget(kept)

    def forget(self, kept: Kept) -> None:
        """Remove a holder that has no entries left."""
        self.total -= kept.shelved
        kept.shelved = 0
        self._order.forget(kept)

    def _drop(self) -> None:
        """Drop entries until the total is within the limit."""
        while self.total > self._most:
            first = self._order.next()
            if first.drop_oldest():
                self.changed(first)
            else:
                self.forget(first)
