"""Find channels that policies share, and policies that never decide because of earlier ones.

Patterns are converted to automata, whose languages are compared exactly. If an exact comparison is
impossible (a project's own converter may match anything) or would take too long, the answer is
cautious: a rule reported as shadowed never decides, but one that is not reported may not either.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from django.urls import converters

from .examples import examples
from .patterns import prefix
from .rules import Rule

#: The maximum number of steps for one answer.
LIMIT = 5_000

# Sets of characters, as regular expressions of one character.
_ANY = r"."
_SEGMENT = r"[^/]"
_DIGIT = r"[0-9]"
_NONZERO = r"[1-9]"
_HEX = r"[0-9a-f]"
_SLUG = r"[-a-zA-Z0-9_]"
_KINDS = (_ANY, _SEGMENT, "0", _NONZERO, _DIGIT, _HEX, _SLUG, "-")

#: Characters of every kind; names cannot contain control characters.
_COMMON = string.ascii_letters + string.digits + "-_/. "

_State = int
_Sets = tuple[frozenset[_State], ...]


def shadows(rule: Rule, earlier: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return the fewest earlier rules that together decide for all channels of a rule.

    Return an empty tuple if there may be a channel for which the rule decides.
    """
    return _shadows(rule, tuple(near(rule, earlier)))


def near(rule: Rule, others: Iterable[Rule]) -> list[Rule]:
    """Return the rules that may share a channel with a rule, by how their names begin and end."""
    begins, ends = _begins(rule), _ends(rule)
    return [
        other
        for other in others
        if (begins.startswith(start := _begins(other)) or start.startswith(begins))
        and (ends.endswith(end := _ends(other)) or end.endswith(ends))
    ]


class Order:
    """The enabled rules in their order, with an index of how their names begin.

    Attributes:
        rules: The rules.

    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._shadows: dict[str, tuple[Rule, ...]] = {}
        self._places = {rule.name: place for place, rule in enumerate(rules)}
        self._by_start: dict[str, list[int]] = {}
        for place, rule in enumerate(rules):
            self._by_start.setdefault(_begins(rule), []).append(place)
        self._starts = sorted(self._by_start)

    def shadows(self, name: str) -> tuple[Rule, ...]:
        """Return the earlier rules that leave a rule nothing to decide, as `shadows` does."""
        place = self._places.get(name)
        if place is None:
            return ()
        if name not in self._shadows:
            self._shadows[name] = self._shadowing(self.rules[place], place)
        return self._shadows[name]

    def _shadowing(self, rule: Rule, place: int) -> tuple[Rule, ...]:
        begins = _begins(rule)
        found = [self._by_start.get(begins[:length], ()) for length in range(len(begins))]
        # All that begin with the same characters, which include the same beginning.
        first = bisect_left(self._starts, begins)
        for start in self._starts[first:]:
            if not start.startswith(begins):
                break
            found.append(self._by_start[start])
        places = sorted(one for some in found for one in some if one < place)
        return shadows(rule, [self.rules[one] for one in places])


def _begins(rule: Rule) -> str:
    return prefix(rule.text) if rule.pattern is None else rule.pattern.beginning


def _ends(rule: Rule) -> str:
    return "" if rule.pattern is None else rule.pattern.ending


@lru_cache(maxsize=4096)  # an edit changes few of them
def _shadows(rule: Rule, near: tuple[Rule, ...]) -> tuple[Rule, ...]:
    names = examples(rule.pattern) if rule.pattern else [prefix(rule.text) + "x"]
    # If an example answers the question, no automaton is needed.
    covering = [[other for other in near if other.covers(name)] for name in names]
    if not all(covering):
        return ()
    everywhere = set(covering[0]).intersection(*covering[1:]) if covering else set(near)
    for other in near:
        if other in everywhere and covered(rule, [other]):
            return (other,)
    sharing = [other for other in near if overlap(other, rule)]
    if len(sharing) < 2 or not covered(rule, sharing):
        return ()
    needed = sharing
    for other in sharing:
        rest = [one for one in needed if one is not other]
        if covered(rule, rest):
            needed = rest
    return tuple(needed)


@lru_cache(maxsize=16_384)  # a rule that begins with a parameter meets all others
def overlap(one: Rule, other: Rule) -> bool:
    """Return whether there may be a channel that both rules cover."""
    first, second = _at_most(one), _at_most(other)
    alphabet = _alphabet([one, other])
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        left, right = waiting.pop()
        if left in first.accepting and right in second.accepting:
            return True
        for char in alphabet:
            for pair in (
                (to, too) for to in first.step(left, char) for too in second.step(right, char)
            ):
                if pair not in seen:
                    seen.add(pair)
                    waiting.append(pair)
    return False


def covered(rule: Rule, others: Sequence[Rule]) -> bool:
    """Return whether every channel of a rule is certainly covered by one of the others."""
    if any(_shape(rule) == _shape(other) for other in others):
        return True  # identical, so its converters do not matter
    widest = _at_most(rule)
    certain = [found for other in others if (found := _at_least(other)) is not None]
    flat = [automaton for yes, no in certain for automaton in (yes, *no)]
    alphabet = _alphabet([rule, *others])
    start: tuple[_State, _Sets] = (0, tuple(frozenset({0}) for _ in flat))
    seen = {start}
    waiting = [start]
    while waiting:
        state, sets = waiting.pop()
        if state in widest.accepting and not _accepted(certain, sets):
            return False
        for char in alphabet:
            targets = widest.step(state, char)
            if not targets:
                continue
            after = tuple(
                automaton.step_all(states, char)
                for automaton, states in zip(flat, sets, strict=True)
            )
            for target in targets:
                if (target, after) not in seen:
                    if len(seen) >= LIMIT:
                        return False
                    seen.add((target, after))
                    waiting.append((target, after))
    return True


# ---- automata ------------------------------------------------------------


class _Automaton:
    """An automaton that reads names by character, built from left to right, without empty moves."""

    def __init__(self) -> None:
        self._edges: list[list[tuple[str, _State]]] = [[]]
        #: Possible states after reading everything that was built so far.
        self.accepting: frozenset[_State] = frozenset({0})

    def step(self, state: _State, char: str) -> list[_State]:
        """Return the states that a character may lead to."""
        return [target for kind, target in self._edges[state] if _is(kind, char)]

    def step_all(self, states: Iterable[_State], char: str) -> frozenset[_State]:
        """Return the states that a character may lead to from any of several states."""
        return frozenset(target for state in states for target in self.step(state, char))

    def one(self, kind: str) -> _State:
        """Read one character of a kind."""
        self._edges.append([])
        target = len(self._edges) - 1
        for state in self.accepting:
            self._edges[state].append((kind, target))
        self.accepting = frozenset({target})
        return target

    def more(self, kind: str) -> None:
        """Read any number of further characters of a kind."""
        for state in self.accepting:
            self._edges[state].append((kind, state))

    def some(self, kind: str) -> None:
        """Read one or more characters of a kind."""
        self.one(kind)
        self.more(kind)

    def anything(self) -> None:
        """Read any text, including an empty one."""
        before = self.accepting
        self.some(_ANY)
        self.accepting |= before

    def text(self, text: str) -> None:
        """Read a text."""
        for char in text:
            self.one(re.escape(char))

    def number(self) -> None:
        """Read a number in its canonical spelling."""
        before = self.accepting
        zero = self.one("0")
        self.accepting = before
        self.one(_NONZERO)
        self.more(_DIGIT)
        self.accepting |= {zero}

    def misspelt_number(self) -> None:
        """Read a number with a leading zero."""
        self.one("0")
        self.some(_DIGIT)

    def uuid(self) -> None:
        """Read a UUID."""
        for index, length in enumerate((8, 4, 4, 4, 12)):
            self.text("-" if index else "")
            for _ in range(length):
                self.one(_HEX)


@lru_cache(maxsize=4096)
def _is(kind: str, char: str) -> bool:
    return re.match(kind, char) is not None


def _at_most(rule: Rule) -> _Automaton:
    """Return an automaton that accepts each channel that a rule covers, and perhaps others."""
    automaton = _Automaton()
    if rule.pattern is None:
        automaton.text(prefix(rule.text))
        automaton.anything()
        return automaton
    for part in rule.pattern.parts:
        if isinstance(part, str):
            automaton.text(part)
        elif type(part) is converters.IntConverter:
            automaton.number()
        elif not _built_in(automaton, part):
            automaton.anything()
    return automaton


def _at_least(rule: Rule) -> tuple[_Automaton, list[_Automaton]] | None:
    """Return an automaton for channels that a rule certainly covers, and automata for exceptions.

    A name can often be parsed in several ways, and matching a pattern only considers one of them.
    So a name that can be parsed as containing a misspelt number is not certainly covered.
    """
    if rule.pattern is None:
        return _at_most(rule), []  # exact in this case
    parts = rule.pattern.parts
    numbers = [i for i, part in enumerate(parts) if type(part) is converters.IntConverter]
    found = []
    for misspelt in (None, *numbers):
        automaton = _Automaton()
        for index, part in enumerate(parts):
            if isinstance(part, str):
                automaton.text(part)
            elif index == misspelt:
                automaton.misspelt_number()
            elif index in numbers:
                automaton.some(_DIGIT)
            elif not _built_in(automaton, part):
                return None
        found.append(automaton)
    return found[0], found[1:]


def _built_in(automaton: _Automaton, converter: object) -> bool:
    """Read what a built-in converter of Django matches; return whether the converter is one."""
    kind = type(converter)
    if kind is converters.StringConverter:
        automaton.some(_SEGMENT)
    elif kind is converters.PathConverter:
        automaton.some(_ANY)
    elif kind is converters.SlugConverter:
        automaton.some(_SLUG)
    elif kind is converters.UUIDConverter:
        automaton.uuid()
    else:
        return False
    return True


def _accepted(certain: Iterable[tuple[_Automaton, list[_Automaton]]], sets: _Sets) -> bool:
    remaining = iter(sets)
    result = False
    for yes, no in certain:
        accepts = not yes.accepting.isdisjoint(next(remaining))
        doubtful = [not one.accepting.isdisjoint(next(remaining)) for one in no]
        result = result or (accepts and not any(doubtful))
    return result


def _shape(rule: Rule) -> object:
    if rule.pattern is None:
        return prefix(rule.text), None
    return tuple(part if isinstance(part, str) else type(part) for part in rule.pattern.parts)


def _alphabet(rules: Iterable[Rule]) -> list[str]:
    """Return characters that represent all others: each other one is treated like one of them."""
    written = {char for rule in rules for char in rule.text}
    chosen: dict[object, str] = {}
    for char in [*written, *_COMMON, *_unwritten(written)]:
        chosen.setdefault(char if char in written else tuple(_is(k, char) for k in _KINDS), char)
    return list(chosen.values())


def _unwritten(written: Collection[str]) -> Iterator[str]:
    """Yield a character of no particular kind that no pattern contains."""
    yield next(char for number in range(0x4E00, 0x9FFF) if (char := chr(number)) not in written)
