"""Read the regular expression of a converter, so that names are matched in bounded time.

Python's `re` tries every way to divide a name among the parts of an expression: `(?:[a-z]+)+` takes
hours for a name of 60 letters. `work` says how fast that grows with the length of the name;
`Program` matches without trying, in a time proportional to the length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

#: Exceeds the length of every name.
ANY = 1 << 30
#: The most groups within one another.
DEEPEST = 20

#: A character, a class or an escape that stands for exactly one character.
ONE = r"""
    \[ \^? \]? (?: \\. | [^\]\\\[] )* \] | \\[dDwWsS] | \\x[0-9a-fA-F]{2} | \\u[0-9a-fA-F]{4}
    | \. | \\[^\w] | [^\\\[\](){}|^$*+?.]
"""
#: How often something repeats, and how eagerly.
TIMES = r"(?P<times> [+*?] | \{ \d{1,4} (?: ,(?:\d{1,4})? )? \} )? (?P<manner> [?+] )?"

_ONE = re.compile(ONE, re.VERBOSE)
_TIMES = re.compile(TIMES, re.VERBOSE | re.ASCII)
_GROUP = re.compile(
    r"\( (?: \? (?: (?P<flags>[aimsu]*(?:-[ims]+)?): | P<\w+> | (?P<other><?[=!]|>) ) )?",
    re.VERBOSE,
)
_OTHER = re.compile(r"[\^$] | \\[AbBZz] | (?P<reference> \\[1-9] | \(\?P=\w+\) )", re.VERBOSE)


@dataclass(frozen=True, slots=True)
class One:
    """Exactly one character."""

    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Nodes that follow one another."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Nodes of which one matches; the first is tried first."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A node that repeats."""

    node: Node
    least: int
    most: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class Other:
    """What a `Program` cannot do: anchors, look-around, references, possessive repetition."""

    node: Node
    work: int = 0


Node = One | Chain | Choice | Repeat | Other


class TooComplicated(Exception):
    """An expression, or a part of it, that is not understood."""


@lru_cache(maxsize=256)
def tree_of(regex: str) -> Node | None:
    """Return the tree of a valid expression, or None if it is not understood."""
    try:
        tree, end = _choice(regex, 0, "", 0)
    except TooComplicated:
        return None
    return tree if end == len(regex) else None


def work(node: Node) -> int:
    """Return the exponent with which `re`'s time grows with the length of the name, or `ANY`.

    Each part whose length varies multiplies the number of ways to divide a name by its length.
    """
    if isinstance(node, One):
        return 0
    if isinstance(node, Chain):
        return min(ANY, sum(map(work, node.nodes)))
    if isinstance(node, Choice):
        return min(ANY, 1 + max(map(work, node.nodes)))
    if isinstance(node, Other):
        return min(ANY, node.work + work(node.node))
    inner, varies = work(node.node), node.least != node.most
    # Only the number of times is open if each time takes the same number of characters.
    return min(ANY, inner * node.most + varies)


def _choice(regex: str, at: int, flags: str, depth: int) -> tuple[Node, int]:
    if depth > DEEPEST:
        raise TooComplicated
    branches: list[Node] = []
    while True:
        nodes: list[Node] = []
        while at < len(regex) and regex[at] not in "|)":
            node, at = _repeated(regex, at, flags, depth)
            nodes.append(node)
        branches.append(nodes[0] if len(nodes) == 1 else Chain(tuple(nodes)))
        if at == len(regex) or regex[at] == ")":
            return (branches[0] if len(branches) == 1 else Choice(tuple(branches))), at
        at += 1


def _repeated(regex: str, at: int, flags: str, depth: int) -> tuple[Node, int]:
    node, at = _single(regex, at, flags, depth)
    found = _TIMES.match(regex, at)
    if found is None or found["times"] is None:
        return node, at
    least, most = times(found["times"])
    node = Repeat(node, least, most, lazy=found["manner"] == "?")
    return (Other(node) if found["manner"] == "+" else node), found.end()


def _single(regex: str, at: int, flags: str, depth: int) -> tuple[Node, int]:
    if found := _OTHER.match(regex, at):
        return Other(Chain(()), 1 if found["reference"] else 0), found.end()
    if found := _ONE.match(regex, at):
        one = f"(?{flags}:{found[0]})" if flags else found[0]
        return One(one), found.end()
    found = _GROUP.match(regex, at)
    if found is None or (found["flags"] and flags):
        raise TooComplicated
    node, at = _choice(regex, found.end(), found["flags"] or flags, depth + 1)
    if at == len(regex):
        raise TooComplicated
    return (Other(node) if found["other"] else node), at + 1


def times(text: str) -> tuple[int, int]:
    """Return the least and the greatest number of times."""
    if text in "+*?":
        return {"+": (1, ANY), "*": (0, ANY), "?": (0, 1)}[text]
    least, comma, most = text[1:-1].partition(",")
    if not comma:
        return int(least), int(least)
    return int(least), int(most) if most else ANY


class Program:
    """Matches whole names in a time proportional to their length and its own size.

    It follows all ways through the expression at the same time, the preferred one first, so that
    parameters get the same texts as with `re` (R. Pike's algorithm).
    """

    #: The most instructions: 2,000 take some tens of milliseconds for the longest name.
    LARGEST = 2000

    def __init__(self) -> None:
        #: The class or character to read before the next instruction, or where to go on, in order
        #: of preference; an integer marks where a parameter begins or ends.
        self._code: list[str | tuple[int, ...] | int] = []
        self._groups: list[str] = []
        self._fits: dict[str, Callable[[str], object]] = {}

    def literal(self, text: str) -> None:
        """Add a literal text."""
        for character in text:
            self._add(re.escape(character))

    def converter(self, name: str, node: Node) -> None:
        """Add a parameter with its converter's expression.

        Raises:
            TooComplicated: It cannot be matched this way.

        """
        self._groups.append(name)
        self._add(2 * len(self._groups) - 2)
        self._node(node)
        self._add(2 * len(self._groups) - 1)

    def match(self, name: str) -> Mapping[str, str] | None:
        """Return the text of each parameter, or None if the name does not match."""
        fits = {one: {c for c in set(name) if match(c)} for one, match in self._fits.items()}
        code = self._code
        threads = self._reach({}, 0, (), 0)
        for at, character in enumerate(name, 1):
            following: dict[int, tuple[int, ...]] = {}
            for place, marks in threads.items():
                one = code[place] if place < len(code) else None
                if isinstance(one, str) and character in fits[one]:
                    self._reach(following, place + 1, marks, at)
            if not following:
                return None
            threads = following
        ends = threads.get(len(code))
        if ends is None:
            return None
        return {group: name[ends[2 * n] : ends[2 * n + 1]] for n, group in enumerate(self._groups)}

    def _reach(
        self, threads: dict[int, tuple[int, ...]], start: int, marks: tuple[int, ...], at: int
    ) -> dict[int, tuple[int, ...]]:
        """Add what can be reached without reading a character, unless it was preferred already."""
        waiting = [(start, marks)]
        while waiting:
            place, marks = waiting.pop()
            if place in threads:
                continue
            threads[place] = marks
            step = self._code[place] if place < len(self._code) else ""
            if isinstance(step, int):
                waiting.append((place + 1, (*marks, at)))
            elif isinstance(step, tuple):
                waiting.extend((target, marks) for target in reversed(step))
        return threads

    def _add(self, step: str | tuple[int, ...] | int) -> int:
        if len(self._code) >= self.LARGEST:
            raise TooComplicated
        if isinstance(step, str) and step not in self._fits:
            self._fits[step] = re.compile(step).fullmatch
        self._code.append(step)
        return len(self._code) - 1

    def _node(self, node: Node) -> None:
        if isinstance(node, One):
            self._add(node.text)
        elif isinstance(node, Chain):
            for each in node.nodes:
                self._node(each)
        elif isinstance(node, Choice):
            self._branches(node.nodes)
        elif isinstance(node, Repeat):
            self._repeat(node)
        else:
            raise TooComplicated

    def _branches(self, nodes: tuple[Node, ...]) -> None:
        choice = self._add(())
        starts, ends = [], []
        for node in nodes:
            starts.append(len(self._code))
            self._node(node)
            ends.append(self._add(()))
        self._code[choice] = tuple(starts)
        for end in ends:
            self._code[end] = (len(self._code),)

    def _repeat(self, node: Repeat) -> None:
        for _ in range(node.least):
            self._node(node.node)
        if node.most == ANY:
            self._optional(node, again=True)
            return
        for _ in range(node.most - node.least):
            self._optional(node, again=False)

    def _optional(self, node: Repeat, *, again: bool) -> None:
        choice = self._add(())
        self._node(node.node)
        if again:
            self._add((choice,))
        ways = (choice + 1, len(self._code))
        self._code[choice] = ways[::-1] if node.lazy else ways
