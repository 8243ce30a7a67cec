"""The arguments of REST calls: fields of a form, some of them JSON texts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ...wire import records
from ...wire.rest import SECRET_FIELDS

Form = Mapping[str, str]

Request = TypeVar("Request")


class BadCall(ValueError):
    """An argument is missing or wrong; the text names it."""


def bound(
    kind: type[Request],
    method: Callable[[Request], Awaitable[object]],
    *,
    what: str = "option",
) -> Callable[[Form], Awaitable[dict[str, Any]]]:
    """Return a call that takes a form and gives a JSON object, made of one that takes a record.

    Args:
        kind: The record of the call, one of `djhookbox.wire.rest`.
        method: What carries it out and returns the record of the answer, or the answer. The
            call raises BadCall for a form that is not such a record.
        what: What errors call the fields that hold JSON.

    """

    async def call(form: Form) -> dict[str, Any]:
        try:
            request = records.from_form(kind, form, SECRET_FIELDS)
        except records.FieldProblem as problem:
            raise _bad_call(problem, what) from None
        answer = await method(request)
        return answer if isinstance(answer, dict) else records.write(answer)

    return call


def _bad_call(problem: records.FieldProblem, what: str) -> BadCall:
    """Say what is wrong with a field, in the words of 0.3.3 where it has any."""
    if problem.fault is records.Fault.MISSING:
        return missing(problem.field)
    if problem.fault is records.Fault.JSON:
        return not_json(problem.field, what)
    return BadCall(str(problem))


def missing(name: str) -> BadCall:
    """Return what is raised for a field that must be there."""
    quoted = name in ("key", "val")  # as 0.3.3 wrote them
    return BadCall(f"Missing '{name}' argument" if quoted else f"Missing {name}")


def not_json(name: str, what: str = "option") -> BadCall:
    """Return what is raised for a field that is not JSON."""
    quoted = f"'{name}'" if what == "form key" else name
    return BadCall(f"Invalid json value for {what} {quoted}")


def compiled(texts: tuple[str, ...], name: str) -> list[re.Pattern[str]]:
    """Return the regular expressions that a field holds."""
    try:
        return [re.compile(text) for text in texts]
    except re.error as error:
        raise BadCall(f"{name}: {error}") from None
