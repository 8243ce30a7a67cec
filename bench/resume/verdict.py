"""What a client's record proves: every publication that was taken is there once, or announced."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

#: How a client notes a `gap` event among the numbers that it received.
GAP = "gap"


@dataclass(slots=True)
class Verdict:
    """What is wrong with a record, and how many gaps it announced.

    Attributes:
        received: Publications, each counted as often as it came.
        duplicates: Those that had come before.
        disordered: Those that came after a later one.
        gaps: Gaps that the client was told of.
        announced: Taken publications that lie inside them.
        silent: Taken publications that are missing without a word.
        crowded: Records with more gaps than there were causes.

    """

    received: int = 0
    duplicates: int = 0
    disordered: int = 0
    gaps: int = 0
    announced: int = 0
    silent: int = 0
    crowded: int = 0

    def add(self, other: Verdict) -> None:
        """Add up another client's."""
        for field in fields(self):
            name = field.name
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def fine(self) -> bool:
        """Whether nothing was lost in silence, doubled or reordered."""
        return not (self.duplicates or self.disordered or self.silent or self.crowded)


def judge(record: Iterable[int | str], taken: Sequence[int], causes: int) -> Verdict:
    """Compare a client's record with what was published.

    Args:
        record: Numbers of publications in the order they came, and `GAP` where one was announced.
        taken: The numbers that `publish()` reported as taken, ascending. Others may have come
            or not: nobody promised anything about them.
        causes: How many gaps there may be.

    """
    verdict = Verdict()
    seen: set[int] = set()
    last, announced = 0, False

    def missing(upto: int) -> int:
        """Count what was taken after the last one and before this."""
        return bisect_left(taken, upto) - bisect_right(taken, last)

    for entry in record:
        if entry == GAP:
            verdict.gaps += 1
            announced = True
            continue
        number = int(entry)
        verdict.received += 1
        if number in seen:
            verdict.duplicates += 1
        elif number < last:
            verdict.disordered += 1
        else:
            hole = missing(number)
            if announced:
                verdict.announced += hole
            else:
                verdict.silent += hole
            last, announced = number, False
        seen.add(number)
    tail = missing(max(taken, default=0) + 1)
    if announced:
        verdict.announced += tail
    else:
        verdict.silent += tail
    verdict.crowded = int(verdict.gaps > causes)
    return verdict
