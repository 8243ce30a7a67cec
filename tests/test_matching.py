"""Patterns are matched in bounded time, with the same results as Python's `re`."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.urls import register_converter
from django.urls.converters import REGISTERED_CONVERTERS, StringConverter, get_converters
from django.urls.resolvers import RoutePattern
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.checks.databases import check_saved_patterns
from djhookbox.decisions.decide import decide
from djhookbox.decisions.files import PolicyFileError, plan
from djhookbox.exceptions import PatternError
from djhookbox.models import ChannelPolicy
from djhookbox.policy.expressions import Program, tree_of
from djhookbox.policy.matching import Sequence, parts_of
from djhookbox.policy.patterns import Pattern, compile_pattern

from .tries import tries

NEW = pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11")
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


@tries(400)
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
@tries(60)
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


def pattern_of(regex: str, text: str) -> Pattern:
    """Compile a pattern that uses a converter with this expression as `x`."""
    converter = type("Own", (StringConverter,), {"regex": regex})
    register_converter(converter, "x")
    try:
        return compile_pattern(text)
    finally:
        del REGISTERED_CONVERTERS["x"]
        get_converters.cache_clear()


#: Expressions that `re` may match in exponential or high polynomial time, with a name for which it
#: does, and one that matches.
SLOW = [
    ("(?:[a-z]+)+", "a" * 250 + "!", "abc"),
    ("([a-z]+)*", "a" * 250 + "!", "abc"),
    ("(?:a|a)+", "a" * 250 + "!", "aaa"),
    ("(?:a|ab|b)*", "ab" * 125 + "!", "abba"),
    ("(?:a?){60}", "a" * 250, "aa"),
    ("(?:a*a*)*", "a" * 250 + "!", "aa"),
    ("(?:.*,){9}x", "," * 250, ",,,,,,,,,x"),
    ("(?P<deep>(?:(?:[0-9]+-?)+_?)+)", "1" * 250 + "!", "1-2_3"),
    ("(?:[a-z]+|[0-9]+)+?", "a1" * 125 + "!", "a1"),
    ("(?i:(?:[a-z]+)+)", "aA" * 125 + "!", "aB"),
    ("(?:[a-z0-9]+(?:-[a-z0-9]+)*)", "a-" * 125, "a-b-c"),
    ("[a-z]*[a-z]*(?:x|y)[a-z]*", "x" * 250 + "!", "axb"),
]


@pytest.mark.parametrize(("regex", "name", "matching"), SLOW)
def test_the_time_is_bounded_with_converters_of_the_project(
    regex: str, name: str, matching: str
) -> None:
    pattern = pattern_of(regex, "/<x:own>/")
    began = time.perf_counter()
    assert pattern.match(f"/{name}/") is None
    assert re.fullmatch(pattern.regex, f"/{name}?") is None
    assert pattern.match(f"/{matching}/") == {"own": matching}
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    "regex",
    [
        "(?!admin)(?:[a-z]+)+", "(?:[a-z]+)+$", "(?:(?P<q>[a-z]+)(?P=q))+", "(?=(?:a+)+b)[a-z]+",
        r"(?:\b[a-z]+)+", "(?#comment)(?:a+)+", "(?:(?:[a-z]{0,99}x?){99})", "(?x: (?:a+)+ )",
        "(" * 30 + "a+" + ")+" * 30,
        pytest.param("(?:a++)+", marks=NEW), pytest.param("(?>(?:a+)+)", marks=NEW),
    ],
)  # fmt: skip
def test_what_cannot_be_matched_in_bounded_time_is_refused(regex: str) -> None:
    with pytest.raises(PatternError, match="“<own>”: the regular expression") as refused:
        pattern_of(regex, "/<x:own>/")
    assert regex in str(refused.value)


@pytest.mark.parametrize(
    ("regex", "name"),
    [
        ("(?:en|de)", "de"), ("[0-9]{4}(?:-[0-9]{2})?", "2026-11"), ("(?!admin)[a-z]+", "user"),
        ("(?:en|de)(?:-[A-Z]{2})?", "en-GB"), (r"v\d+(?:\.\d+)?", "v1.2"), ("a++", "aa"),
        (r"\x41+", "AA"), ("(?:ab)*", "abab"), ("(?P<q>['*])[a-z]+(?P=q)", "'a'"),
    ],
)  # fmt: skip
def test_ordinary_expressions_keep_working(regex: str, name: str) -> None:
    if "++" in regex and sys.version_info < (3, 11):
        pytest.skip("possessive repetition is new in Python 3.11")
    assert pattern_of(regex, "/<x:own>/").match(f"/{name}/") == {"own": name}
    assert pattern_of(regex, "/<x:own>/").match(f"/{name}/x") is None


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "", "-"])
repetitions = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?", "+?", "??"])


def expressions(*, empty: bool) -> st.SearchStrategy[str]:
    """Return expressions, with or without repetitions of what may be empty."""

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        repeated = inner.filter(lambda regex: empty or re.fullmatch(regex, "") is None)
        return st.one_of(
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda each: f"(?:{'|'.join(each)})"),
            st.tuples(repeated, repetitions).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        )

    return st.recursive(atoms, larger, max_leaves=8)


def program_of(first: str, second: str) -> Program:
    program = Program()
    for group, regex in (("x", first), ("y", second)):
        tree = tree_of(regex)
        assert tree is not None
        program.converter(group, tree)
    return program


@tries(600)
@given(expressions(empty=False), expressions(empty=False), st.text("ab-", max_size=7))
def test_expressions_divide_names_as_re_does(first: str, second: str, name: str) -> None:
    expected = re.fullmatch(f"(?P<x>{first})(?P<y>{second})", name)
    assert program_of(first, second).match(name) == (expected and expected.groupdict())


@tries(600)
@given(expressions(empty=True), expressions(empty=True), st.text("ab-", max_size=7))
def test_expressions_match_the_same_names_as_re(first: str, second: str, name: str) -> None:
    expected = re.fullmatch(f"(?:{first})(?:{second})", name)
    assert (program_of(first, second).match(name) is None) == (expected is None)


@pytest.mark.django_db
def test_a_pattern_that_is_refused_is_refused_wherever_it_comes_from() -> None:
    converter = type("Own", (StringConverter,), {"regex": "(?!x)(?:[a-z]+)+"})
    register_converter(converter, "x")
    try:
        fields = {"name": "Slow", "pattern": "/slow/<x:own>/"}
        with pytest.raises(ValidationError, match="could take hours"):
            ChannelPolicy(**fields).full_clean()
        with pytest.raises(PolicyFileError, match="could take hours"):
            plan(json.dumps([{"model": "djhookbox.channelpolicy", "fields": fields}]))
        ChannelPolicy.objects.create(**fields)  # as in a version that accepted it
        (found,) = check_saved_patterns(databases=["default"])
        assert found.id == "djhookbox.W030"
        assert "'Slow'" in found.msg
        assert not check_saved_patterns(databases=[])
        began = time.perf_counter()
        assert not decide("create", AnonymousUser(), "/slow/" + "a" * 200 + "!/").allowed
        assert time.perf_counter() - began < 1.0
    finally:
        del REGISTERED_CONVERTERS["x"]
        get_converters.cache_clear()
    (found,) = check_saved_patterns(databases=["default"])
    assert "unknown converter" in found.msg
