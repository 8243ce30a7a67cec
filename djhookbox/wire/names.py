"""What the name of a channel or a user is."""

from __future__ import annotations

import re
from enum import Enum

#: The longest name, in characters: what the columns of the audit log hold.
MAX_LENGTH = 255

#: The longest id of a connection, and the longest connect token, in characters.
CONNECTION_LENGTH = 64
TOKEN_LENGTH = 2048

#: Names of channels that begin so belong to this package.
RESERVED_PREFIX = "djhookbox:"

#: Control characters, lone surrogates, and the line and paragraph separators (the categories Cc,
#: Cs, Zl and Zp of Unicode): they cannot be logged in one line, or not be stored at all.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Fault(Enum):
    """Why a value cannot be a name; the value is an English text."""

    TYPE = "must be a string"
    EMPTY = "must not be empty"
    LENGTH = "is too long (at most {limit} characters)"
    CHARACTERS = "must not contain control characters"


class NameProblem(ValueError):
    """A name that cannot be used; the text says why."""


def find_fault(value: object, limit: int = MAX_LENGTH) -> Fault | None:
    """Return why a value cannot be a name, or None if it can.

    Args:
        value: Anything.
        limit: Characters that a name may have.

    """
    if not isinstance(value, str):
        return Fault.TYPE
    if not value:
        return Fault.EMPTY
    if len(value) > limit:
        return Fault.LENGTH
    return Fault.CHARACTERS if has_forbidden_characters(value) else None


def check_name(field: str, value: object, limit: int = MAX_LENGTH) -> str:
    """Return a value that can be a name.

    Args:
        field: What the value is called where it came from.
        value: Anything.
        limit: Characters that a name may have.

    Raises:
        NameProblem: It is not a string, empty, too long, or has characters that names lack.

    """
    fault = find_fault(value, limit)
    if fault is not None or not isinstance(value, str):
        raise NameProblem(f"{field} {(fault or Fault.TYPE).value.format(limit=limit)}")
    return value


def has_forbidden_characters(text: str) -> bool:
    """Tell whether a text has characters that no name has, such as NUL or a line break."""
    # isprintable() is much faster than the search, and true for nearly every name.
    return not text.isprintable() and _FORBIDDEN.search(text) is not None


def without_forbidden_characters(text: str) -> str:
    """Return a text with the characters that no name has replaced by U+FFFD."""
    return text if text.isprintable() else _FORBIDDEN.sub("\ufffd", text)
