"""JSON as Django writes it and people enter it, with plain words for what is wrong.

What JSON is, is said in `wire.values`. Here come Django's own types (dates, decimals, UUIDs, lazy
texts) and sentences in the user's language.
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
#: As JSON writes it: an escape that is not itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class JSONProblem(ValueError):
    """A text or a value that is not JSON; the text is a sentence that says why."""


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
        TypeError: It holds an object that has no JSON form; the text names the type.
        ValueError: It holds NaN or Infinity, itself, or is nested too deeply.

    """
    text = _write(value)
    values.check_depth(value, text, max_depth)
    return text


def find_unsafe_integer(text: str) -> int | None:
    """Return an integer of a JSON text that browsers read rounded, None if there is none."""
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
    """Return a sentence that says why databases refuse a value, "" if they do not.

    PostgreSQL cannot keep NUL in JSON, and no database lone halves of surrogate pairs.
    """
    if has_surrogates(value):
        return _("This must not contain lone surrogates.")
    return _("This must not contain null characters.") if _NUL.search(_plain(value)) else ""


def has_surrogates(value: object) -> bool:
    """Tell whether texts in a JSON value have lone halves of surrogate pairs."""
    return _SURROGATE.search(_plain(value)) is not None


def explain(error: Exception) -> str:
    """Return a sentence that says why a text could not be read, or a value not be written."""
    if isinstance(error, json.JSONDecodeError):
        return _("This is not JSON: %(problem)s in line %(line)d, column %(column)d.") % {
            "problem": error.msg,
            "line": error.lineno,
            "column": error.colno,
        }
    if not isinstance(error, values.ValueProblem):  # such as a number of 5000 digits
        return _("This is not JSON: %(problem)s.") % {"problem": error}
    if error.fault is values.Fault.DEPTH:
        return _("This is nested too deeply.")
    if error.fault is values.Fault.NUMBER:
        return _("The number %(number)s is too large.") % {"number": error.text}
    return _("%(name)s is not valid JSON.") % {"name": error.text}
