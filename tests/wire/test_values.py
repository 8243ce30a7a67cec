"""The one strict JSON of both processes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from djhookbox.server.protocol.rtjp import encode
from djhookbox.wire.values import (
    MAX_DEPTH,
    MAX_DOCUMENT_DEPTH,
    Fault,
    ValueProblem,
    check_depth,
    dumps,
    encoder,
    loads,
)

from .json_values import json_values


def nested(depth: int, kind: str = "[") -> str:
    if kind == "[":
        return "[" * depth + "]" * depth
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


@pytest.mark.parametrize("kind", ["[", "{"])
def test_nesting_has_a_limit_of_its_own(kind: str) -> None:
    value = loads(nested(MAX_DEPTH, kind))
    # What is allowed can be sent on, inside of a frame and a history.
    assert json.loads(encode("PUBLISH", {"history": [["PUBLISH", {"payload": value}]]}))
    with pytest.raises(ValueProblem, match="nested too deeply") as caught:
        loads(nested(MAX_DEPTH + 1, kind))
    assert caught.value.fault is Fault.DEPTH
    assert loads(nested(MAX_DOCUMENT_DEPTH), max_depth=MAX_DOCUMENT_DEPTH)
    with pytest.raises(ValueProblem):
        loads(nested(MAX_DOCUMENT_DEPTH + 1), max_depth=MAX_DOCUMENT_DEPTH)


def test_many_brackets_are_not_deep() -> None:
    text = json.dumps([["[" * 500, {"{": [1]}]] * 500)
    assert loads(text) == json.loads(text)
    check_depth(loads(text), text)


@pytest.mark.parametrize("depth", [5_000, 500_000])
def test_no_depth_crashes(depth: int) -> None:
    with pytest.raises(ValueProblem, match="deep"):
        loads(nested(depth))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "NaN is not JSON"), ('{"a": -Infinity}', "-Infinity is not JSON"),
        ("[1e999]", "the number 1e999 is too large"), ("-1e400", "the number -1e400"),
        ("1" * 60 + ".5e999", f"the number {'1' * 40}… is too large"),
    ],
)  # fmt: skip
def test_what_is_json_only_to_python(text: str, words: str) -> None:
    assert json.loads(text) is not None
    with pytest.raises(ValueProblem) as caught:
        loads(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "01", "[1,]", "\ufeff1", b"\xff", b"\xed\xa0\x80", "1 2"])
def test_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_bytes_are_utf8_with_or_without_a_mark() -> None:
    assert loads('"ü"'.encode()) == loads(bytearray('"ü"'.encode())) == "ü"
    assert loads(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, {"a": [math.inf]}])
def test_a_number_that_is_not_finite_is_never_written(value: object) -> None:
    with pytest.raises(ValueError):
        dumps(value)


def test_what_contains_itself_is_not_written() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError):
        dumps(value)


def test_an_encoder_can_know_more_types() -> None:
    assert encoder(str)({"a": {1}.__class__}) == """{"a":"<class 'set'>"}"""
    with pytest.raises(TypeError):
        encoder()({1})


@given(json_values)
def test_texts_are_those_of_json(value: Any) -> None:
    """`dumps` uses what is below `json.dumps`."""
    assert dumps(value) == json.dumps(value, separators=(",", ":"))


@given(json_values)
def test_whatever_is_written_can_be_read(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert dumps(value).isascii()


def test_lone_surrogates_pass_unchanged() -> None:
    assert loads(dumps("\ud800")) == "\ud800"
