from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import converters, register_converter
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.exceptions import PatternError
from djhookbox.policy.patterns import compile_pattern, covering_regex
from djhookbox.policy.rules import (
    Audience,
    Operation,
    Rule,
    Step,
    Verdict,
    evaluate,
)

from .conftest import Who


def rule(pattern: str, name: str = "p", **fields: Any) -> Rule:
    audiences = {key: fields.pop(key, "everyone") for key in ("create", "subscribe", "publish")}
    return Rule(name, pattern, compile_pattern(pattern), **audiences, **fields)


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "name", "values"),
    [
        ("/news/", "/news/", {}),
        ("/news/", "/news", None),
        ("/news/", "/news/x", None),
        ("/news/", "/NEWS/", None),
        ("news", "news", {}),
        ("/rooms/<int:room>/", "/rooms/12/", {"room": 12}),
        ("/rooms/<int:room>/", "/rooms/0012/", None),
        ("/rooms/<int:room>/", "/rooms/-1/", None),
        ("/rooms/<int:room>/", "/rooms/١٢/", None),
        ("/rooms/<int:room>/", "/rooms/12/\n", None),
        ("/rooms/<int:room>/", "/rooms/" + "9" * 5000 + "/", None),
        ("/<slug:topic>/", "/a-b_c/", {"topic": "a-b_c"}),
        ("/<slug:topic>/", "/ä/", None),
        ("/files/<path:rest>", "/files/a/b/c", {"rest": "a/b/c"}),
        ("/files/<path:rest>", "/files/", None),
        ("/u/<username>/", "/u/Zoë @+.-/", {"username": "Zoë @+.-"}),
        ("/u/<username>/", "/u/a/b/", None),
        ("/u/<username>/", "/u//", None),
        ("/<a>/<b>/", "/1/2/", {"a": "1", "b": "2"}),
        ("/a.b(c)*/", "/a.b(c)*/", {}),
        ("/a.b(c)*/", "/aXb(c)*/", None),
        ("/a b/<x>", "/a b/c", {"x": "c"}),
        (
            "/<uuid:id>/",
            "/6ba7b810-9dad-11d1-80b4-00c04fd430c8/",
            {"id": uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")},
        ),
        ("/<uuid:id>/", "/6BA7B810-9DAD-11D1-80B4-00C04FD430C8/", None),
    ],
)
def test_patterns_match_whole_names(
    pattern: str, name: str, values: dict[str, object] | None
) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.match(name) == values
    if values is not None:  # a recheck must reach all channels for which a policy decides
        assert re.fullmatch(compiled.regex, name)
        assert re.compile(compiled.regex).groups == 0


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "empty"),
        ("/a\n/", "control"),
        ("/a\u2028/", "control"),
        ("/a\u2029/<x>/", "control"),
        ("/\x85", "control"),
        ("/\ud83d/", "control"),
        ("/<int:room/", "counterpart"),
        ("/room>/", "counterpart"),
        ("/<<a>>/", "counterpart"),
        ("/<>/", "name"),
        ("/<int:>/", "name"),
        ("/<1a>/", "name"),
        ("/<int:a-b>/", "name"),
        ("/< a>/", "spaces"),
        ("/<int: a>/", "spaces"),
        ("/<hex:a>/", "hex"),
        ("/<:a>/", "converter"),
        ("/<a>/<a>/", "twice"),
    ],
)
def test_malformed_patterns_say_why(pattern: str, says: str) -> None:
    with pytest.raises(PatternError, match=says):
        compile_pattern(pattern)


class Even(converters.IntConverter):
    regex = "([0-9]+)"

    def to_python(self, value: str) -> int:
        number = super().to_python(value)
        if number % 2:
            raise ValueError("odd")
        return number


class Broken(converters.StringConverter):
    regex = "("


@pytest.fixture
def own_converters() -> Iterator[None]:
    register_converter(Even, "even")
    register_converter(Broken, "broken")
    yield
    for name in ("even", "broken"):
        del converters.REGISTERED_CONVERTERS[name]
    converters.get_converters.cache_clear()


@pytest.mark.usefixtures("own_converters")
def test_a_projects_converters_count() -> None:
    pattern = compile_pattern("/<even:n>/<x>/")
    assert pattern.match("/4/y/") == {"n": 4, "x": "y"}
    assert pattern.match("/5/y/") is None
    assert pattern.match("/04/y/") is None
    with pytest.raises(PatternError, match="regular expression"):
        compile_pattern("/<broken:n>/")


@given(st.text())
def test_any_text_is_a_pattern_or_says_why_not(text: str) -> None:
    try:
        pattern = compile_pattern(text)
    except PatternError:
        assert not text or set(text) & set("<>") or not text.isprintable()
        return
    if not pattern.parameters:
        assert pattern.match(text) == {}


names = st.text(
    st.characters(exclude_characters="/", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20
)


@given(st.integers(0, 10**9), names, st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_a_name_made_of_values_gives_the_values_back(number: int, name: str, rest: str) -> None:
    pattern = compile_pattern("/<int:number>/<username>/x<path:rest>")
    channel = f"/{number}/{name}/x{rest}"
    values = {"number": number, "username": name, "rest": rest} if rest else None
    assert pattern.match(channel) == values
    if values:
        assert pattern.user_name(channel) == name
        assert re.fullmatch(pattern.regex, channel)


@given(st.text("0123456789٣", min_size=1))
def test_a_number_has_one_spelling(text: str) -> None:
    values = compile_pattern("<int:n>").match(text)
    assert (values is not None) == (text.isascii() and str(int(text)) == text)


def test_what_a_malformed_pattern_may_reach() -> None:
    assert re.fullmatch(covering_regex("/a.b/<hex:x>/"), "/a.b/ff/")
    assert not re.fullmatch(covering_regex("/a.b/<hex:x>/"), "/aXb/ff/")
    assert covering_regex("/<int:x>/") == compile_pattern("/<int:x>/").regex


# ---- audiences

VISITOR = Who()
ALICE = Who("alice")
STAFF = Who("alice", is_staff=True)
MEMBER = Who("alice", groups=[1, 7])
HOLDER = Who("alice", permissions=["news.read"])
SUPERUSER = Who("alice", is_superuser=True)
INACTIVE = Who("alice", is_active=False, is_staff=True, is_superuser=True, groups=[7])

AUDIENCES = [
    # audience, users who may, users who may not
    ("everyone", [VISITOR, ALICE, STAFF], [INACTIVE]),
    ("signed_in", [ALICE, STAFF, SUPERUSER], [VISITOR, INACTIVE]),
    ("staff", [STAFF], [VISITOR, ALICE, MEMBER, SUPERUSER, INACTIVE]),
    (
        "groups",
        [MEMBER],
        [VISITOR, ALICE, STAFF, SUPERUSER, Who("bob", groups=[8]), INACTIVE],
    ),
    ("permission", [HOLDER, SUPERUSER], [VISITOR, ALICE, STAFF, INACTIVE]),
    (
        "named_user",
        [ALICE, STAFF, SUPERUSER],
        [VISITOR, Who("Alice"), Who("ALICE"), Who("bob"), Who("bob", is_superuser=True), INACTIVE],
    ),
    ("nobody", [], [VISITOR, ALICE, STAFF, SUPERUSER, INACTIVE]),
    ("what a later version had", [], [VISITOR, ALICE, SUPERUSER]),
]


@pytest.mark.parametrize(
    ("audience", "who", "expected"),
    [
        (audience, who, expected)
        for audience, may, may_not in AUDIENCES
        for expected, people in ((True, may), (False, may_not))
        for who in people
    ],
)
def test_audiences(audience: str, who: Who, expected: bool) -> None:
    decider = rule(
        "/<username>/", subscribe=audience, groups=frozenset({7}), permission="news.read"
    )
    ruling = evaluate([decider], Operation.SUBSCRIBE, who, "/alice/")
    assert (ruling.verdict is Verdict.ALLOWED) == expected
    assert ruling.rule is decider
    if not expected:
        assert ruling.verdict is Verdict.REFUSED
        assert ruling.reason


def test_an_audience_without_groups_or_permission_is_empty() -> None:
    for audience in ("groups", "permission"):
        decider = rule("/a/", subscribe=audience)
        member = Who("alice", groups=[1], permissions=[""])
        assert evaluate([decider], Operation.SUBSCRIBE, member, "/a/").verdict is Verdict.REFUSED


people = st.builds(
    Who,
    st.sampled_from(["", "alice", "bob"]),
    is_active=st.booleans(),
    is_staff=st.booleans(),
    is_superuser=st.booleans(),
    groups=st.sets(st.integers(1, 3)),
    permissions=st.sets(st.sampled_from(["a.b", "c.d"])),
)


@given(people, st.sets(st.integers(1, 3)), st.sampled_from(["", "a.b", "c.d"]))
def test_a_narrower_audience_never_admits_more(who: Who, groups: set[int], permission: str) -> None:
    decider = rule("/<username>/", groups=frozenset(groups), permission=permission)

    def admits(audience: str) -> bool:
        return decider.admits(audience, who, "/alice/")

    assert not admits(Audience.NOBODY)
    assert not admits(Audience.HANDLERS)
    for narrow in (Audience.STAFF, Audience.GROUPS, Audience.PERMISSION, Audience.NAMED_USER):
        assert admits(narrow) <= admits(Audience.SIGNED_IN)
    assert admits(Audience.SIGNED_IN) <= admits(Audience.EVERYONE)


@given(people, st.sampled_from(Audience.values))
def test_more_groups_and_flags_never_admit_less(who: Who, audience: str) -> None:
    decider = rule("/<username>/", groups=frozenset({1}), permission="a.b")
    more = Who(
        who.username,
        is_active=who.is_active,
        is_staff=True,
        groups=[*who.group_ids(), 1],
        permissions=["a.b"],
    )
    more.is_superuser = who.is_superuser
    assert decider.admits(audience, who, "/alice/") <= decider.admits(audience, more, "/alice/")


# ---- which rule decides

OPERATIONS = [Operation.CREATE, Operation.SUBSCRIBE, Operation.PUBLISH]


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        rule("/a/", "one", subscribe="nobody"),
        rule("/<x>/", "two"),
        rule("/<path:x>", "three", subscribe="staff"),
    ]
    decided = {
        channel: evaluate(rules, Operation.SUBSCRIBE, ALICE, channel)
        for channel in ("/a/", "/b/", "/b/c", "other")
    }
    assert {channel: r.rule and r.rule.name for channel, r in decided.items()} == {
        "/a/": "one", "/b/": "two", "/b/c": "three", "other": None,
    }  # fmt: skip
    assert [r.verdict for r in decided.values()] == [
        Verdict.REFUSED, Verdict.ALLOWED, Verdict.REFUSED, Verdict.NO_MATCH,
    ]  # fmt: skip


def test_each_operation_has_its_own_audience() -> None:
    decider = rule("/a/", create="staff", subscribe="signed_in", publish="nobody")
    verdicts = [evaluate([decider], op, ALICE, "/a/").verdict for op in OPERATIONS]
    assert verdicts == [Verdict.REFUSED, Verdict.ALLOWED, Verdict.REFUSED]


def test_trusted_callers_are_past_audiences_but_handlers_are_asked() -> None:
    for audience in Audience.values:
        verdict = evaluate(
            [rule("/a/", create=audience)], Operation.CREATE, VISITOR, "/a/", trusted=True
        ).verdict
        assert verdict is (Verdict.ASK if audience == "handlers" else Verdict.ALLOWED)


def test_a_malformed_rule_refuses_what_it_may_have_meant() -> None:
    broken = Rule("broken", "/rooms/<hex:x>/", None, "nobody", "nobody", "nobody")
    rules = [broken, rule("/<path:x>", "wide")]
    refused = evaluate(rules, Operation.SUBSCRIBE, SUPERUSER, "/rooms/ff/")
    assert (refused.verdict, refused.rule) == (Verdict.REFUSED, broken)
    assert evaluate(rules, Operation.SUBSCRIBE, VISITOR, "/other/").verdict is Verdict.ALLOWED


def test_steps_say_why_earlier_rules_did_not_decide() -> None:
    steps: list[Step] = []
    rules = [rule("/a/", "one"), rule("/<x>/", "two", subscribe="staff"), rule("/b/", "three")]
    evaluate(rules, Operation.SUBSCRIBE, ALICE, "/b/", steps=steps)
    assert [step.who for step in steps] == ["policy:one", "policy:two"]
    assert "does not match" in steps[0].said
    assert "staff" in steps[1].said


@given(
    st.fixed_dictionaries(
        {name: st.sampled_from(Audience.values) for name in ("create", "subscribe", "publish")}
    )
)
def test_moderation_is_forced_wherever_not_everyone_may(audiences: dict[str, str]) -> None:
    forced = rule("/a/", **audiences).forced_options()
    expected = {
        "moderated_subscribe": audiences["subscribe"] != "everyone",
        "moderated_publish": audiences["publish"] != "everyone",
        "moderated": set(audiences.values()) != {"everyone"},
    }
    assert forced == {name: True for name, wanted in expected.items() if wanted}
