"""Judge clients' records: each accepted publication must be there once or be announced as lost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

#: The entry for a `gap` event among the numbers that a client received.
GAP = "gap"


@dataclass(slots=True)
class Verdict:
    """The faults of a record, and the gaps that it announced.

    Attributes:
        received: Publications, including repeated ones.
        duplicates: Publications that had been received before.
        disordered: Accepted publications that were received after a later one.
        late: The same of others: a process that had stopped published them when it continued.
        gaps: Gaps that were announced to the client.
        announced: Accepted publications inside these gaps.
        silent: Accepted publications that are missing without an announcement.
        crowded: Records with more gaps than causes.

    """

    received: int = 0
    duplicates: int = 0
    disordered: int = 0
    late: int = 0
    gaps: int = 0
    announced: int = 0
    silent: int = 0
    crowded: int = 0

    def add(self, other: Verdict) -> None:
        """Add another client's verdict."""
        for field in fields(self):
            name = field.name
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def fine(self) -> bool:
        """Whether nothing was lost silently, duplicated or reordered."""
        return not (self.duplicates or self.disordered or self.silent or self.crowded)


def judge(record: Iterable[int | str], taken: Sequence[int], causes: int) -> Verdict:
    """Compare a client's record with what was published.

    Args:
        record: Numbers of publications in the order received, with `GAP` for each announced gap.
        taken: The numbers that `publish()` reported as accepted, ascending. Others may or may not
            have been received.
        causes: The maximum number of gaps.

    """
    verdict = Verdict()
    seen: set[int] = set()
    last, announced = 0, False

    def missing(upto: int) -> int:
        """Count the accepted publications after the last one and before this one."""
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
            if bisect_left(taken, number) < bisect_right(taken, number):
                verdict.disordered += 1
            else:
                verdict.late += 1
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
