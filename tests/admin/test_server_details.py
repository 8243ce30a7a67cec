"""The pages of one live channel and of one connected user."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from djhookbox.admin import ServerAdmin
from djhookbox.exceptions import HookboxRefused
from djhookbox.models import Server, SubscriptionLog

from .stand_in import APP, NASTY, Hookbox, messages_of, person, signed_in

PAGE = f"{APP}server/"

#: An admin site that has nothing but the server page.
bare_site = admin.AdminSite(name="bare")
bare_site.register(Server, ServerAdmin)
urlpatterns = [
    path("bare/", bare_site.urls),
    path("admin/", admin.site.urls),
    path("hookbox/", include("djhookbox.urls")),
]


def channel(name: str, **query: str) -> str:
    return f"{PAGE}channel/?{urlencode({'name': name, **query})}"


def user(name: str) -> str:
    return f"{PAGE}user/?{urlencode({'name': name})}"


@pytest.fixture
def live(hookbox: Hookbox) -> Hookbox:
    hookbox.answers["get_channel_info"] = {
        "name": "/chat/a/",
        "subscribers": [f"user{number}" for number in range(250)] + list(NASTY),
        "connections": 300,
        "options": {
            "history_size": 5, "reflective": True, "state": {"topic": "<secret plan>"},
            "history": [["PUBLISH", {"payload": "hush", "user": "alice"}]], "polling": {},
        },
    }  # fmt: skip
    hookbox.answers["list_connections"] = {
        "total": 120,
        "connections": [
            {"conn_id": "c1", "transport": "websocket", "since": 1.3e9,
             "channels": ["/chat/a/", *NASTY], "remote_addr": "2001:db8::8a2e:7334"},
            {"conn_id": "c2", "transport": "csp", "since": None, "channels": []},
        ],
    }  # fmt: skip
    return hookbox


def test_who_sees_them(
    root: Client, viewer: Client, staff: Client, stranger: Client, live: Hookbox
) -> None:
    for page in (channel("/chat/a/"), user("alice"), f"{PAGE}live/"):
        assert root.get(page).status_code == 200
        assert viewer.get(page).status_code == 200
        assert staff.get(page).status_code == 403
        assert stranger.get(page).status_code == 302
        assert Client().get(page).status_code == 302


def test_a_channel(viewer: Client, live: Hookbox) -> None:
    page = viewer.get(channel("/chat/a/")).content.decode()
    assert "history_size" in page
    assert "The first 100 of 253." in page
    assert "user99" in page
    assert "user100" not in page
    found = viewer.get(channel("/chat/a/", q="USER2")).content.decode()
    assert "user249" in found
    assert "user1<" not in found
    assert "channel=%2Fchat%2Fa%2F" in page, "its logs"
    assert "/channelpolicy/try/?channel=%2Fchat%2Fa%2F" in page


def test_payloads_are_for_those_who_may_see_them(
    root: Client, viewer: Client, live: Hookbox
) -> None:
    page = viewer.get(channel("/chat/a/")).content.decode()
    assert "hush" not in page
    assert "secret plan" not in page
    assert "you need the permission “Can see what was published”" in page
    page = root.get(channel("/chat/a/")).content.decode()
    assert "hush" in page
    assert "&lt;secret plan&gt;" in page


def test_masked_fields_stay_masked(root: Client, live: Hookbox, settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["topic", "PAYLOAD"]
    page = root.get(channel("/chat/a/")).content.decode()
    assert "hush" not in page
    assert "secret plan" not in page
    assert "***" in page


def test_a_user(viewer: Client, live: Hookbox) -> None:
    page = viewer.get(user("alice")).content.decode()
    when = "<bdi>2011-03-13</bdi> 07:06:40"
    address = "2001:<wbr>db8:<wbr>:<wbr>8a2e:<wbr>7334"
    for text in ("c1", "WebSocket", when, address, "/chat/a/", "The first 2 of 120."):
        assert text in page, text
    assert "user_name=alice" in page, "the logs"
    assert "<b>" not in page


@pytest.mark.parametrize("name", ["", *NASTY, "x" * 5000, "\x00"])
def test_names_that_are_none(root: Client, hookbox: Hookbox, name: str) -> None:
    hookbox.answers["list_connections"] = {"total": 0, "connections": []}
    hookbox.answers["get_channel_info"] = HookboxRefused("no", code="no_channel")
    for page in (channel(name), user(name)):
        response = root.get(page)
        assert response.status_code == 200
        assert response.context["problem"]


@pytest.mark.parametrize("answer", [{}, {"subscribers": 7, "options": [], "connections": {}},
                                    {"connections": [7, {}, {"channels": None}]},
                                    {"connections": [{"channels": 4}, {"channels": [[], 3]}]},
                                    ])  # fmt: skip
def test_odd_answers(root: Client, hookbox: Hookbox, answer: Any) -> None:
    hookbox.answers["list_connections"] = hookbox.answers["get_channel_info"] = answer
    for page in (channel("/a/"), user("alice")):
        assert root.get(page).status_code == 200


def test_halves_of_characters_that_a_browser_has_published(root: Client, hookbox: Hookbox) -> None:
    history = [["PUBLISH", {"payload": "\ud83d"}]]
    hookbox.answers["get_channel_info"] = {
        "subscribers": [], "options": {"history": history, "state": {"\udc00": 1}},
    }  # fmt: skip
    page = root.get(channel("/a/")).content.decode()
    assert "\\ud83d" in page
    assert "\\udc00" in page


def test_a_huge_history_is_shortened(root: Client, hookbox: Hookbox) -> None:
    hookbox.answers["get_channel_info"] = {
        "subscribers": [], "options": {"history": [["PUBLISH", {"payload": "x" * 1_000_000}]]},
    }  # fmt: skip
    page = root.get(channel("/a/")).content
    assert len(page) < 60_000
    assert "…".encode() in page


def test_few_queries(viewer: Client, live: Hookbox) -> None:
    for page in (channel("/chat/a/"), user("alice")):
        with CaptureQueriesContext(connection) as queries:
            viewer.get(page)
        # Session, user and rights; the bans, or the policies and the channel's creation.
        assert len(queries) <= 6, queries.captured_queries


def test_links_lead_only_where_the_user_may_go(live: Hookbox, db: None) -> None:
    narrow = signed_in(person("narrow", "view_server"))
    for page in (channel("/chat/a/"), user("alice")):
        text = narrow.get(page).content.decode()
        assert "/connectionlog/" not in text
        assert "/publication/" not in text
        assert "/channelpolicy/try/" not in text
    publisher = signed_in(person("publisher", "view_server", "publish_message"))
    text = publisher.get(channel("/chat/a/")).content.decode()
    assert "/publishing/?channel=%2Fchat%2Fa%2F" in text


def test_a_user_leads_to_the_account(root: Client, live: Hookbox) -> None:
    account = person("alice", staff=False)
    link = f'href="/admin/auth/user/{account.pk}/change/"'
    assert link in root.get(user("alice")).content.decode()
    assert "/change/" not in root.get(user("bob")).content.decode()
    narrow = signed_in(person("narrow", "view_server"))
    assert link not in narrow.get(user("alice")).content.decode()


@override_settings(ROOT_URLCONF="tests.admin.test_server_details")
def test_a_site_that_has_only_the_server_page(root: Client, live: Hookbox) -> None:
    for page in ("", "live/", "channel/?name=/chat/a/", "user/?name=alice",
                 "disconnect/?user=alice", "unsubscribe/?user=user1&channel=/chat/a/"):  # fmt: skip
        response = root.get(f"/bare/djhookbox/server/{page}")
        assert response.status_code == 200, page
        assert 'href="/admin/' not in response.content.decode(), page


def test_permissions_exist_to_be_given(db: None) -> None:
    found = Permission.objects.filter(content_type__model="server")
    names = {permission.codename for permission in found}
    assert names == {"view_server", "control_server", "disconnect_user", "subscribe_user"}


def test_the_state_is_changed_by_those_who_publish(
    root: Client, viewer: Client, live: Hookbox
) -> None:
    url = f"{PAGE}channel/state/"
    live.answers["state_set_key"] = live.answers["state_delete_key"] = {}
    assert f'action="{url}"' in root.get(channel("/chat/a/")).content.decode()
    assert url not in viewer.get(channel("/chat/a/")).content.decode()
    sent = {"name": "/chat/a/", "key": "topic", "value": '{"a": 1}'}
    assert viewer.post(url, sent).status_code == 403
    assert messages_of(root.post(url, sent, follow=True)) == ["topic was set in the state."]
    (form,) = [form for call, form in live.calls if call == "state_set_key"]
    assert (form["channel_name"], form["key"]) == ("/chat/a/", "topic")
    assert json.loads(form["val"]) == {"a": 1}
    text = messages_of(root.post(url, {**sent, "delete": "1"}, follow=True))
    assert text == ["topic was deleted from the state."]
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == [
        "Set the key topic of the state of /chat/a/.",
        "Deleted the key topic of the state of /chat/a/.",
    ]
    for wrong in ({"value": "{"}, {"key": ""}, {"name": ""}, {"value": ""}):
        assert len(messages_of(root.post(url, {**sent, **wrong}, follow=True))) == 1
    live.answers["state_set_key"] = HookboxRefused("No such channel.", code="no_channel")
    assert messages_of(root.post(url, sent, follow=True)) == ["No such channel."]
    assert LogEntry.objects.count() == 2


def test_a_channel_says_who_decides_and_how_busy_it_is(
    root: Client, live: Hookbox, make_policy: Any
) -> None:
    live.live = {"/chat/a/": 300}
    assert "No policy matches; handlers decide." in root.get(channel("/chat/a/")).content.decode()
    make_policy("/chat/<slug:room>/", name="Chats")
    SubscriptionLog.objects.create(event="create", channel="/chat/a/", decided_by="policy:Chats")
    page = root.get(channel("/chat/a/")).content.decode()
    assert "The policy “Chats” decides." in page
    assert "/channelpolicy/?name=Chats" in page
    assert "decided by policy:Chats" in page
    assert "<dt>Connections</dt><dd><bdi>300</bdi>" in page
