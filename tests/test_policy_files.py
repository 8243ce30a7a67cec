"""Policies as files: exported, imported, refused as a whole; and Django's fixtures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core import serializers
from django.core.management import call_command

from djhookbox.decisions import files
from djhookbox.decisions.files import PolicyFileError, apply, export, plan
from djhookbox.models import ChannelPolicy


@pytest.fixture
def policies(db: None, settings: Any) -> list[ChannelPolicy]:
    settings.HOOKBOX_POLLING_HOSTS = ["example.com"]
    group = Group.objects.create(name="Redaktion “Süd”")
    full = ChannelPolicy.objects.create(
        name="Ünï <b>", pattern="/rooms/<int:room>/", order=-7, enabled=False,
        create_audience="groups", subscribe_audience="permission", permission="a.b",
        history_size=5, state={"topic": [1, None, "é"]}, server_user_presence=["alice"],
        polling={"mode": "simple", "url": "https://example.com/"}, note="Two\nlines",
    )  # fmt: skip
    full.groups.add(group)
    return [full, ChannelPolicy.objects.create(name="Plain", pattern="/x/", order=3)]


def entry(**fields: Any) -> str:
    return json.dumps([{"model": "djhookbox.channelpolicy", "fields": fields}])


def everything() -> list[dict[str, Any]]:
    rows = []
    for policy in ChannelPolicy.objects.order_by("name"):
        values = {f.name: getattr(policy, f.name) for f in policy._meta.concrete_fields}
        for name in ("id", "created", "modified"):
            del values[name]
        rows.append(values | {"groups": sorted(g.name for g in policy.groups.all())})
    return rows


def test_what_is_exported_comes_back(policies: list[ChannelPolicy]) -> None:
    text = export(ChannelPolicy.objects.order_by("pk"))
    before = everything()
    assert all(change.is_idle for change in plan(text))
    ChannelPolicy.objects.all().delete()
    changes = plan(text)
    assert [change.is_new for change in changes] == [True, True]
    assert not ChannelPolicy.objects.exists()
    apply(changes)
    assert everything() == before
    assert "Ünï" in text, "people can read it"


def test_a_file_is_what_the_serializer_of_django_writes(policies: list[ChannelPolicy]) -> None:
    ChannelPolicy.objects.create(
        name='Odd “"\\\n</é', pattern="/o/", state={"a": [1, {"b": None}], "c": 1.5}
    )
    rows = ChannelPolicy.objects.order_by("pk")
    hidden = {"id", "created", "modified"}
    names = [one.name for one in ChannelPolicy._meta.concrete_fields if one.name not in hidden]
    expected = serializers.serialize(
        "json", rows, indent=2, ensure_ascii=False, use_natural_foreign_keys=True,
        use_natural_primary_keys=True, fields=[*names, "groups"],
    )  # fmt: skip
    assert export(rows).split() == expected.split()
    assert json.loads(export(rows)) == json.loads(expected)


def test_files_and_fixtures_are_the_same(policies: list[ChannelPolicy], tmp_path: Path) -> None:
    before = everything()
    out = io.StringIO()
    call_command(
        "dumpdata", "djhookbox.channelpolicy", natural_primary=True, natural_foreign=True,
        stdout=out,
    )  # fmt: skip
    assert all(change.is_idle for change in plan(out.getvalue()))
    fixture = tmp_path / "policies.json"
    fixture.write_text(export(ChannelPolicy.objects.order_by("pk")))
    ChannelPolicy.objects.update(note="changed", order=0)
    call_command("loaddata", str(fixture), verbosity=0)
    assert everything() == before
    ChannelPolicy.objects.all().delete()
    call_command("loaddata", str(fixture), verbosity=0)
    assert everything() == before


def test_only_what_differs_is_changed(policies: list[ChannelPolicy]) -> None:
    (change,) = plan(entry(name="Plain", history_size=9, groups=["Redaktion “Süd”"], pattern="/x/"))
    assert not change.is_new
    assert change.changed == {
        "history_size": (0, 9), "groups": ([], ["Redaktion “Süd”"]),
    }  # fmt: skip
    apply([change])
    plain = ChannelPolicy.objects.get(name="Plain")
    assert (plain.history_size, plain.order) == (9, 3)
    assert [group.name for group in plain.groups.all()] == ["Redaktion “Süd”"]
    (change,) = plan(entry(name="Plain", groups=[]))
    apply([change])
    assert not plain.groups.exists()


def test_a_new_one_gets_defaults(db: None) -> None:
    apply(plan(entry(name="New", pattern="/new/")))
    policy = ChannelPolicy.objects.get()
    assert (policy.order, policy.enabled, policy.subscribe_audience) == (100, True, "signed_in")


WRONG = [
    ("", "This is not JSON"),
    ("{}", "not a list of policies"),
    ("[]", "not a list of policies"),
    ("[1]", "must be djhookbox.channelpolicy"),
    ('[{"model": "auth.user", "fields": {}}]', "must be djhookbox.channelpolicy"),
    ('[{"model": "djhookbox.channelpolicy", "fields": []}]', "must be an object"),
    (entry(pattern="/x/"), "“name” is missing"),
    (entry(name=5), "“name” is missing"),
    (entry(name="a", pattern="/x/", color=1), "Unknown field “color”"),
    (entry(name="a"), "pattern: This field cannot be blank."),
    (entry(name="a", pattern="/<x"), "counterpart"),
    (entry(name="a", pattern="djhookbox:x"), "reserved"),
    (entry(name="a" * 101, pattern="/x/"), "at most 100"),
    (entry(name="a", pattern="/x/", order="5"), "order: This must be a whole number."),
    (entry(name="a", pattern="/x/", order=True), "order: This must be a whole number."),
    (entry(name="a", pattern="/x/", order=10**20), "less than or equal"),
    (entry(name="a", pattern="/x/", enabled="yes"), "enabled: This must be true or false."),
    (entry(name="a", pattern=None), "pattern: This must be a string."),
    (entry(name="a", pattern="/x/", history_size=-1), "greater than or equal to 0"),
    (entry(name="a", pattern="/x/", create_audience="aliens"), "not a valid choice"),
    (entry(name="a", pattern="/x/", subscribe_audience="named_user"), "does not name a user"),
    (entry(name="a", pattern="/x/", state=[1]), "JSON object"),
    (entry(name="a", pattern="/x/", state={"a": "\0"}), "null characters"),
    (entry(name="a", pattern="/x/", state={"a": float("inf")}), "Infinity is not valid JSON."),
    (entry(name="a", pattern="/x/", state={"a": 5}).replace("5", "1e999"), "1e999 is too large"),
    (entry(name="a", pattern="/x/", state={"a": "\ud83d"}), "lone surrogates"),
    (entry(name="a", pattern="/\x85/"), "control characters"),
    (entry(name="a", pattern="/x/", note="\0"), "null characters"),
    (entry(name="a", pattern="/x/", groups=["nobody"]), "There is no group “nobody” on this site."),
    (entry(name="a", pattern="/x/", groups=[5]), "There is no group “5” on this site."),
    (entry(name="a", pattern="/x/", groups="a"), "list of group names"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_mistakes_are_named(db: None, text: str, words: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        plan(text)
    assert words in str(caught.value)


def test_all_or_nothing(policies: list[ChannelPolicy]) -> None:
    fields = [
        {"name": "Good", "pattern": "/good/"},
        {"name": "Bad", "pattern": "/<", "history_size": "x"},
        {"name": "Good", "pattern": "/twice/"},
    ]
    model = "djhookbox.channelpolicy"
    with pytest.raises(PolicyFileError) as caught:
        plan(json.dumps([{"model": model, "fields": one} for one in fields]))
    first, second = caught.value.problems
    assert first.startswith("Policy 2 “Bad”: ")
    assert "pattern: " in first
    assert "history_size: " in first
    assert second == "Policy 3 “Good”: Another policy in the file has the same name."
    assert ChannelPolicy.objects.count() == 2


def test_a_failure_on_the_way_undoes_all(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [*plan(entry(name="A", pattern="/a/")), *plan(entry(name="B", pattern="/b/"))]

    def fail() -> None:
        raise OSError

    monkeypatch.setattr(changes[1].policy, "save", fail)
    with pytest.raises(OSError):
        files.apply(changes)
    assert not ChannelPolicy.objects.exists()


# ---- hosts that are not listed -----------------------------------------------------------------

FEED = {"mode": "simple", "url": "https://feed.example.org/"}


def test_a_file_whose_hosts_are_not_listed_says_what_to_set(
    policies: list[ChannelPolicy], settings: Any
) -> None:
    settings.HOOKBOX_POLLING_HOSTS = []
    new = {"name": "Feed", "pattern": "/feed/", "polling": FEED}
    for fields in (new, {"name": "Plain", "polling": FEED}):
        with pytest.raises(PolicyFileError) as caught:
            plan(entry(**fields))
        (problem,) = caught.value.problems
        assert f"“{fields['name']}”" in problem
        assert "add “feed.example.org” to HOOKBOX_POLLING_HOSTS" in problem
    settings.HOOKBOX_POLLING_HOSTS = ["feed.example.org"]
    apply(plan(entry(**new)))
    assert ChannelPolicy.objects.get(name="Feed").polling == FEED


def test_a_host_that_is_no_longer_listed_stops_no_other_change(
    policies: list[ChannelPolicy], settings: Any
) -> None:
    text = export(ChannelPolicy.objects.order_by("pk"))
    settings.HOOKBOX_POLLING_HOSTS = []
    assert all(change.is_idle for change in plan(text)), "nothing would change"
    apply(plan(entry(name="Ünï <b>", note="paused", enabled=False)))
    full = ChannelPolicy.objects.get(name="Ünï <b>")
    assert full.note == "paused"
    # Another address on this host is a change.
    with pytest.raises(PolicyFileError, match="HOOKBOX_POLLING_HOSTS"):
        plan(entry(name="Ünï <b>", polling={**full.polling, "url": "https://example.com/other"}))
    with pytest.raises(PolicyFileError, match="HOOKBOX_POLLING_HOSTS"):
        plan(entry(name="Ünï <b>", polling={**full.polling, "interval": 1}))
    full.polling = {}
    full.save()
    with pytest.raises(PolicyFileError, match="HOOKBOX_POLLING_HOSTS"):
        plan(text)
