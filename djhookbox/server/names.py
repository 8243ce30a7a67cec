"""Which names channels and users can have."""

from __future__ import annotations


class NameProblem(ValueError):
    """A name that cannot be used; the text says why."""


def check_name(field: str, value: object, limit: int) -> str:
    """Return a name that can be used.

    Args:
        field: What the value is called where it came from.
        value: Anything.
        limit: Characters that it may have.

    Raises:
        NameProblem: If it is not a string, empty, too long, or holds what cannot be logged.

    """
    if not isinstance(value, str):
        raise NameProblem(f"{field} must be a string")
    if not value:
        raise NameProblem(f"{field} must not be empty")
    if len(value) > limit:
        raise NameProblem(f"{field} is too long (at most {limit} characters)")
    # Control characters, lone surrogates, ends of lines (categories Cc, Cs, Zl and Zp).
    if not value.isprintable() and any(
        c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" or "\ud800" <= c <= "\udfff"
        for c in value
    ):
        raise NameProblem(f"{field} must not contain control characters")
    return value
