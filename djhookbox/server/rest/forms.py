"""The arguments of REST calls: fields of a form, some of them JSON texts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ...wire import records
from ...wire.rest import SECRET_FIELDS
from ...wire.values import loads

Form = Mapping[str, str]

Request = TypeVar("Request")


class BadCall(ValueError):
    """An argument is missing or wrong; the text names it."""


def bound(
    kind: type[Request], method: Callable[[Request], Awaitable[object]]
) -> Callable[[Form], Awaitable[dict[str, Any]]]:
    """Return a call that takes a form and gives a JSON object, made of one that takes a record.

    Args:
        kind: The record of the call, one of `djhookbox.wire.rest`.
        method: What carries it out and returns the record of the answer. The call raises
            BadCall for a form that is not such a record.

    """

    async def call(form: Form) -> dict[str, Any]:
        try:
            request = records.from_form(kind, form, SECRET_FIELDS)
        except records.FieldProblem as problem:
            if not problem.expected:
                needed({}, problem.field)
            raise BadCall(str(problem)) from None
        return records.write(await method(request))

    return call


def compiled(texts: tuple[str, ...], name: str) -> list[re.Pattern[str]]:
    """Return the regular expressions that a field holds."""
    try:
        return [re.compile(text) for text in texts]
    except re.error as error:
        raise BadCall(f"{name}: {error}") from None


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
