"""Channel patterns, which have the syntax of routes of Django's `path()`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.urls.converters import get_converters
from django.utils.translation import gettext as _

from ..exceptions import PatternError
from ..wire import names
from .expressions import ANY, Program, TooComplicated, tree_of, work
from .matching import Sequence

#: The parameter that names a user.
USERNAME = "username"

#: The exponent up to which `re` is used: its time is proportional to this power of a name's length.
MOST_BY_REGEX = 2

_PARAMETER = re.compile(r"<(?:(?P<converter>[^<>:]*):)?(?P<name>[^<>]*)>")


class Converter(Protocol):
    """A path converter, as `django.urls.register_converter()` takes it."""

    regex: str

    def to_python(self, value: str) -> object:
        """Return the value that a text means; ValueError if there is none."""

    def to_url(self, value: Any) -> str:
        """Return the canonical text of a value."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern, returned by `compile_pattern`.

    Attributes:
        text: The pattern as it was written.
        regex: An equivalent regular expression without groups, to be matched against whole names.
            It also matches names that are not the canonical spelling of their values.
        parts: The literal texts and the converters between them, in order.
        beginning: What every name that it matches begins with.
        ending: What every such name ends with.

    """

    text: str
    regex: str
    parts: tuple[str | Converter, ...] = field(repr=False, compare=False)
    beginning: str = field(repr=False, compare=False)
    ending: str = field(repr=False, compare=False)
    _texts: Callable[[str], Mapping[str, str] | None] = field(repr=False, compare=False)
    _converters: Mapping[str, Converter] = field(repr=False, compare=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names between angle brackets, in order."""
        return tuple(self._converters)

    def match(self, name: str) -> dict[str, object] | None:
        """Return the values of the parameters, or None if the name does not match.

        A name only matches if it is the canonical spelling of its values: `/rooms/0012/` is not
        `/rooms/12/`, and a policy for one must not cover the other.
        """
        # Most patterns do not match, and this shows it for most of them.
        if not name.startswith(self.beginning):
            return None
        found = self._texts(name)
        if found is None:
            return None
        values: dict[str, object] = {}
        for parameter, converter in self._converters.items():
            text = found[parameter]
            try:
                value = converter.to_python(text)
                if converter.to_url(value) != text:
                    return None
            except ValueError:
                return None  # how converters say "no match"
            values[parameter] = value
        return values

    def user_name(self, name: str) -> str | None:
        """Return the user named in a channel's name, as it is spelled there."""
        found = self._texts(name) if USERNAME in self._converters else None
        return found[USERNAME] if found else None


class _Compiled:
    """The compiled patterns, valid for as long as the project registers no other converters."""

    LIMIT = 20_000

    def __init__(self) -> None:
        self._converters: object = None
        self._patterns: dict[str, Pattern] = {}

    def get(self, text: str) -> Pattern:
        converters = get_converters()
        if converters is not self._converters or len(self._patterns) >= self.LIMIT:
            self._converters, self._patterns = converters, {}
        patterns = self._patterns
        known = patterns.get(text)
        if known is None:
            known = patterns[text] = _compile(text)
        return known


_compiled = _Compiled()


def compile_pattern(text: str) -> Pattern:
    """Compile a channel pattern, which has the syntax of a route of Django's `path()`.

    Raises:
        PatternError: The pattern is malformed; the text says where.

    """
    return _compiled.get(text)


def _compile(text: str) -> Pattern:
    if not text:
        raise PatternError(_("A pattern cannot be empty."))
    if names.has_forbidden_characters(text):
        raise PatternError(_("A pattern cannot contain control characters."))
    named, plain, end = [], [], 0
    sequence = Sequence()
    parts: list[str | Converter] = []
    converters: dict[str, Converter] = {}
    for found in _PARAMETER.finditer(text):
        literal = _literal(text[end : found.start()])
        name, converter = _parameter(found, converters)
        converters[name] = converter
        parts += [text[end : found.start()], converter]
        sequence.literal(text[end : found.start()])
        sequence.converter(name, converter.regex)
        named += [literal, f"(?P<{name}>{converter.regex})"]
        plain += [literal, f"(?:{converter.regex})"]
        end = found.end()
    literal = _literal(text[end:])
    sequence.literal(text[end:])
    regex = "".join([*plain, literal])
    try:
        re.compile(regex)
        matcher = re.compile("".join([*named, literal]))
    except re.error as error:
        # Only a project's own converter can cause this.
        message = _("The pattern's converters do not form a valid regular expression: %(error)s.")
        raise PatternError(message % {"error": error}) from error
    trees = [tree_of(converter.regex) for converter in converters.values()]
    texts = _by_regex(matcher)
    if sum(ANY if tree is None else work(tree) for tree in trees) > MOST_BY_REGEX:
        if sequence.is_simple:
            texts = sequence.matcher().match
        else:
            texts = _program([*parts, text[end:]], converters)
        regex = f"{_literal(prefix(text))}.*{literal}"  # also fast to match
    beginning, ending = (prefix(text), text[end:]) if converters else (text, text)
    return Pattern(text, regex, (*parts, text[end:]), beginning, ending, texts, converters)


def _program(
    parts: list[str | Converter], converters: Mapping[str, Converter]
) -> Callable[[str], Mapping[str, str] | None]:
    """Return a matcher for what is not a plain sequence.

    Raises:
        PatternError: If the time to match a name would not be bounded.

    """
    program, parameters = Program(), iter(converters)
    for part in parts:
        if isinstance(part, str):
            program.literal(part)
            continue
        name, tree = next(parameters), tree_of(part.regex)
        try:
            if tree is None:
                raise TooComplicated
            program.converter(name, tree)
        except TooComplicated:
            message = _(
                "“<%(name)s>”: the regular expression of its converter, %(regex)s, could take "
                "hours to match a name. Write it without repetitions inside repetitions, or "
                "without look-around, references, anchors and comments."
            )
            raise PatternError(message % {"name": name, "regex": part.regex}) from None
    return program.match


def _by_regex(matcher: re.Pattern[str]) -> Callable[[str], Mapping[str, str] | None]:
    def texts(name: str) -> Mapping[str, str] | None:
        found = matcher.fullmatch(name)
        return None if found is None else found.groupdict()

    return texts


def covering_regex(text: str) -> str:
    """Return a regular expression for all channels a policy with this pattern may decide for."""
    try:
        return compile_pattern(text).regex
    except PatternError:
        return re.escape(prefix(text)) + ".*"  # like `Rule.covers`


def prefix(text: str) -> str:
    """Return the literal beginning of a pattern, which may be malformed."""
    return text.partition("<")[0]


def _literal(text: str) -> str:
    for bracket in "<>":
        if bracket in text:
            raise PatternError(
                _("“%(bracket)s” in “%(text)s” has no counterpart; write a parameter as <name>.")
                % {"bracket": bracket, "text": text}
            )
    return re.escape(text)


def _parameter(found: re.Match[str], seen: Mapping[str, object]) -> tuple[str, Converter]:
    kind, name, whole = found["converter"], found["name"], found[0]
    if any(character.isspace() for character in whole):
        raise PatternError(_("“%(part)s” must not contain spaces.") % {"part": whole})
    if not name.isidentifier():
        raise PatternError(
            _("“%(part)s”: the name must consist of letters, digits and underscores.")
            % {"part": whole}
        )
    if name in seen:
        raise PatternError(_("<%(name)s> appears in the pattern twice.") % {"name": name})
    converters = get_converters()
    if kind is None:
        kind = "str"
    if kind not in converters:
        raise PatternError(
            _("“%(part)s”: unknown converter “%(kind)s”; the known converters are %(known)s.")
            % {"part": whole, "kind": kind, "known": ", ".join(sorted(converters))}
        )
    return name, converters[kind]
