"""Records of the contract converted to JSON objects and forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.wire import answers, records, rest
from djhookbox.wire.fields import FieldProblem
from djhookbox.wire.revocations import Revocation


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    number: float = 0.5
    switch: bool = False
    anything: object = None
    others: tuple[Inner, ...] = ()
    by_name: Mapping[str, int] = field(default_factory=dict)
    one: Inner | None = None
    renamed: str = field(default="", metadata={"as": "from"})


FULL = {
    "text": "ä",
    "number": 2,
    "switch": True,
    "anything": [1, {"x": None}],
    "others": [{"name": "a"}, {"name": "b", "count": 3}],
    "by_name": {"x": 1},
    "one": {"name": "c"},
    "from": "here",
}


def records_of(module: ModuleType) -> list[type]:
    return [
        kind
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type)
    ]


def test_what_is_written_is_read_again() -> None:
    record = records.read(Outer, FULL)
    assert record.others == (Inner("a"), Inner("b", 3))
    assert record.renamed == "here"
    assert records.write(record) == {**FULL, "number": 2.0}
    assert records.read(Outer, records.write(record)) == record


def test_unknown_fields_are_ignored_because_the_other_side_may_be_newer() -> None:
    assert records.read(Outer, {"text": "x", "later": 1}) == Outer("x")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text": None}, "text is missing"),
        ({"text": 5}, "text must be a string"),
        ({"number": True}, "number must be a number"),
        ({"number": float("nan")}, "number must be a number"),
        ({"number": 10**400}, "number must be a number"),
        ({"switch": 1}, "switch must be true or false"),
        ({"others": {}}, "others must be a list"),
        ({"others": [{"name": "a"}, {"count": 1}]}, "others[1].name is missing"),
        ({"others": [{"name": "a", "count": 1.5}]}, "others[0].count must be a whole number"),
        ({"by_name": {"x": "1"}}, "by_name.x must be a whole number"),
        ({"one": [1]}, "one must be an object"),
    ],
)
def test_a_wrong_field_is_named_with_the_path_to_it(change: Any, problem: str) -> None:
    with pytest.raises(FieldProblem) as caught:
        records.read(Outer, {**FULL, **change})
    assert str(caught.value) == problem


def test_a_lenient_reader_leaves_out_what_is_wrong() -> None:
    odd = {"text": "x", "number": "5", "others": [{"name": "a"}, {"name": 5}, 7], "one": 3}
    assert records.read(Outer, odd, lenient=True) == Outer("x", others=(Inner("a"),))
    with pytest.raises(FieldProblem, match="text is missing"):
        records.read(Outer, {}, lenient=True)


@pytest.mark.parametrize("kind", records_of(rest), ids=lambda kind: kind.__name__)
def test_every_call_survives_its_form(kind: type[Any]) -> None:
    given = {
        each.name: "x" for each in dataclasses.fields(kind)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    }  # fmt: skip
    if kind is rest.Recheck:
        given["patterns"] = ("x",)  # type: ignore[assignment]
    if kind is rest.PublishMany:
        given["publications"] = (rest.Publishing("x", "1"),)  # type: ignore[assignment]
    if kind is rest.Revoke:
        given["revocations"] = (Revocation("x", users=("u",)),)  # type: ignore[assignment]
    request = kind(**given)
    assert records.from_form(kind, records.to_form(request)) == request


@pytest.mark.parametrize("kind", records_of(answers), ids=lambda kind: kind.__name__)
def test_every_answer_can_be_read_and_written(kind: type[Any]) -> None:
    needed = {
        "name": "x", "conn_id": "x", "id": "x", "user": "u", "total": 1, "listed": [], "value": 1.5,
        "offset": 1,
    }  # fmt: skip
    record = records.read(kind, needed, lenient=True)
    assert records.read(kind, records.write(record)) == record


@given(st.text(), st.none() | st.dictionaries(st.text(), st.integers() | st.text()), st.booleans())
def test_the_form_of_a_publication(payload: str, options: Any, recorded: bool) -> None:
    request = rest.Publish("/a/", options=options, recorded=recorded, payload=payload or "null")
    assert records.from_form(rest.Publish, records.to_form(request)) == request


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({}, "channel_name is missing"),
        ({"channel_name": ""}, "channel_name is missing"),
        ({"channel_name": "/a/", "history_size": "{"}, "history_size must be JSON"),
    ],
)
def test_a_wrong_form_is_explained(form: dict[str, str], problem: str) -> None:
    with pytest.raises(FieldProblem, match=problem):
        records.from_form(rest.SetChannelOptions, form)


@pytest.mark.parametrize("text", ["x", "-1", "1.0", "٣", "1_0", " 1", "9" * 20])
def test_numbers_are_written_in_plain_digits(text: str) -> None:
    with pytest.raises(FieldProblem, match="limit must be a whole number"):
        records.from_form(rest.ListChannels, {"limit": text})


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"options": "x"}, "channel_name"),
        ({"options": "x", "channel_name": ""}, "channel_name"),
        ({"made": "x", "options": "y", "channel_name": "room"}, "options"),
        ({"origin": "[]", "unknown": "1", "channel_name": "room"}, "origin"),
    ],
)
def test_the_first_problem_is_that_of_the_first_field(form: dict[str, str], field: str) -> None:
    with pytest.raises(FieldProblem) as caught:
        records.from_form(rest.Publish, form)
    assert caught.value.field == field


def test_the_secret_is_no_option() -> None:
    form = {"channel_name": "/a/", "history_size": "3", "secret": "x", "security_token": "x"}
    found = records.from_form(rest.SetChannelOptions, form, rest.SECRET_FIELDS)
    assert found.given == {"history_size": 3}
