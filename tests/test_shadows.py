"""Shadowed rules, compared with the results of matching many names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group
from django.urls import converters, register_converter
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.admin.policies import listing
from djhookbox.decisions import store
from djhookbox.models import ChannelPolicy
from djhookbox.policy import coverage
from djhookbox.policy.coverage import Order, covered, near, overlap, shadows
from djhookbox.policy.examples import examples
from djhookbox.policy.patterns import compile_pattern
from djhookbox.policy.rules import Rule

from .tries import tries


def rule(text: str) -> Rule:
    return Rule(text, text, compile_pattern(text), "everyone", "everyone", "everyone")


def malformed(text: str) -> Rule:
    return Rule(text, text, None, "nobody", "nobody", "nobody")


def shadowing(later: str, *earlier: str) -> set[str]:
    return {found.name for found in shadows(rule(later), [rule(text) for text in earlier])}


UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("/front/", "/front/"),
        ("<path:x>", "anything"),
        ("/<path:x>", "/rooms/<int:room>/"),
        ("/rooms/<path:x>", "/rooms/<int:room>/<slug:part>/"),
        ("/<str:x>/", "/<slug:x>/"),
        ("/<str:x>/", "/<uuid:x>/"),
        ("/<slug:x>/", "/<int:x>/"),
        ("/<slug:x>/", "/<uuid:x>/"),
        ("/<slug:x>/", "/2026-11/"),
        ("/<int:a>/", "/<int:b>/"),
        ("/<int:a>/", "/0/"),
        ("/<username>/", "/<str:who>/"),
        ("/<path:a>/<path:b>", "/<path:a>/<path:b>/<path:c>"),
        ("/<int:a><path:b>", "/<int:c><path:d>"),
        ("/<slug:a>.<slug:b>/", "/x.<uuid:b>/"),
        ("/<uuid:a>/", f"/{UUID}/"),
        ("<path:a>b<path:c>", "<path:a>bb<path:c>"),
    ],
)
def test_what_leaves_nothing(earlier: str, later: str) -> None:
    assert shadowing(later, earlier) == {earlier}
    assert shadowing(later, "/elsewhere/", earlier, "/<int:other>/x/") == {earlier}
    assert overlap(rule(earlier), rule(later))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("/front/", "/front"),
        ("/<int:a>/", "/<slug:a>/"),
        ("/<int:a>/", "/007/"),
        ("/<slug:a>/", "/<str:a>/"),
        ("/<str:a>/", "/<path:a>/"),
        ("/<uuid:a>/", "/<slug:a>/"),
        ("/<uuid:a>/", f"/{UUID.upper()}/"),
        ("/rooms/<path:x>", "/rooms/"),
        ("/<str:a>/", "/a/b/"),
        ("/<slug:a>/", "/a.b/"),
        # The path takes all but the last digit, so the number that is looked at may be misspelt.
        ("/<int:a><path:b>", "/<path:x>"),
        ("<path:a>/<int:n>/<path:b>", "a/2/01/b"),
    ],
)
def test_what_leaves_something(earlier: str, later: str) -> None:
    assert shadowing(later, earlier) == set()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("/a/<x>/", "/<x>/b/", True),
        ("/a/<x>/", "/b/<x>/", False),
        ("/<int:x>/", "/<slug:x>/", True),
        ("/<int:x>/", "/0<int:x>/", False),
        ("/<uuid:x>/", "/<int:x>/", False),
        ("<path:x>x", "<path:x>y", False),
        ("<path:a>x<uuid:u>", "<path:b>y<uuid:c>", False),
    ],
)
def test_what_two_rules_share(one: str, other: str, expected: bool) -> None:
    assert overlap(rule(one), rule(other)) is overlap(rule(other), rule(one)) is expected


def test_several_may_do_it_together() -> None:
    together = ("<str:a>", "/", "/<path:a>", "<path:a>/", "<path:a>/<path:b>")
    assert shadowing("<path:x>", "/x/", *together) == set(together)
    for missing in together:
        rest = [text for text in together if text != missing]
        assert shadowing("<path:x>", "/x/", *rest) == set()


def test_malformed_rules_cover_what_begins_like_them() -> None:
    broken = malformed("/rooms/<hex:x>/")
    assert shadows(rule("/rooms/<int:x>/"), [broken]) == (broken,)
    assert shadows(rule("/<path:x>/"), [broken]) == ()
    wide = rule("/<path:x>")
    assert shadows(broken, [wide]) == (wide,)
    assert shadows(broken, [rule("/rooms/<str:x>/")]) == ()


class Even(converters.IntConverter):
    regex = "[02468]+"


@pytest.fixture
def own_converter() -> Iterator[None]:
    register_converter(Even, "even")
    yield
    del converters.REGISTERED_CONVERTERS["even"]
    converters.get_converters.cache_clear()


@pytest.mark.usefixtures("own_converter")
def test_of_a_projects_converter_nothing_is_assumed() -> None:
    assert shadowing("/<int:x>/", "/<even:x>/") == set()
    assert shadowing("/<even:x>/", "/<int:x>/") == set()
    assert shadowing("/<even:x>/", "/<even:y>/") == {"/<even:y>/"}
    assert shadowing("/a/<even:x>/", "/<path:y>") == {"/<path:y>"}
    assert examples(compile_pattern("/<even:x>/<slug:y>")) != []


@pytest.fixture
def forgotten() -> Iterator[None]:
    coverage._shadows.cache_clear()
    yield
    coverage._shadows.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_long_answers_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("djhookbox.policy.coverage.LIMIT", 5)
    assert shadowing("/rooms/<int:room>/", "/<path:x>") == set()


# ---- by force --------------------------------------------------------------------------------

ALPHABET = "01a-/."
NAMES = ["".join(name) for n in range(1, 6) for name in itertools.product(ALPHABET, repeat=n)]

parts = st.lists(
    st.sampled_from(["0", "1", "a", "-", "/", ".", "<str>", "<int>", "<slug>", "<path>"]),
    min_size=1,
    max_size=4,
)


def pattern(chosen: list[str]) -> Rule:
    text = "".join(
        f"<{part[1:-1]}:p{index}>" if part.startswith("<") else part
        for index, part in enumerate(chosen)
    )
    return rule(text)


@tries(150)
@given(parts, st.lists(parts, min_size=1, max_size=3))
def test_as_matching_every_short_name_shows(later: list[str], earlier: list[list[str]]) -> None:
    subject, others = pattern(later), [pattern(chosen) for chosen in earlier]
    left = [
        name for name in NAMES if subject.covers(name) and not any(o.covers(name) for o in others)
    ]
    shadowed = shadows(subject, others)
    assert not (left and shadowed), (left[:3], shadowed)
    if shadowed:
        assert covered(subject, others)
    if any(subject.covers(name) and others[0].covers(name) for name in NAMES):
        assert overlap(subject, others[0])


@tries(100)
@given(parts)
def test_examples_are_examples(chosen: list[str]) -> None:
    subject = pattern(chosen)
    assert subject.pattern
    names = examples(subject.pattern)
    assert names
    assert all(subject.pattern.match(name) is not None for name in names)
    # A rule leaves nothing to one that reads the same, and nothing but that is left by a shorter.
    assert shadows(subject, [subject]) == (subject,)


@tries(100)
@given(st.lists(parts, min_size=2, max_size=2))
def test_nothing_that_is_left_is_missed_where_there_are_no_numbers(two: list[list[str]]) -> None:
    """The answer is exact, not only cautious: short patterns show it in short names."""
    kept = [[part for part in chosen if part != "<int>"] or ["a"] for chosen in two]
    later, earlier = pattern(kept[0]), pattern(kept[1])
    names = [name for name in NAMES if later.covers(name)]
    if names and all(earlier.covers(name) for name in names) and len(kept[0]) + len(kept[1]) <= 4:
        assert shadows(later, [earlier])


# ---- many --------------------------------------------------------------------------------------


def test_an_order_compares_only_what_may_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def counted(one: Rule, other: Rule) -> bool:
        asked.append((one.name, other.name))
        return overlap(one, other)

    monkeypatch.setattr("djhookbox.policy.coverage.overlap", counted)
    texts = [f"/rooms-{number}/<int:room>/" for number in range(500)]
    texts += [f"/<slug:team>/n{number}/" for number in range(100)]
    rules = [rule(text) for text in (*texts, "/rooms-7/5/", "/rooms-7/<slug:x>/", "/a/n3/")]
    order = Order(rules)
    found = {one.name: order.shadows(one.name) for one in rules}
    assert {name: by[0].name for name, by in found.items() if by} == {
        "/rooms-7/5/": "/rooms-7/<int:room>/",
        "/a/n3/": "/<slug:team>/n3/",
    }
    assert len(asked) < 2 * len(rules), "not each with each"
    assert order.shadows("/unknown/") == ()


@given(st.lists(st.sampled_from([
    "/a/", "/a/<int:x>/", "/a/<slug:x>/", "/<slug:y>/", "/<path:z>", "/a/1/", "/a", "<path:w>",
    "/<slug:y>/b", "/a/<slug:x>/b", "/a/<int:x>/<slug:y>",
]), unique=True, max_size=6))  # fmt: skip
@tries(150)
def test_an_order_finds_what_comparing_all_finds(texts: list[str]) -> None:
    rules = [rule(text) for text in texts]
    order = Order(rules)
    for place, one in enumerate(rules):
        assert order.shadows(one.name) == shadows(one, rules[:place])
        others = [other for other in rules if overlap(one, other)]
        assert set(others) <= set(near(one, rules))


def test_the_order_is_the_same_as_long_as_the_policies_match_the_same(db: None) -> None:
    ChannelPolicy.objects.create(name="A", pattern="/a/<int:x>/", order=1)
    later = ChannelPolicy.objects.create(name="B", pattern="/a/5/", order=2)
    malformed = ChannelPolicy.objects.create(name="C", pattern="/c/<", order=3)
    first = listing.order()
    assert [one.name for one in first.shadows("B")] == ["A"]
    assert first.shadows(malformed.name) == ()
    ChannelPolicy.objects.filter(pk=later.pk).update(history_size=3)  # which no signal reports
    assert listing.order() is first
    ChannelPolicy.objects.filter(pk=later.pk).update(pattern="/a/b/")
    second = listing.order()
    assert second.shadows("B") == ()
    assert second.rules[0] is first.rules[0], "it is not compiled again"
    ChannelPolicy.objects.filter(pk=later.pk).update(pattern="/a/5/", order=0)
    assert [one.name for one in listing.order().rules] == ["B", "A", "C"]
    assert listing.order().shadows("B") == ()


def test_rules_are_the_same_as_long_as_their_rows_are(db: None) -> None:
    group = Group.objects.create(name="Editors")
    policy = ChannelPolicy.objects.create(name="A", pattern="/a/<int:x>/", state={"a": 1})
    first = store.load()
    assert store.load() is first
    ChannelPolicy.objects.filter(pk=policy.pk).update(history_size=3)  # which no signal reports
    (second,) = store.load()
    assert second.options["history_size"] == 3
    policy.groups.add(group)
    (third,) = store.load()
    assert third.groups == {group.pk}
    policy.delete()
    assert store.load() == ()
