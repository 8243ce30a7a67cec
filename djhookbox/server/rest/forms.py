"""The arguments of REST calls: form fields, some of which contain JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType
from typing import TypeVar

from ...wire import records, rest
from ...wire.fields import Fault, FieldProblem
from ...wire.rest import SECRET_FIELDS
from ..core.effects import Made

Form = Mapping[str, str]

Request = TypeVar("Request")


class BadCall(ValueError):
    """An argument is missing or invalid; the text names it."""


def bound(
    kind: type[Request],
    method: Callable[[Request], Awaitable[object]],
    *,
    what: str = "option",
    first: Callable[[Form], None] | None = None,
) -> Callable[[Form], Awaitable[dict[str, object]]]:
    """Wrap a method that takes a record as a call that takes a form and returns a JSON object.

    Args:
        kind: The record of the call, one of `djhookbox.wire.rest`.
        method: Carries out the call, and returns the answer or its record. The wrapped call
            raises BadCall for a form that does not match the record.
        what: The term for JSON fields in error messages.
        first: Checks the form before its fields are read.

    """

    async def call(form: Form) -> dict[str, object]:
        if first is not None:
            first(form)
        answer = await method(_read(kind, form, what))
        return answer if isinstance(answer, dict) else records.write(answer)

    return call


async def written(answer: Awaitable[object]) -> dict[str, object]:
    """Wait for the record of an answer, and return it as a JSON object."""
    return records.write(await answer)


#: A call that returns its answer, something to wait for, or None if it cannot be made at once.
AtOnce = Callable[[Form], "dict[str, object] | Awaitable[dict[str, object]] | None"]


def bound_at_once(
    kind: type[Request], method: Callable[[Request], object | Awaitable[object] | None]
) -> AtOnce:
    """Wrap a method that mostly returns the record of its answer at once; see `bound`."""

    def call(form: Form) -> dict[str, object] | Awaitable[dict[str, object]] | None:
        answer = method(_read(kind, form, "option"))
        if isinstance(answer, CoroutineType):  # checking for Awaitable takes longer
            return written(answer)
        return None if answer is None else records.write(answer)

    return call


def _read(kind: type[Request], form: Form, what: str) -> Request:
    try:
        return records.from_form(kind, form, SECRET_FIELDS)
    except FieldProblem as problem:
        raise _bad_call(problem, what) from None


def when_made(request: rest.Publish | rest.PublishMulti) -> Made | None:
    """Return when and where a publication was made, if the caller says it."""
    if not isinstance(request, rest.Publish) or request.made is None:
        return None
    trace = request.traceparent
    return Made(request.made, trace, time.time_ns() if trace else 0)


def _bad_call(problem: FieldProblem, what: str) -> BadCall:
    """Return the error for an invalid field, in the words of 0.3.3 where it has any."""
    if problem.fault is Fault.MISSING:
        return missing(problem.field)
    if problem.fault is Fault.JSON:
        return not_json(problem.field, what)
    return BadCall(str(problem))


def missing(name: str) -> BadCall:
    """Return the error for a required field that is missing."""
    quoted = name in ("key", "val")  # as in 0.3.3
    return BadCall(f"Missing '{name}' argument" if quoted else f"Missing {name}")


def not_json(name: str, what: str = "option") -> BadCall:
    """Return the error for a field that is not JSON."""
    quoted = f"'{name}'" if what == "form key" else name
    return BadCall(f"Invalid json value for {what} {quoted}")


def compiled(texts: tuple[str, ...], name: str) -> list[re.Pattern[str]]:
    """Compile the regular expressions in a field."""
    try:
        return [re.compile(text) for text in texts]
    except re.error as error:
        raise BadCall(f"{name}: {error}") from None
