"""Parse Python 2 literals, in which Hookbox 0.3.3 sends payloads to the publish webhook.

It sends what `str()` returned for the JSON value: strings as they are, `True`, `None`,
`{u'a': u'\\xe9'}`. Only a text that Python 2 would have written is parsed; any other text is a
string that happens to look like a literal.
"""

from __future__ import annotations

import ast
import re

#: Maximum nesting that is parsed; a deeper text stays a string.
MAX_DEPTH = 100
#: Maximum characters that are parsed; a longer text stays a string.
MAX_LENGTH = 524_288

_CONSTANTS: dict[str, object] = {"True": True, "False": False, "None": None}

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,3999}")
_FLOAT = re.compile(r"-?[0-9]{1,25}(\.[0-9]{1,25})?(e[+-][0-9]{1,3})?")
#: A string in a list or an object, with only the escapes that Python 2 writes.
_ESCAPE = r"\\(?:[\\'nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_STRING = re.compile(
    rf"""u'(?:[ -&(-\[\]-~]|{_ESCAPE})*'|u"(?:[ !#-\[\]-~]|{_ESCAPE})*" """.strip()
)
#: The L of a long integer; strings are matched first, so that they keep theirs.
_LONG = re.compile(rf"({_STRING.pattern})|(?<=[0-9])L(?=[],}}])")

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def value(text: str) -> object:
    """Return the JSON value for which Python 2's `str()` wrote this text.

    Strings are written as they are: if Python 2 would not have written the text for another value,
    the text is the value. Never raises.
    """
    if text[:1] in ("[", "{"):
        return _container(text)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if text == _short(number):
            return number
    return text


def _short(number: float) -> str:
    """Format a number as Python 2's `str()` does, which differs from its `repr()`."""
    text = f"{number:.12g}"
    return text if re.search("[.ein]", text) else f"{text}.0"


def _container(text: str) -> object:
    """Return a list or an object, or the text if Python 2 did not write it."""
    if len(text) > MAX_LENGTH or not _can_be_evaluated(text):
        return text
    # Python 3 has no long integers, whose minimum depends on the machine.
    text_of_3 = _LONG.sub(lambda match: match[1] or "", text)
    try:
        found: object = ast.literal_eval(text_of_3)
        return found if _written(found) == text_of_3 else text
    except (ValueError, SyntaxError, TypeError):
        return text


def _can_be_evaluated(text: str) -> bool:
    """Return whether a text is harmless to the parser: few levels, and no unknown escapes."""
    skeleton = _STRING.sub("", text)
    if any(character in skeleton for character in "'\"\\"):
        return False
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", skeleton):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest <= MAX_DEPTH and depth == 0


def _written(found: object) -> str:
    """Format a value as Python 2's `repr()` does, without the L of long integers.

    Raises:
        TypeError: It is not a JSON value.

    """
    if found is None or isinstance(found, bool | int | float):
        return repr(found)
    if isinstance(found, str):
        return f"u{_quoted(found)}"
    if isinstance(found, list):
        return f"[{', '.join(map(_written, found))}]"
    if isinstance(found, dict) and all(isinstance(key, str) for key in found):
        items = (f"{_written(key)}: {_written(inner)}" for key, inner in found.items())
        return f"{{{', '.join(items)}}}"
    raise TypeError(found)


def _quoted(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    return f"{quote}{''.join([_character(char, quote) for char in text])}{quote}"


def _character(char: str, quote: str) -> str:
    if char == quote:
        return f"\\{quote}"
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if 32 <= code < 127:
        return char
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"
