"""The latest messages on the page of a channel."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from djhookbox.exceptions import HookboxNotRunning, HookboxRefused

from .stand_in import APP, NASTY, Hookbox


def tail(name: str = "/chat/a/") -> str:
    return f"{APP}server/channel/tail/?{urlencode({'name': name})}"


def page(name: str = "/chat/a/") -> str:
    return f"{APP}server/channel/?{urlencode({'name': name})}"


def publication(offset: int, payload: Any = None, user: str = "alice") -> dict[str, Any]:
    text = None if payload is None else json.dumps(payload)
    return {"offset": offset, "at": 1.3e9 + offset, "user": user, "payload": text}


@pytest.fixture
def busy(hookbox: Hookbox) -> Hookbox:
    hookbox.answers["get_channel_info"] = {"subscribers": ["alice"], "options": {}}
    hookbox.answers["tail"] = {
        "kept": True,
        "publications": [
            publication(7, {"text": "<b>hush</b>", "token": "s3cret"}, NASTY[0]),
            publication(6, "x" * 5000),
            publication(5),
        ],
    }
    return hookbox


def asked(hookbox: Hookbox) -> list[dict[str, Any]]:
    return [form for call, form in hookbox.calls if call == "tail"]


def test_it_is_on_the_page_without_any_script(root: Client, busy: Hookbox) -> None:
    shown = root.get(page()).content.decode()
    assert "&lt;b&gt;hush&lt;/b&gt;" in shown
    assert "2011-03-13T" in shown
    assert "Too long to show here" in shown
    assert "x" * 1000 + "x" not in shown
    assert "admin/tail.min" in shown
    assert asked(busy) == [{"channel_name": "/chat/a/", "payloads": "1"}]


def test_payloads_are_for_those_who_may_see_them(viewer: Client, busy: Hookbox) -> None:
    for url in (page(), tail()):
        shown = viewer.get(url).content.decode()
        assert "hush" not in shown
        assert "alice" in shown, "but who and when"
    # The process is not even asked for them.
    assert {form.get("payloads", "") for form in asked(busy)} <= {"", "0"}


def test_masked_fields_stay_masked(root: Client, busy: Hookbox, settings: Any) -> None:
    settings.HOOKBOX_REDACT = ["token"]
    shown = root.get(tail()).content.decode()
    assert "s3cret" not in shown
    assert "***" in shown


def test_nothing_is_sent_again_that_has_not_changed(root: Client, busy: Hookbox) -> None:
    first = root.get(tail())
    again = root.get(tail(), headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    busy.answers["tail"] = {"kept": True, "publications": [publication(8, 1)]}
    assert root.get(tail(), headers={"If-None-Match": first["ETag"]}).status_code == 200


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HookboxRefused("no", code="no_channel"), "not currently in use"),
        (HookboxRefused("no", code="unsupported"), "cannot list the latest messages"),
        (HookboxNotRunning("It is down.", code="unavailable"), "It is down."),
        ({"kept": False}, "HOOKBOX_RECOVERY_SECONDS is 0"),
        ({"kept": True}, "Nothing has been published lately."),
        ({"kept": True, "publications": [{}, 7, {"offset": "x"}]}, "Nothing has been published"),
        ({"kept": True, "publications": [{"offset": 1, "payload": "{"}]}, ">1<"),
    ],
)
def test_it_says_why_there_is_nothing(root: Client, busy: Hookbox, answer: Any, text: str) -> None:
    busy.answers["tail"] = answer
    assert text in root.get(tail()).content.decode()
    assert root.get(page()).status_code == 200
