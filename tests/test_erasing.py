"""Erasing a person removes everything about them, including the name, and nothing about others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from djhookbox.audit import erasing, personal
from djhookbox.audit.addresses import stored
from djhookbox.models import (
    Ban,
    ChannelPolicy,
    ConnectionLog,
    Outbox,
    Publication,
    StreamChannel,
    StreamEntry,
    SubscriptionLog,
)
from djhookbox.outbox import heads
from djhookbox.querysets import has_text

#: A name that occurs in URLs differently, and in others' names.
NAME = "al+ice@example.org"
OTHERS = ("bob", f"x{NAME}", NAME.upper())


@pytest.fixture
def stored_rows(db: None) -> User:
    """Write what every table can say of somebody, and of others whose names resemble it."""
    now = timezone.now()
    ChannelPolicy.objects.create(
        name="Own", pattern="/users/<str:username>/", note=f"Asked for by {NAME}.",
        server_presenceful=True, server_user_presence=[NAME, "bob"],
    )  # fmt: skip
    admin = User.objects.create_superuser("root")
    heads.look(heads.database())
    for number, name in enumerate((NAME, *OTHERS)):
        ConnectionLog.objects.create(
            event="refused", user_name=name, ip="192.0.2.7", user_agent="Firefox",
            reason=f"{name} is not welcome.", note=f"{name} wrote to us.", connection_id="c1",
        )  # fmt: skip
        SubscriptionLog.objects.create(
            event="subscribe", user_name=name, channel=f"/users/{name}/", connection_id="c1"
        )
        secret = {"payload": {"text": "secret"}, "preview": '{"text": "secret"}'}
        for sender in (name, "shop"):
            Publication.objects.create(
                user_name=sender, channel=f"/users/{name}/", source="code", status="failed",
                error=f"{name} failed." if sender == name else "", **secret,
            )  # fmt: skip
        Ban.objects.create(kind="user", value=name, reason="Spam.", note=f"{name} again.")
        Ban.objects.create(kind="address", value="192.0.2.7", about=name)
        Ban.objects.create(kind="address", value="192.0.2.8", about=name, until=now)
        Ban.objects.create(kind="address", value="192.0.2.9", created_by=name)
        row = {"source": "code", "opened_by": "policy:Own", "payload": '"secret"'}
        Outbox.objects.create(channel="/news/", user_name=name, **row)
        Outbox.objects.create(channel="/news/", sender=name, failed=True, **row)
        Outbox.objects.create(channel=f"/users/{name}/", **row)
        for place, channel in enumerate(("/news/", f"/users/{name}/")):
            stream = StreamChannel.objects.create(
                name=channel, digest=f"{number}{place}", epoch="e", published=now
            )
            StreamEntry.objects.create(
                number=number * 2 + place + 1, channel=stream, epoch="e", offset=1, created=now,
                numbered=now, payload='"secret"', user_name=name, token="t",
            )  # fmt: skip
        LogEntry.objects.create(
            user_id=admin.pk, action_flag=CHANGE, object_repr="Hookbox",
            content_type=ContentType.objects.get_for_model(ConnectionLog),
            change_message=f"Disconnected {name}.",
        )  # fmt: skip
    SubscriptionLog.objects.create(
        event="subscribe", user_name="shop", channel="/news/", note=f"Together with {NAME}!"
    )
    Publication.objects.create(
        status="sent", user_name="shop", channel="/news/", source="code", note=f"For {NAME}"
    )
    return admin


def tables() -> dict[str, str]:
    """Return the contents of all our tables, and of the admin's history, as text."""
    models: list[Any] = [
        model for model in apps.get_app_config("djhookbox").get_models() if model._meta.managed
    ]
    return {
        model._meta.model_name: json.dumps(
            list(model._base_manager.order_by("pk").values()), default=str
        )
        for model in (*models, LogEntry)
    }


def test_nothing_of_the_person_remains(stored_rows: User) -> None:
    before = tables()
    erased = erasing.erase(NAME)
    assert erased.complete
    after = tables()
    for table, text in after.items():
        rest = text.replace(f"x{NAME}", "")
        assert NAME not in rest, table
    row = ConnectionLog.objects.get(user_name=erased.pseudonym)
    assert (row.ip, row.user_agent, row.note, row.reason) == (None, "", "", "")
    assert (row.event, row.connection_id) == ("refused", "c1")
    for publication in Publication.objects.filter(channel=f"/users/{erased.pseudonym}/"):
        assert (publication.payload, publication.preview, publication.kept) == (
            None, "", Publication.Kept.NOTHING
        )  # fmt: skip
    # Others have lost nothing, however similar their names are.
    for table in ("connectionlog", "publication", "subscriptionlog", "ban", "outbox"):
        for name in OTHERS:
            assert before[table].count(f'"{name}') == after[table].count(f'"{name}'), (table, name)
    assert "Disconnected bob." in after["logentry"]
    assert f"Disconnected {erased.pseudonym}." in after["logentry"]
    assert SubscriptionLog.objects.filter(note=f"Together with {erased.pseudonym}!").exists()
    # Positions in streams of several users remain.
    assert sorted(StreamEntry.objects.values_list("pk", flat=True)) == [1, 3, 4, 5, 6, 7, 8]
    entry = StreamEntry.objects.get(number=1)
    assert (entry.user_name, entry.payload) == (erased.pseudonym, "null")
    # Who is refused by address stays refused.
    bans = Ban.objects.exclude(reason="Spam.").order_by("pk")
    bans = bans.exclude(about__in=OTHERS).exclude(created_by__in=OTHERS)
    assert [(ban.value, ban.about, ban.created_by) for ban in bans] == [
        ("192.0.2.7", "", ""), ("192.0.2.9", "", erased.pseudonym),
    ]  # fmt: skip
    assert not any(erasing.count(NAME).values())


def test_what_is_counted_is_what_is_changed(stored_rows: User) -> None:
    counted = erasing.count(NAME)
    assert all(counted.values()), counted
    changed = erasing.erase(NAME).counts
    # What was a note on an entry of the person is deleted with the entry's other texts, and
    # publications to oneself were already found by the name.
    assert counted.pop("connection_notes") == 1
    assert changed.pop("connection_notes") == 0
    assert changed == counted


def test_it_can_be_interrupted(stored_rows: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "BATCH", 1)
    first = erasing.erase(NAME, seconds=0)
    assert not first.complete
    assert sum(first.counts.values()) == 1
    again = erasing.erase(NAME, pseudonym=first.pseudonym)
    assert again.complete
    names = set(ConnectionLog.objects.values_list("user_name", flat=True))
    assert names == {first.pseudonym, *OTHERS}


# ---- the command -----------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    try:
        call_command("hookbox", "erase", *arguments)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    return status, capsys.readouterr().out


def test_the_command_erases(stored_rows: User, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, NAME, "--dry-run")
    assert status == 0
    assert "Rows that would be changed:" in out
    assert ConnectionLog.objects.filter(has_text("user_name", NAME)).exists()
    status, out = run(capsys, NAME, "--json", "--by", "root")
    answer = json.loads(out)
    assert (status, answer["dry_run"], answer["changed"]["connections"]) == (0, False, 1)
    assert not ConnectionLog.objects.filter(has_text("user_name", NAME)).exists()
    entry = LogEntry.objects.get(object_repr=answer["pseudonym"])
    assert entry.user_id == stored_rows.pk
    assert entry.change_message.startswith("Erased a person: connections 1, ")
    status, out = run(capsys, NAME)
    assert (status, out) == (1, "Nothing was found under this name.\n")


@pytest.mark.parametrize("arguments", [("",), ("a\nb",), ("alice", "--by", "nobody")])
def test_mistaken_arguments(db: None, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("hookbox", "erase", *arguments)
    assert caught.value.returncode == 2


# ---- the admin -------------------------------------------------------------------------------

PAGE = "/admin/djhookbox/connectionlog/erase/"


def test_the_admin_erases(stored_rows: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.force_login(stored_rows)
    assert "the name of a user" in client.get(PAGE, {"user": "a\nb"}).content.decode()
    trail = client.get("/admin/djhookbox/connectionlog/trail/", {"user": NAME}).content.decode()
    assert f"{PAGE}?user=al%2Bice%40example.org" in trail
    page = client.get(PAGE, {"user": NAME}).content.decode()
    assert "Connection log: 1<" in page
    assert "There is an account of this name" not in page
    assert ConnectionLog.objects.filter(has_text("user_name", NAME)).exists()
    with monkeypatch.context() as patch:
        patch.setattr("djhookbox.admin.logs.erasing.SECONDS", 0)
        unfinished = client.post(PAGE, {"user": NAME}, follow=True)
    assert "rows were changed so far" in unfinished.content.decode()
    hidden = unfinished.context["hidden"]
    assert erasing.PSEUDONYM.fullmatch(dict(hidden)["pseudonym"])
    page = client.post(PAGE, dict(hidden), follow=True).content.decode()
    assert f"The person is called {dict(hidden)['pseudonym']} now." in page
    assert not ConnectionLog.objects.filter(has_text("user_name", NAME)).exists()
    entries = LogEntry.objects.filter(object_repr=dict(hidden)["pseudonym"])
    assert entries.count() == 2
    assert not entries.filter(change_message__contains=NAME).exists()


def test_nobody_is_called_what_a_form_says(stored_rows: User) -> None:
    client = Client()
    client.force_login(stored_rows)
    client.post(PAGE, {"user": NAME, "pseudonym": "bob"})
    assert ConnectionLog.objects.filter(user_name="bob").count() == 1


# ---- shortened addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "whole", "short"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0"),
        ("2001:db8:1:2::7", "2001:db8:1:2::7", "2001:db8:1::"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7", "192.0.2.0"),
        ("fe80::1%eth0", "fe80::1", "fe80::"),
        ("nowhere", None, None),
        ("", None, None),
    ],
)
def test_addresses_can_be_shortened(
    settings: Any, address: str, whole: str | None, short: str | None
) -> None:
    found = stored(address)
    assert found == whole or (found or "").replace("c000:207", "192.0.2.7") == whole
    settings.HOOKBOX_SHORTEN_ADDRESSES = True
    assert stored(address) == short


def test_events_store_shortened_addresses(db: None, settings: Any) -> None:
    from djhookbox.audit.reported import record

    settings.HOOKBOX_SHORTEN_ADDRESSES = True
    record([{"event": "disconnect", "user": "alice", "conn_id": "c1", "remote_addr": "192.0.2.7"}])
    assert ConnectionLog.objects.get().ip == "192.0.2.0"
