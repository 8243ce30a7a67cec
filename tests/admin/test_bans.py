"""The list of bans: made, changed, lifted, by whom, and what happens to open connections."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from djhookbox.exceptions import HookboxUnreachable
from djhookbox.models import Ban, ConnectionLog

from .stand_in import APP, Hookbox, messages_of, person, signed_in

PAGE = f"{APP}ban/"


@pytest.fixture
def operator(db: None) -> Client:
    rights = ("view_ban", "add_ban", "change_ban", "view_server", "view_connectionlog")
    return signed_in(person("operator", *rights))


def make(client: Client, **fields: str) -> Any:
    return client.post(
        f"{PAGE}add/?about=alice",
        {"kind": "user", "value": "alice", "minutes": "10", **fields},
        follow=True,
    )


@pytest.mark.django_db(transaction=True)
def test_a_ban_ends_and_closes_what_is_open(operator: Client, hookbox: Hookbox) -> None:
    hookbox.answers["disconnect"] = {"disconnected": 3}
    response = make(operator, reason="Spam.")
    ban = Ban.objects.get()
    assert ban.until is not None
    left = ban.until - timezone.now()
    assert datetime.timedelta(minutes=9) < left <= datetime.timedelta(minutes=10)
    assert (ban.created_by, ban.about, ban.reason) == ("operator", "alice", "Spam.")
    (form,) = [form for call, form in hookbox.calls if call == "disconnect"]
    assert (form["names"], form["reason"], form["seconds"]) == ('["alice"]', "Spam.", "2.0")
    assert any("3 connections were closed." in text for text in messages_of(response))
    assert LogEntry.objects.get().object_repr == "user: alice"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [("session", "session:ab", "identities"), ("address", "192.0.2.9/24", "addresses")],
)
def test_each_kind_closes_its_own(
    operator: Client, hookbox: Hookbox,
    kind: str, value: str, field: str,
) -> None:  # fmt: skip
    hookbox.answers["disconnect"] = {"disconnected": 1}
    make(operator, kind=kind, value=value, minutes="")
    ban = Ban.objects.get()
    assert ban.until is None
    (form,) = [form for call, form in hookbox.calls if call == "disconnect"]
    assert form[field] == f'["{ban.value}"]'


@pytest.mark.django_db(transaction=True)
def test_a_process_that_does_not_answer_is_no_obstacle(operator: Client, hookbox: Hookbox) -> None:
    hookbox.answers["disconnect"] = HookboxUnreachable("It is down.", code="unavailable")
    response = make(operator)
    assert Ban.objects.count() == 1
    assert any("could not be closed: It is down." in text for text in messages_of(response))


@pytest.mark.django_db(transaction=True)
def test_a_bad_value_is_explained(operator: Client, hookbox: Hookbox) -> None:
    response = make(operator, kind="address")
    assert "This is not an IP address or a range" in response.content.decode()
    assert not Ban.objects.exists()
    assert "disconnect" not in [call for call, _form in hookbox.calls]


def test_bans_are_lifted_and_that_is_noted(operator: Client) -> None:
    now = timezone.now()
    active = Ban.objects.create(kind="user", value="alice")
    over = Ban.objects.create(kind="user", value="bob", until=now)
    chosen = {"action": "lift", "_selected_action": [active.pk, over.pk]}
    response = operator.post(PAGE, chosen, follow=True)
    assert messages_of(response) == ["1 ban was lifted."]
    active.refresh_from_db()
    over.refresh_from_db()
    assert (active.status, over.status) == ("lifted", "expired")
    assert LogEntry.objects.get().change_message == "Lifted."
    assert messages_of(operator.post(PAGE, chosen, follow=True)) == [
        "None of these bans was active."
    ]


def test_only_the_end_and_the_note_can_be_changed(operator: Client) -> None:
    ban = Ban.objects.create(kind="user", value="alice", reason="Spam.")
    url = f"{PAGE}{ban.pk}/change/"
    page = operator.get(url).content.decode()
    assert 'name="until_0"' in page
    assert 'name="value"' not in page
    operator.post(url, {"value": "bob", "until_0": "2030-01-02", "until_1": "03:04", "note": "x"})
    ban.refresh_from_db()
    assert (ban.value, ban.note) == ("alice", "x")
    assert ban.until is not None
    assert ban.until.year == 2030


@pytest.mark.parametrize("status", ["active", "expired", "lifted"])
def test_filters_by_status(operator: Client, status: str) -> None:
    now = timezone.now()
    Ban.objects.create(kind="user", value="is-active")
    Ban.objects.create(kind="user", value="is-expired", until=now)
    Ban.objects.create(kind="user", value="is-lifted", lifted=now)
    page = operator.get(PAGE, {"status": status}).content.decode()
    found = {each for each in ("active", "expired", "lifted") if f"<bdi>is-{each}</bdi>" in page}
    assert found == {status}


def test_the_log_links_to_the_ban(operator: Client, viewer: Client) -> None:
    ban = Ban.objects.create(kind="user", value="alice")
    ConnectionLog.objects.create(event="refused", user_name="alice", decided_by=f"ban:{ban.pk}")
    link = f'href="{PAGE}?id={ban.pk}"'
    assert link in operator.get(f"{APP}connectionlog/").content.decode()
    assert link not in viewer.get(f"{APP}connectionlog/").content.decode()


def test_the_page_of_a_user_offers_it(operator: Client, viewer: Client, hookbox: Hookbox) -> None:
    hookbox.answers["list_connections"] = {
        "total": 1,
        "connections": [
            {"conn_id": "c1", "transport": "websocket", "remote_addr": "192.0.2.9", "since": 1.7e9,
             "user_agent": "Firefox <1>", "origin": "https://example.com", "unsent": 2048,
             "identity": "session:ab", "channels": ["/a/"]},
        ],
    }  # fmt: skip
    url = f"{APP}server/user/?name=alice"
    page = operator.get(url).content.decode()
    for text in ("192.0.2.9", "Firefox &lt;1&gt;", "<wbr>/example.com", "2.0", "WebSocket"):
        assert text in page, text
    for query in (
        "kind=user&amp;value=alice&amp;about=alice&amp;minutes=10",
        "kind=session&amp;value=session%3Aab&amp;about=alice",
        "kind=address&amp;value=192.0.2.9&amp;about=alice",
    ):
        assert (
            f"{PAGE}add/?{query}" in page
            or f"{PAGE}add/?{query}".replace("&amp;about=alice&amp;", "&amp;") in page
        )
    assert "?ip=192.0.2.9" in page
    assert PAGE not in viewer.get(url).content.decode()
    ban = Ban.objects.create(kind="user", value="alice", reason="Spam.")
    page = operator.get(url).content.decode()
    assert "This user is banned: Spam." in page
    assert f"{PAGE}?id={ban.pk}" in page


def test_users_are_added_to_channels(
    root: Client, operator: Client, hookbox: Hookbox, rows: dict[str, Any]
) -> None:
    url = f"{APP}server/subscribe/"
    hookbox.answers["subscribe"] = {}
    assert operator.post(url, {"user": "alice", "channel": "/front/"}).status_code == 403
    response = root.post(url, {"user": "alice", "channel": "/front/"}, follow=True)
    assert messages_of(response) == ["alice was subscribed to /front/."]
    (form,) = [form for call, form in hookbox.calls if call == "subscribe"]
    assert (form["channel_name"], form["name"]) == ("/front/", "alice")
    assert LogEntry.objects.get().change_message == "Subscribed alice to /front/."
    response = root.post(url, {"user": "alice", "channel": "/closed/"}, follow=True)
    assert messages_of(response) == ["No policy or handler opens this channel."]
    for channel in ("", "djhookbox:server"):
        assert len(messages_of(root.post(url, {"user": "a", "channel": channel}, follow=True))) == 1
    assert sum(call == "subscribe" for call, _form in hookbox.calls) == 1
