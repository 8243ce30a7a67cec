from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from djhookbox import models, options
from djhookbox.audit.partial import PartialIndex
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.wire.options import CHANNEL, MAX_HISTORY, MAX_SECONDS

pytestmark = pytest.mark.django_db


def policy(**fields: Any) -> ChannelPolicy:
    return ChannelPolicy(**{"name": "p", "pattern": "/a/", **fields})


def test_a_new_policy_is_closed_enough() -> None:
    fresh = policy()
    fresh.full_clean()
    assert (fresh.create_audience, fresh.subscribe_audience, fresh.publish_audience) == (
        "everyone", "signed_in", "staff",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"pattern": "/<int:x/"}, "pattern", "counterpart"),
        ({"subscribe_audience": "permission"}, "permission", "app_label"),
        ({"subscribe_audience": "permission", "permission": "x"}, "permission", "app_label"),
        ({"subscribe_audience": "named_user"}, "subscribe_audience", "<username>"),
        (
            {"publish_audience": "named_user", "pattern": "/<user>/"},
            "publish_audience",
            "does not name a user",
        ),
        ({"subscribe_audience": "strangers"}, "subscribe_audience", "not a valid choice"),
        ({"state": [1]}, "state", "object"),
        ({"state": {"a": float("inf")}}, "state", "not JSON"),
        ({"state": {"a": float("nan")}}, "state", "not JSON"),
        ({"state": {"a": "\0"}}, "state", "null characters"),
        ({"state": {"a": "\\\0"}}, "state", "null characters"),
        ({"state": {"a": object()}}, "state", "valid JSON"),
        ({"pattern": "/\u2029/"}, "pattern", "control"),
        ({"server_user_presence": ["a\n"]}, "server_user_presence", "list"),
        ({"polling": "x"}, "polling", "object"),
        ({"polling": {"mode": "often"}}, "polling", "mode"),
        ({"server_user_presence": "alice"}, "server_user_presence", "list"),
        ({"server_user_presence": [1]}, "server_user_presence", "list"),
        ({"history_size": -1}, "history_size", "greater"),
    ],
)
def test_policies_that_cannot_be_meant(fields: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        policy(**fields).full_clean()
    assert list(caught.value.message_dict) == [where]
    assert says in " ".join(caught.value.message_dict[where])


def test_a_durable_channel_cannot_poll(settings: Any) -> None:
    settings.HOOKBOX_POLLING_HOSTS = ["8.8.8.8"]
    polls = policy(polling={"mode": "simple", "url": "http://8.8.8.8/"})
    polls.full_clean()
    polls.durable = True
    with pytest.raises(ValidationError, match="A durable channel cannot poll"):
        polls.full_clean()


@pytest.mark.parametrize("blank", [[], "", None])
def test_what_a_form_left_empty_is_an_object(blank: object) -> None:
    emptied = policy(state=blank, polling=blank)
    emptied.clean()
    assert (emptied.state, emptied.polling) == ({}, {})


@pytest.mark.parametrize(
    "polling",
    [
        {},
        {"mode": ""},
        {"mode": "simple", "url": "http://localhost:8000/x", "interval": 1},
        {"mode": "once", "url": "https://example.com/", "form": {"a": "b"}, "originator": "x"},
    ],
)
def test_polling_as_the_protocol_has_it(polling: dict[str, Any], settings: Any) -> None:
    settings.HOOKBOX_POLLING_HOSTS = ["localhost", ".example.com"]
    policy(polling=polling).full_clean()
    assert set(options.complete_polling(polling)) == {
        "mode", "interval", "url", "form", "originator",
    }  # fmt: skip


@pytest.mark.parametrize("hosts", [[], ["example.org"], ["https://wrong"]])
def test_polling_of_a_host_that_is_not_listed(settings: Any, hosts: list[str]) -> None:
    settings.HOOKBOX_POLLING_HOSTS = hosts
    with pytest.raises(ValidationError, match="HOOKBOX_POLLING_HOSTS") as caught:
        policy(polling={"mode": "simple", "url": "http://10.0.0.1/"}).full_clean()
    assert list(caught.value.message_dict) == ["polling"]
    policy(polling={"mode": "", "url": "http://10.0.0.1/"}).full_clean()


@pytest.mark.parametrize(
    ("polling", "says"),
    [
        ({"every": 1}, "every"),
        ({"interval": 0}, "interval"),
        ({"interval": True}, "interval"),
        ({"interval": "5"}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"mode": 1}, "mode"),
        ({"mode": []}, "mode"),
        ({"url": 1}, "url"),
        ({"originator": None}, "originator"),
        ({"form": []}, "form"),
        ({"mode": "simple"}, "url"),
        ({"mode": "simple", "url": "ftp://example.com"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://[::1"}, "url"),
    ],
)
def test_polling_that_is_none(polling: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        options.validate_polling(polling)


@pytest.mark.parametrize(
    ("field", "limit"), [("history_size", MAX_HISTORY), ("history_duration", MAX_SECONDS)]
)
def test_a_history_that_the_server_would_refuse(field: str, limit: int) -> None:
    policy(**{field: limit}).full_clean()
    with pytest.raises(ValidationError, match=f"at most {limit}") as caught:
        policy(**{field: limit + 1}).full_clean()
    assert list(caught.value.message_dict) == [field]
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        policy(**{field: -1}).full_clean()
    with pytest.raises(ValidationError, match="must be an integer"):
        policy(**{field: "many"}).full_clean()


def test_every_option_of_channels_is_a_column() -> None:
    columns = {field.name for field in ChannelPolicy._meta.get_fields()}
    assert CHANNEL - columns == {"history"}


def test_every_field_is_labelled_and_explained() -> None:
    for model in (ChannelPolicy, ConnectionLog, SubscriptionLog, Publication):
        for field in model._meta.get_fields():
            if field.name in ("id", "created", "modified") and model is ChannelPolicy:
                continue  # model_utils' own
            if field.name != "id":
                assert field.help_text, f"{model.__name__}.{field.name}"  # type: ignore[union-attr]


@pytest.mark.parametrize("names", [None, ["note"]])
def test_a_policy_knows_when_it_was_last_changed(
    make_policy: Callable[..., ChannelPolicy], names: list[str] | None
) -> None:
    policy = make_policy("/a/")
    long_ago = policy.created - datetime.timedelta(days=1)
    ChannelPolicy.objects.update(created=long_ago, modified=long_ago)
    policy.note = "Changed."
    policy.save(update_fields=names)
    found = ChannelPolicy.objects.values("created", "modified", "note").get()
    assert found["note"] == "Changed."
    assert found["modified"] > long_ago


def test_fixtures_know_policies_by_name(make_policy: Callable[..., ChannelPolicy]) -> None:
    make_policy("/a/", "first")
    out = io.StringIO()
    call_command("dumpdata", "djhookbox.channelpolicy", natural_primary=True, stdout=out)
    data = json.loads(out.getvalue())
    assert "pk" not in data[0]
    assert ChannelPolicy.objects.get_by_natural_key("first").natural_key() == ("first",)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all"],
        ["djhookbox"],
        ["djhookbox", "--all", "--natural-foreign", "--natural-primary"],
        ["djhookbox.server", "djhookbox.publishing", "--all"],
    ],
    ids=" ".join,
)
def test_a_site_is_dumped_and_loaded(
    arguments: list[str], make_policy: Callable[..., ChannelPolicy], tmp_path: Path
) -> None:
    """Two of our models have no table; `dumpdata` asks about them like about all others."""
    make_policy("/a/", "a", history_size=3)
    columns = ("name", "pattern", "history_size", "subscribe_audience", "state")
    before = list(ChannelPolicy.objects.values(*columns))
    out = io.StringIO()
    call_command("dumpdata", *arguments, stdout=out)
    names = {row["model"] for row in json.loads(out.getvalue())}
    assert ("djhookbox.channelpolicy" in names) == ("djhookbox.server" not in arguments)
    assert ("auth.permission" in names) == (not arguments or arguments == ["--all"])
    assert not names & {"djhookbox.server", "djhookbox.publishing"}
    if arguments[:1] == ["djhookbox"]:
        (tmp_path / "site.json").write_text(out.getvalue())
        ChannelPolicy.objects.all().delete()
        call_command("loaddata", str(tmp_path / "site.json"), verbosity=0)
        assert list(ChannelPolicy.objects.values(*columns)) == before


def test_models_without_a_table_have_no_rows(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for model in (models.Server, models.Publishing):
            for rows in (model.objects.all(), model._base_manager.all()):
                assert not rows.exists()
                assert rows.count() == 0
                assert list(rows.filter(pk=1)) == []


def test_enabled_policies_come_in_their_order(make_policy: Callable[..., ChannelPolicy]) -> None:
    make_policy("/c/", order=2)
    make_policy("/b/", order=1)
    make_policy("/a/", order=1)
    make_policy("/d/", order=0, enabled=False)
    assert [p.pattern for p in ChannelPolicy.objects.enabled()] == ["/b/", "/a/", "/c/"]


def test_older_than() -> None:
    old = timezone.now() - datetime.timedelta(days=3)
    first = ConnectionLog.objects.create(event="connect", created=old)
    ConnectionLog.objects.create(event="connect")
    assert list(ConnectionLog.objects.older_than(2)) == [first]
    assert not ConnectionLog.objects.older_than(4).exists()


def test_what_rows_are_called() -> None:
    assert str(policy()) == "p"
    assert str(ConnectionLog(user_name="bob", event="refused")) == "bob: refused"
    assert str(SubscriptionLog(event="subscribe", channel="/a/")) == "-: subscribed: /a/"
    assert str(Publication(channel="/a/", status="sent")) == "/a/: sent"
    assert str(models.Server()) == "Hookbox"


@pytest.mark.parametrize(
    ("model", "column"),
    [(ConnectionLog, "event"), (SubscriptionLog, "event"), (Publication, "status")],
)
def test_refusals_have_indexes_of_their_own(model: Any, column: str) -> None:
    """MySQL and MariaDB would index all rows instead."""
    indexes = [one for one in model._meta.indexes if isinstance(one, PartialIndex)]
    assert [one.compared for one in indexes] == [
        [column, "user_name"], [column, "decided_by", "reason"],
    ]  # fmt: skip
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, model._meta.db_table)
    partial = connection.features.supports_partial_indexes
    assert [one.name in there for one in indexes] == [partial, partial]
    for one in indexes:
        _path, arguments, options = one.deconstruct()
        assert PartialIndex(*arguments, **options) == one
        sql = str(one.create_sql(model, connection.schema_editor(collect_sql=True)))
        assert ("WHERE" in sql, "'refused'" in sql) == (partial, partial)
