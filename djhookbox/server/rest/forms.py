"""The arguments of REST calls: fields of a form, some of them JSON texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...wire.values import loads

Form = Mapping[str, str]

#: Members of lists in answers.
MAX_LISTED = 100


class BadCall(ValueError):
    """An argument is missing or wrong; the text names it."""


def needed(form: Form, name: str) -> str:
    """Return a field that must be there."""
    value = form.get(name)
    if not value:
        quoted = name in ("key", "val")  # as 0.3.3 wrote them
        raise BadCall(f"Missing '{name}' argument" if quoted else f"Missing {name}")
    return value


def json_value(text: str, name: str, what: str = "option") -> Any:
    """Return what a field's JSON text says."""
    try:
        return loads(text)
    except ValueError:
        quoted = f"'{name}'" if what == "form key" else name
        raise BadCall(f"Invalid json value for {what} {quoted}") from None


def json_fields(form: Form, others: tuple[str, ...]) -> dict[str, Any]:
    """Return all fields but the others named, each a JSON text."""
    return {name: json_value(text, name) for name, text in form.items() if name not in others}


def json_object(form: Form, name: str) -> dict[str, Any] | None:
    """Return a field that holds a JSON object, None if it is missing."""
    if name not in form:
        return None
    value = json_value(form[name], name)
    if not isinstance(value, dict):
        raise BadCall(f"{name} must be a JSON object")
    return value


def json_list(form: Form, name: str) -> list[str] | None:
    """Return a field that holds a JSON list of strings, None if it is missing."""
    if name not in form:
        return None
    value = json_value(form[name], name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadCall(f"{name} must be a JSON list of strings")
    return value


def regexes(form: Form, name: str) -> list[re.Pattern[str]] | None:
    """Return a field that holds a JSON list of regular expressions, None if it is missing."""
    texts = json_list(form, name)
    try:
        return None if texts is None else [re.compile(text) for text in texts]
    except re.error as error:
        raise BadCall(f"{name}: {error}") from None


def whole(form: Form, name: str, default: int) -> int:
    """Return a field that holds a whole number."""
    text = form.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadCall(f"{name} must be a whole number")
    return int(text)


def list_limit(form: Form) -> int:
    """Return how many members a list in the answer may have."""
    return min(MAX_LISTED, whole(form, "limit", MAX_LISTED))
