"""Patterns are matched in bounded time, with the same results as Python's `re`."""

from __future__ import annotations

import re
import time

import pytest
from django.urls import register_converter
from django.urls.converters import REGISTERED_CONVERTERS, StringConverter, get_converters
from django.urls.resolvers import RoutePattern
from hypothesis import given, settings
from hypothesis import strategies as st

from djhookbox.exceptions import PatternError
from djhookbox.policy.matching import Sequence, parts_of
from djhookbox.policy.patterns import MOST_BY_REGEX, compile_pattern

KINDS = ["int", "str", "slug", "path", "uuid"]
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

literals = st.text("/-a1", max_size=3)
pieces = st.sampled_from([*KINDS, "/", "-", "a", "1", "//", "a/", "1-"])
patterns = st.lists(st.sampled_from(KINDS), min_size=1, max_size=7).flatmap(
    lambda kinds: st.lists(literals, min_size=len(kinds) + 1, max_size=len(kinds) + 1).map(
        lambda texts: (
            texts[0] + "".join(f"<{kind}:p{n}>{texts[n + 1]}" for n, kind in enumerate(kinds))
        )
    )
)
names = st.lists(
    st.sampled_from(["/", "-", "a", "1", "12", "a1", UUID, "é", ".", "_", "A"]), max_size=14
).map("".join)


@settings(max_examples=400, deadline=None)
@given(patterns, names)
def test_names_are_divided_as_django_does(pattern: str, name: str) -> None:
    sequence = Sequence()
    end = 0
    for found in re.finditer(r"<(\w+):(\w+)>", pattern):
        sequence.literal(pattern[end : found.start()])
        sequence.converter(found[2], get_converters()[found[1]].regex)
        end = found.end()
    sequence.literal(pattern[end:])
    expected = RoutePattern(pattern, is_endpoint=True).regex.search(name)
    ours = sequence.matcher().match(name)
    assert ours == (None if expected is None else expected.groupdict())
    compiled = compile_pattern(pattern)
    values = compiled.match(name)
    if values is not None:
        assert re.fullmatch(compiled.regex, name), "recheck reaches what a policy decides about"
        django = RoutePattern(pattern, is_endpoint=True).match(name)
        assert django is not None
        assert values == django[2]


@pytest.mark.parametrize("kind", ["path", "str", "slug", "int"])
@pytest.mark.parametrize("count", [3, 4, 5, 10, 25])
def test_the_time_is_bounded(kind: str, count: int) -> None:
    character = "1" if kind == "int" else "a"
    separator = "1" if kind == "int" else "a"
    pattern = compile_pattern("".join(f"<{kind}:p{n}>{separator}" for n in range(count)) + "!")
    began = time.perf_counter()
    for _ in range(3):
        assert pattern.match(character * 254 + "?") is None
        assert pattern.match(character * 255) is None
        re.fullmatch(pattern.regex, character * 254 + "?")
    assert time.perf_counter() - began < 1.0


def test_four_paths_of_the_report() -> None:
    pattern = compile_pattern("/a/<path:a>/<path:b>/<path:c>/<path:d>/x")
    began = time.perf_counter()
    assert pattern.match("/a/" + "/" * 250) is None
    assert pattern.match("/a/1/2/3/4/5/x") == {"a": "1/2", "b": "3", "c": "4", "d": "5"}
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    "regex",
    ["[0-9]+", "[^/]+", "[-a-zA-Z0-9_]+", ".+", "[0-9]{4}", "[a-z]{2,5}", "[a-z]{2,}", r"\d+",
     r"[^]/]*", "v[0-9]?", r"\.[a-z]+", r"[\]x]+", r"\w{2}-\w{2}"],
)  # fmt: skip
@settings(max_examples=60, deadline=None)
@given(name=st.text("/-a1].x_v", max_size=12))
def test_expressions_that_are_sequences(regex: str, name: str) -> None:
    sequence = Sequence()
    for group in ("a", "b", "c"):
        sequence.converter(group, regex)
    assert sequence.is_simple
    expected = re.fullmatch(f"(?P<a>{regex})(?P<b>{regex})(?P<c>{regex})", name)
    assert sequence.matcher().match(name) == (expected and expected.groupdict())


@pytest.mark.parametrize(
    "regex",
    ["(a|b)", "a|b", "[a-z]+?", "^a", "a$", r"(?P<x>a)\1", r"\bx", "(?i:a)", "[[:x:]]+",
     "a++"],
)  # fmt: skip
def test_expressions_that_are_not(regex: str) -> None:
    assert parts_of(regex) is None


class Language(StringConverter):
    regex = "(?:en|de)"


def test_other_expressions_are_counted() -> None:
    register_converter(Language, "tongue")
    try:
        pattern = compile_pattern("/<tongue:l>/<a>/<b>/")
        assert pattern.match("/de/x/y/") == {"l": "de", "a": "x", "b": "y"}
        with pytest.raises(PatternError, match=f"at most {MOST_BY_REGEX + 1} are"):
            compile_pattern("/<tongue:l>/<a>/<b>/<c>/")
    finally:
        del REGISTERED_CONVERTERS["tongue"]
        get_converters.cache_clear()
