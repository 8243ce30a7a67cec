"""Strict JSON: anything one process writes can be read by the other, and by a browser.

Python's own functions also accept and write NaN and Infinity, turn 1e999 into Infinity, and allow
nesting as deep as the stack allows. The decoder and the encoder are created once: `json.loads`
with options creates a new one for each call, which takes longer than reading a short text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import Any, TypeAlias

#: Any JSON value.
JSON: TypeAlias = Any
#: An object of any JSON values.
JSONObject: TypeAlias = dict[str, JSON]

#: Maximum nesting of values. Python's own limits vary with the version and the call stack, so a
#: value that could be read might still be impossible to send on.
MAX_DEPTH = 100

#: Maximum nesting of our own documents, such as a list of events that contain values.
MAX_DOCUMENT_DEPTH = MAX_DEPTH + 10


class Fault(Enum):
    """What is wrong with a text or a value; the enum value is an English text."""

    CONSTANT = "{text} is not JSON"
    NUMBER = "the number {text} is too large"
    DEPTH = "it is nested too deeply (at most {text} levels)"


class ValueProblem(ValueError):
    """A value that Python accepts as JSON, but RFC 8259 does not, or that is nested too deeply.

    Attributes:
        fault: What is wrong.
        text: The constant or number, or the limit.

    """

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(fault, text)
        self.fault = fault
        self.text = text

    def __str__(self) -> str:
        return self.fault.value.format(text=self.text)


def loads(text: str | bytes | bytearray, *, max_depth: int = MAX_DEPTH) -> JSON:
    """Return the value of a JSON text; `dumps` can write any value that this returns.

    Args:
        text: The text; bytes are UTF-8.
        max_depth: Maximum nesting.

    Raises:
        ValueProblem: If it has NaN, Infinity or a number beyond any float, or is nested too deeply.
        json.JSONDecodeError: If it is not JSON in another way.
        ValueError: If it is not UTF-8, or has an integer of more digits than Python reads.

    """
    if not isinstance(text, str):
        text = text.decode("utf-8-sig")
    try:
        try:
            # `decode` also searches for white space around the value.
            value, end = _scan(text, 0)
        except StopIteration:
            end = 0
        if not end or end < len(text):
            value = _decoder.decode(text)
    except RecursionError:
        raise ValueProblem(Fault.DEPTH, str(max_depth)) from None
    if text.count("[") + text.count("{") > max_depth:  # as in `check_depth`, without the call
        check_depth(value, text, max_depth)
    return value


def check_depth(value: JSON, text: str, max_depth: int = MAX_DEPTH) -> None:
    """Check that a value is not nested too deeply.

    Args:
        value: The value.
        text: The value as JSON.
        max_depth: Maximum nesting.

    Raises:
        ValueProblem: If it is nested more deeply.

    """
    # Counting is fast, and nearly every text has too few brackets to be nested too deeply.
    if text.count("[") + text.count("{") <= max_depth:
        return
    # Level by level: nothing here may depend on Python's recursion limit.
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(max_depth):
        if not level:
            return
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
    if level:
        raise ValueProblem(Fault.DEPTH, str(max_depth))


def encoder(default: Callable[[Any], Any] | None = None) -> Callable[[object], str]:
    """Return a function that writes values as JSON, in one line of ASCII.

    The function raises TypeError for a value that is not JSON, and ValueError for NaN, Infinity
    and values nested more deeply than Python can follow.

    Args:
        default: Converts other values to JSON ones, as in `json.JSONEncoder`.

    """
    plain = json.JSONEncoder(
        ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=default
    )
    quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii
    # `encode` makes this for each value, which takes as long as writing a short one. Without
    # `markers`, the first argument, it does not notice circular values until the stack is full.
    parts: Callable[[object, int], Iterable[str]]
    if make := getattr(json.encoder, "c_make_encoder", None):
        parts = make(
            None, plain.default, quoted, plain.indent, plain.key_separator, plain.item_separator,
            plain.sort_keys, plain.skipkeys, plain.allow_nan,
        )  # fmt: skip
    else:  # there is no C module, as in PyPy

        def parts(value: object, level: int) -> Iterable[str]:
            return plain.iterencode(value)

    def write(value: object) -> str:
        if type(value) is str:
            return quoted(value)
        try:
            return "".join(parts(value, 0))
        except RecursionError:
            with suppress(RecursionError):
                return plain.encode(value)  # says whether it is circular
            raise ValueProblem(Fault.DEPTH, str(MAX_DEPTH)) from None

    return write


#: Writes a JSON value in ASCII.
dumps = encoder()

_CONTAINERS = (list, tuple, dict)


def _refuse_constant(name: str) -> JSON:
    raise ValueProblem(Fault.CONSTANT, name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        number = text if len(text) <= 40 else f"{text[:40]}…"
        raise ValueProblem(Fault.NUMBER, number)
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_scan = _decoder.scan_once  # type: ignore[attr-defined]
