"""Escape external text in log lines: it must not forge a line or control a terminal.

Every logger of the package has a filter that passes each record's arguments through `printable`,
so that no logging call can omit it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

#: The loggers of the package. A test compares them with those used in the code.
LOGGERS = (
    "djhookbox", "djhookbox.webhook", "djhookbox.server", "djhookbox.server.access",
    "djhookbox.server.decisions", "djhookbox.server.events", "djhookbox.server.rest",
    "djhookbox.server.webhooks",
    "djhookbox.workers",
)  # fmt: skip

#: Maximum number of characters of one value in a log line.
LONGEST = 2000


def printable(text: str, limit: int = LONGEST) -> str:
    r"""Return a text as one harmless line.

    Everything that is not printable becomes an escape sequence as in Python's source: control
    characters (newline, ESC, NUL), line separators, marks that reverse the text direction,
    zero-width characters and lone surrogates. `"a\nb"` becomes `a\nb` with a backslash.

    Args:
        text: Any text.
        limit: Number of characters to keep; an ellipsis replaces the rest.

    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class _Outside:
    """A value that is escaped when it is formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(str(self._value))

    def __repr__(self) -> str:
        return printable(repr(self._value))


class EscapingFilter(logging.Filter):
    """Let all records pass, but escape their content."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape the arguments and the message of a record, and the text of its exception."""
        if isinstance(record.msg, str):
            record.msg = printable(record.msg, len(record.msg))
        else:
            record.msg = _Outside(record.msg)
        if isinstance(record.args, Mapping):
            record.args = {name: _guarded(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_guarded, record.args))
        if record.exc_info and not record.exc_text:
            # An exception's text may contain anything, even an imitation of another record.
            # Indentation prevents that, and a traceback does not need the left margin.
            text = _FORMATTER.formatException(record.exc_info)
            record.exc_text = "\n".join(f"  {printable(line)}" for line in text.split("\n"))
        return True


_FORMATTER = logging.Formatter()
_FILTER = EscapingFilter()


def _guarded(value: object) -> object:
    # Numbers have their own formats, such as %d.
    harmless = value is None or isinstance(value, int | float | _Outside)
    return value if harmless else _Outside(value)


def install() -> None:
    """Add the filter to each logger of the package; repeated calls have no effect."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
