"""The notation of Python 2, in which Hookbox 0.3.3 sends payloads to the publish webhook.

It sends what `str()` made of the JSON value: strings as they are, `True`, `None`,
`{u'a': u'\\xe9'}`. What is read here is exactly what Python 2 wrote, and nothing is evaluated:
the text is cut into tokens and put together again, in a time proportional to its length.
"""

from __future__ import annotations

import re

#: Lists and objects in one another; deeper ones are taken as the text that they are.
DEEPEST = 100

#: What Python 2 wrote. The numbers are bounded because reading them takes more than linear time.
_TOKEN = re.compile(
    r"""
      u'(?P<single> [^'\\]* (?:\\.[^'\\]*)* )'
    | u"(?P<double> [^"\\]* (?:\\.[^"\\]*)* )"
    | (?P<float> -?\d{1,25}(?:\.\d{1,25})?e[+-]\d{1,3} | -?\d{1,25}\.\d{1,25} )
    | (?P<integer> 0|-?[1-9]\d{0,3999} )L?
    | (?P<constant> True|False|None )
    | (?P<mark> ,[ ] | :[ ] | [\[\]{}] )
    """,
    re.VERBOSE | re.ASCII,
)

_ESCAPE = re.compile(
    r"\\(?:([\\'nrt])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4})|())"
)
_PLAIN = re.compile(r"[ -~]*")

_CONSTANTS: dict[str, object] = {"True": True, "False": False, "None": None}
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}


class _Strange(Exception):
    """Python 2 has not written this."""


def value(text: str) -> object:
    """Return the JSON value that Python 2's `str()` has written as this text.

    A string looks like whatever it contains: where it is the notation of nothing else, to the
    last space, the text is the value. This never raises.
    """
    if text[:1] in ("[", "{"):
        try:
            return _container(text)
        except _Strange:
            return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    token = _TOKEN.fullmatch(text)
    if token is not None and token["integer"] == text:  # str() writes no L
        return int(text)
    if token is not None and token["float"]:
        number = float(text)
        if text == _short(number):
            return number
    return text


def _short(number: float) -> str:
    """Write a number as Python 2's `str()` does, which differs from its `repr()`."""
    text = f"{number:.12g}"
    return text if re.search("[.ein]", text) else f"{text}.0"


def _container(text: str) -> object:
    """Read a list or an object.

    Raises:
        _Strange: It is none.

    """
    root: list[object] = []
    # What is open: the outermost first, each with the key that waits for its value.
    stack: list[tuple[list[object] | dict[str, object], str | None]] = [(root, None)]
    position, end = 0, len(text)
    expected = "value"  # or "first" (of a container), "key", "colon", "more" (comma or the end)
    key: str | None = None
    while position < end:
        if len(stack) == 1 and root:
            raise _Strange  # something follows the end
        token = _TOKEN.match(text, position)
        if token is None:
            raise _Strange
        position = token.end()
        mark = token["mark"]
        top = stack[-1][0]
        if mark in ("]", "}"):
            closes = (mark == "]") == isinstance(top, list) and len(stack) > 1
            if not closes or expected not in ("first", "more"):
                raise _Strange
            key = stack.pop()[1]
            _put(stack[-1][0], key, top)
            expected = "more"
        elif mark == ", ":
            if expected != "more":
                raise _Strange
            expected = "key" if isinstance(top, dict) else "value"
        elif mark == ": ":
            if expected != "colon":
                raise _Strange
            expected = "value"
        elif expected == "key" or (expected == "first" and isinstance(top, dict)):
            key = _string(token)
            expected = "colon"
        elif expected not in ("value", "first"):
            raise _Strange
        elif mark:
            if len(stack) > DEEPEST:
                raise _Strange
            stack.append(([] if mark == "[" else {}, key))
            expected = "first"
        else:
            _put(top, key, _scalar(token))
            expected = "more"
    if len(stack) > 1:
        raise _Strange
    return root[0]


def _put(container: list[object] | dict[str, object], key: str | None, item: object) -> None:
    if isinstance(container, list):
        container.append(item)
    elif key is not None:
        container[key] = item


def _scalar(token: re.Match[str]) -> object:
    if token["constant"]:
        return _CONSTANTS[token["constant"]]
    if token["integer"]:
        return int(token["integer"])
    if token["float"]:
        number = float(token["float"])
        if repr(number) != token["float"]:  # infinities among others
            raise _Strange
        return number
    return _string(token)


def _string(token: re.Match[str]) -> str:
    inside = token["single"]
    if inside is None:
        inside = token["double"]  # chosen only for the sake of an apostrophe
        if inside is None or "'" not in inside:
            raise _Strange
    if not _PLAIN.fullmatch(inside):
        raise _Strange
    return _ESCAPE.sub(_character, inside)


def _character(escape: re.Match[str]) -> str:
    letter, *codes, wrong = escape.groups()
    if wrong is not None:
        raise _Strange
    if letter:
        return _LETTERS.get(letter, letter)
    return chr(int("".join(filter(None, codes)), 16))
