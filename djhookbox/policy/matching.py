"""Match a pattern in a time proportional to the lengths of the name and the pattern.

A regular expression with several parts of variable length tries every way to divide a name among
them: four `<path:…>` took 0.36 s for one name, five took minutes. A converter's expression is
nearly always a sequence of characters and classes, each with a number of repetitions; others are
left to `expressions`. Such a sequence can be matched backwards with a set of positions for each
part, and then be read forwards as Python does: each part as long as possible.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from collections.abc import Sequence as Parts
from dataclasses import dataclass
from functools import lru_cache

from .expressions import ONE, TIMES, times

#: One character with its repetitions; nothing else is parsed here.
_ATOM = re.compile(f"(?P<class>{ONE}){TIMES}", re.VERBOSE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """A class of characters and how often it may repeat, or a literal text if `text` is set."""

    one: str = ""
    least: int = 1
    most: int = 1
    text: str = ""


@lru_cache(maxsize=256)
def parts_of(regex: str) -> tuple[Part, ...] | None:
    """Return the parts of a converter's expression, or None if it is too complicated."""
    parts = []
    end = 0
    while end < len(regex):
        found = _ATOM.match(regex, end)
        if found is None or found["manner"]:
            return None
        end = found.end()
        count = (1, 1) if found["times"] is None else times(found["times"])
        parts.append(Part(found["class"], *count))
    return tuple(parts)


class Sequence:
    """Collects the parts of a pattern.

    Attributes:
        is_simple: Whether all of it can be matched by a `Matcher`.

    """

    def __init__(self) -> None:
        self.is_simple = True
        self._parts: list[Part] = []
        self._groups: dict[str, tuple[int, int]] = {}

    def literal(self, text: str) -> None:
        """Add a literal text."""
        if text:
            self._parts.append(Part(text=text))

    def converter(self, name: str, regex: str) -> None:
        """Add a parameter with its converter's expression."""
        parts = parts_of(regex)
        if parts is None:
            self.is_simple = False
            return
        first = len(self._parts)
        self._parts.extend(parts)
        self._groups[name] = first, len(self._parts)

    def matcher(self) -> Matcher:
        """Return a matcher for the sequence."""
        return Matcher(self._parts, self._groups)


class Matcher:
    """Matches whole names against a sequence of literal texts and named converters.

    Args:
        parts: All parts in order.
        groups: For each parameter, the indexes of its first part and of the one after its last.

    """

    def __init__(self, parts: Parts[Part], groups: Mapping[str, tuple[int, int]]) -> None:
        self._parts = tuple(parts)
        self._groups = dict(groups)

    def match(self, name: str) -> dict[str, str] | None:
        """Return the text of each parameter, or None if the name does not match."""
        runs = {part.one: _runs(part.one, name) for part in self._parts if not part.text}
        # Where each part may begin so that the rest of the name matches; the last part comes first.
        begins: list[list[int]] = [[len(name)]]
        for part in reversed(self._parts):
            ends = begins[-1]
            if part.text:
                size = len(part.text)
                found = [e - size for e in ends if name.startswith(part.text, e - size, e)]
                begins.append([begin for begin in found if begin >= 0])
            else:
                begins.append(_begins(part, ends, runs[part.one][0]))
            if not begins[-1]:
                return None
        begins.reverse()
        if begins[0][0] != 0:
            return None
        at = [0]
        for part, ends in zip(self._parts, begins[1:], strict=True):
            if part.text:
                at.append(at[-1] + len(part.text))
            else:
                furthest = min(runs[part.one][1][at[-1]], at[-1] + part.most)
                at.append(ends[bisect_right(ends, furthest) - 1])
        return {group: name[at[a] : at[b]] for group, (a, b) in self._groups.items()}


def _begins(part: Part, ends: Parts[int], starts: Parts[int]) -> list[int]:
    """Return, in order, where a class may begin so that it ends at one of the given positions."""
    found: list[int] = []
    for end in ends:
        # All positions from the start of its run to where the minimum number still fits.
        first = max(starts[end], end - part.most)
        last = end - part.least
        if found:
            first = max(first, found[-1] + 1)
        found.extend(range(first, last + 1))
    return found


def _runs(one: str, name: str) -> tuple[list[int], list[int]]:
    """Return for each position how far the characters of a class extend, backwards and forwards."""
    fits = re.compile(one).match
    inside = [fits(character) is not None for character in name]
    starts, stops = [0], [len(name)]
    for place in range(1, len(name) + 1):
        starts.append(starts[-1] if inside[place - 1] else place)
    for place in range(len(name) - 1, -1, -1):
        stops.append(stops[-1] if inside[place] else place)
    stops.reverse()
    return starts, stops
