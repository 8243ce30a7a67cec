"""The rules for the names of channels and users."""

from __future__ import annotations

import re
from enum import Enum

#: Maximum length of a name in characters, as in the columns of the audit log.
MAX_LENGTH = 255

#: Maximum length of a connection id and of a connect token, in characters.
CONNECTION_LENGTH = 64
TOKEN_LENGTH = 2048

#: Maximum length of the key of a publication, and of the epoch of a stream, in characters.
KEY_LENGTH = 128
EPOCH_LENGTH = 32

#: The keys of browsers are stored with this prefix, which keys of code cannot have.
BROWSER_KEY = "browser:"

#: Names of channels that begin with this prefix belong to this package.
RESERVED_PREFIX = "djhookbox:"

#: Control characters, lone surrogates, and the line and paragraph separators (the Unicode
#: categories Cc, Cs, Zl and Zp): they cannot be logged in one line, or cannot be stored at all.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Fault(Enum):
    """A reason why a value cannot be a name; the enum value is an English text."""

    TYPE = "must be a string"
    EMPTY = "must not be empty"
    LENGTH = "is too long (at most {limit} characters)"
    CHARACTERS = "must not contain control characters"


class NameProblem(ValueError):
    """A name that cannot be used; the text says why."""


def find_fault(value: object, limit: int = MAX_LENGTH) -> Fault | None:
    """Return why a value cannot be a name, or None if it can.

    Args:
        value: Any value.
        limit: Maximum length in characters.

    """
    if not isinstance(value, str):
        return Fault.TYPE
    if not value:
        return Fault.EMPTY
    if len(value) > limit:
        return Fault.LENGTH
    return Fault.CHARACTERS if has_forbidden_characters(value) else None


def check_name(field: str, value: object, limit: int = MAX_LENGTH) -> str:
    """Return a value if it can be a name.

    Args:
        field: The name of the field that the value comes from.
        value: Any value.
        limit: Maximum length in characters.

    Raises:
        NameProblem: If it is not a string, is empty or too long, or has forbidden characters.

    """
    fault = find_fault(value, limit)
    if fault is not None or not isinstance(value, str):
        raise NameProblem(f"{field} {(fault or Fault.TYPE).value.format(limit=limit)}")
    return value


def has_forbidden_characters(text: str) -> bool:
    """Return whether a text has characters forbidden in names, such as NUL or a line break."""
    # isprintable() is much faster than the search, and true for nearly every name.
    return not text.isprintable() and _FORBIDDEN.search(text) is not None


def without_forbidden_characters(text: str) -> str:
    """Return a text with the characters forbidden in names replaced by U+FFFD."""
    return text if text.isprintable() else _FORBIDDEN.sub("\ufffd", text)
