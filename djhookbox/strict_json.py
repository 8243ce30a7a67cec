"""JSON as Django writes it and people enter it, with plain explanations of errors.

`wire.values` defines JSON. This adds Django's types (dates, decimals, UUIDs, lazy strings) and
messages in the user's language.
"""

from __future__ import annotations

import json
import re

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext as _

from .wire import values

_plain = DjangoJSONEncoder(ensure_ascii=False).encode
_write = values.encoder(DjangoJSONEncoder().default)

#: Browsers read numbers as floats: integers beyond this are rounded.
MAX_SAFE_INTEGER = 2**53 - 1

_SURROGATE = re.compile("[\ud800-\udfff]")
#: An escaped surrogate or NUL in JSON text, where the escape is not itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class JSONProblem(ValueError):
    """A text or a value is not JSON; the exception's text explains why."""


def read(text: str, *, max_depth: int = values.MAX_DEPTH) -> values.JSON:
    """Return the value of a JSON text.

    Args:
        text: The text.
        max_depth: How deep it may be nested.

    Raises:
        JSONProblem: It is not JSON, or is nested too deeply.

    """
    try:
        return values.loads(text, max_depth=max_depth)
    except ValueError as error:
        raise JSONProblem(explain(error)) from error


def write(value: object, *, max_depth: int = values.MAX_DEPTH) -> str:
    """Write a value as JSON text in ASCII, as Django would.

    Args:
        value: The value.
        max_depth: How deep it may be nested.

    Raises:
        TypeError: It contains an object without a JSON form; the text names the type.
        ValueError: It contains NaN, Infinity or itself, or is nested too deeply.

    """
    text = _write(value)
    values.check_depth(value, text, max_depth)
    return text


def find_unsafe_integer(text: str) -> int | None:
    """Return an integer in a JSON text that browsers round, or None."""
    waiting = [values.loads(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
            return value
    return None


def storage_problem(value: object) -> str:
    """Return why databases reject a value, or "".

    PostgreSQL cannot store NUL in JSON, and no database can store lone surrogates.
    """
    if has_surrogates(value):
        return _("This must not contain lone surrogates.")
    return _("This must not contain null characters.") if _NUL.search(_plain(value)) else ""


def has_surrogates(value: object) -> bool:
    """Return whether strings in a JSON value contain lone surrogates."""
    return _SURROGATE.search(_plain(value)) is not None


def explain(error: Exception) -> str:
    """Return why a text could not be read or a value not be written."""
    if isinstance(error, json.JSONDecodeError):
        return _("This is not JSON: %(problem)s in line %(line)d, column %(column)d.") % {
            "problem": error.msg,
            "line": error.lineno,
            "column": error.colno,
        }
    if not isinstance(error, values.ValueProblem):  # such as a number with 5000 digits
        return _("This is not JSON: %(problem)s.") % {"problem": error}
    if error.fault is values.Fault.DEPTH:
        return _("This is nested too deeply.")
    if error.fault is values.Fault.NUMBER:
        return _("The number %(number)s is too large.") % {"number": error.text}
    return _("%(name)s is not valid JSON.") % {"name": error.text}
