"""Disconnecting and unsubscribing from the admin: permissions, confirmations and messages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from djhookbox.exceptions import HookboxMisconfigured, HookboxRefused

from .stand_in import APP, NASTY, Hookbox, messages_of, person, signed_in

PAGE = f"{APP}server/"
ALICE = {"conn_id": "a1", "transport": "websocket", "since": 1.3e9, "channels": ["/chat/a/"]}


@pytest.fixture
def bouncer(db: None, hookbox: Hookbox) -> Client:
    hookbox.answers["list_connections"] = {
        "total": 2, "connections": [ALICE, {**ALICE, "conn_id": "a2"}],
    }  # fmt: skip
    hookbox.answers["get_channel_info"] = {
        "name": "/chat/a/", "subscribers": ["alice", "bob"], "options": {},
    }  # fmt: skip
    hookbox.answers["disconnect"] = {"disconnected": 2}
    hookbox.answers["unsubscribe"] = {}
    return signed_in(person("bouncer", "disconnect_user"))


def address(page: str, **query: str) -> str:
    return f"{PAGE}{page}/?{urlencode(query)}"


DISCONNECT = address("disconnect", user="alice")
ONE = address("disconnect", user="alice", connection="a2")
UNSUBSCRIBE = address("unsubscribe", user="alice", channel="/chat/a/")
ALL = (DISCONNECT, ONE, UNSUBSCRIBE)


def deeds(hookbox: Hookbox) -> list[tuple[str, dict[str, Any]]]:
    return [call for call in hookbox.calls if call[0] in ("disconnect", "unsubscribe")]


# ---- who may ---------------------------------------------------------------------------------


def test_only_with_the_permission(
    viewer: Client, staff: Client, stranger: Client, bouncer: Client, hookbox: Hookbox
) -> None:
    operator = signed_in(person("operator", "control_server"))
    for page in ALL:
        for client in (viewer, staff, operator):
            assert client.get(page).status_code == 403
            assert client.post(page, {"reason": "x"}).status_code == 403
        assert stranger.post(page)["Location"].startswith("/admin/login/")
    assert deeds(hookbox) == []
    assert "disconnect/" not in viewer.get(PAGE).content.decode()
    assert "disconnect/" in bouncer.get(PAGE).content.decode()
    for page in ("user/?name=alice", "channel/?name=/chat/a/"):
        assert "Unsubscribe" not in viewer.get(f"{PAGE}{page}").content.decode()
        assert "Unsubscribe" in bouncer.get(f"{PAGE}{page}").content.decode()


def test_nothing_happens_without_a_post_that_proves_its_page(
    bouncer: Client, hookbox: Hookbox
) -> None:
    for page in ALL:
        assert bouncer.get(page).status_code == 200
        assert bouncer.put(page).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = bouncer.cookies
    for page in ALL:
        assert strict.post(page, {"reason": ""}).status_code == 403
    assert deeds(hookbox) == []


# ---- the questions ---------------------------------------------------------------------------


def test_the_question_names_the_effect(bouncer: Client) -> None:
    page = bouncer.get(DISCONNECT).content.decode()
    assert "Disconnect alice?" in page
    assert "2 connections are closed" in page
    assert "Close 2 connections" in page
    page = bouncer.get(ONE).content.decode()
    assert "Disconnect this connection of alice?" in page
    assert "1 connection is closed" in page
    page = bouncer.get(UNSUBSCRIBE).content.decode()
    assert "Unsubscribe alice from /chat/a/?" in page
    for name in NASTY:
        assert bouncer.get(address("disconnect", user=name)).status_code == 200


@pytest.mark.parametrize("page", ["disconnect", "unsubscribe"])
def test_a_question_about_nobody_leads_back(bouncer: Client, page: str) -> None:
    for method in (bouncer.get, bouncer.post):
        response = method(f"{PAGE}{page}/", follow=True)
        assert response.redirect_chain == [(PAGE, 302)]
        assert "Choose" in messages_of(response)[0]


# ---- the deeds -------------------------------------------------------------------------------


def test_the_reason_is_passed_on_and_entered(bouncer: Client, hookbox: Hookbox) -> None:
    response = bouncer.post(DISCONNECT, {"reason": "No <b>shouting</b> ü"}, follow=True)
    assert messages_of(response) == ["2 connections of alice were closed."]
    [(_call, form)] = deeds(hookbox)
    assert (form["name"], form["code"]) == ("alice", "4500")
    assert "conn_id" not in form
    assert form["reason"] == "No <b>shouting</b> ü"
    entry = LogEntry.objects.get()
    assert entry.change_message == "Disconnected alice (2): No <b>shouting</b> ü"
    assert entry.user.get_username() == "bouncer"


def test_one_connection(bouncer: Client, hookbox: Hookbox) -> None:
    hookbox.answers["disconnect"] = {"disconnected": 1}
    response = bouncer.post(ONE, {"reason": ""}, follow=True)
    assert messages_of(response) == ["1 connection of alice was closed."]
    [(_call, form)] = deeds(hookbox)
    assert (form["name"], form["conn_id"]) == ("alice", "a2")
    assert "reason" not in form
    assert "a2" in LogEntry.objects.get().change_message


def test_unsubscribing(bouncer: Client, hookbox: Hookbox) -> None:
    response = bouncer.post(UNSUBSCRIBE, {"reason": "enough"}, follow=True)
    assert messages_of(response) == ["alice was unsubscribed from /chat/a/."]
    [(_call, form)] = deeds(hookbox)
    assert form == {"channel_name": "/chat/a/", "name": "alice", "reason": "enough"}
    assert "Unsubscribed alice from /chat/a/: enough" in LogEntry.objects.get().change_message


def test_names_with_spaces_around_them_stay_as_they_are(bouncer: Client, hookbox: Hookbox) -> None:
    bouncer.post(address("disconnect", user=" _visitor "), {"reason": ""})
    assert deeds(hookbox)[0][1]["name"] == " _visitor "


@pytest.mark.parametrize(
    "reason", ["x" * 121, "ü" * 61, "💬" * 31, "a\x00b"], ids=["long", "bytes", "emoji", "control"]
)
def test_a_reason_that_no_close_frame_can_carry(
    bouncer: Client, hookbox: Hookbox, reason: str
) -> None:
    for page in ALL:
        response = bouncer.post(page, {"reason": reason})
        assert response.status_code == 200
        assert response.context["form"].errors
        assert "errorlist" in response.content.decode()
    assert deeds(hookbox) == []


# ---- somebody was faster ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, None, "many", []])
def test_whoever_has_gone_meanwhile_is_no_error(
    bouncer: Client, hookbox: Hookbox, count: object
) -> None:
    hookbox.answers["disconnect"] = {"disconnected": count}
    for page in (DISCONNECT, ONE):
        response = bouncer.post(page, {"reason": ""}, follow=True)
        assert response.status_code == 200
        assert "no longer connected" in messages_of(response)[0]
    hookbox.answers["list_connections"] = {"total": 0, "connections": []}
    for page in (DISCONNECT, ONE):
        response = bouncer.get(page, follow=True)
        assert "no longer connected" in messages_of(response)[0]
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    "answer",
    [
        {"subscribers": ["bob"]},
        {"subscribers": None},
        HookboxRefused("Channel /chat/a/ doesn't exist", code="no_channel"),
    ],
)
def test_whoever_is_not_in_the_channel_any_more(
    bouncer: Client, hookbox: Hookbox, answer: Any
) -> None:
    hookbox.answers["get_channel_info"] = answer
    for method in (bouncer.get, bouncer.post):
        response = method(UNSUBSCRIBE, {}, follow=True) if method == bouncer.post else method(
            UNSUBSCRIBE, follow=True
        )  # fmt: skip
        assert "no longer subscribed to /chat/a/" in messages_of(response)[0]
    assert deeds(hookbox) == []
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_process_that_is_down_or_another(bouncer: Client, hookbox: Hookbox, method: str) -> None:
    genuine = HookboxMisconfigured("It did not answer as a Hookbox process does.", status=500)
    for call in ("list_connections", "disconnect", "get_channel_info", "unsubscribe"):
        hookbox.answers[call] = genuine
    for running in (True, False):
        hookbox.running = running
        for page in ALL:
            response = getattr(bouncer, method)(page, follow=True)
            assert response.status_code == 200
            assert len(messages_of(response)) == 1
    assert not LogEntry.objects.exists()
