"""Cursors: requested by a view before its query, rendered by the tag, empty if there are none."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.template import TemplateSyntaxError

import djhookbox
from djhookbox import Cursor, client, cursors
from djhookbox.client import http
from djhookbox.exceptions import ChannelNameError, HookboxRefused, HookboxUnreachable

from .stand_ins.process import FakeHookbox, fake_hookbox
from .test_templatetags import config_of, render

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_was_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursors, "_silent_until", 0.0)


@pytest.fixture
def hookbox(settings: Any) -> Iterator[FakeHookbox]:
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        fake.replies(True, {"cursor": "e:7"})
        yield fake
    http.forget_connections()


def test_the_server_says_where_it_stands(hookbox: FakeHookbox, make_policy: Any) -> None:
    make_policy("/rooms/<int:room>/", history_size=5)
    cursor = djhookbox.cursor("/rooms/1/")
    assert (cursor, cursor.channel) == ("e:7", "/rooms/1/")
    assert isinstance(cursor, str)
    (request,) = hookbox.requests
    assert (request.call, request.form["channel_name"]) == ("cursor", "/rooms/1/")
    assert json.loads(request.form["options"])["history_size"] == 5


@pytest.mark.django_db(transaction=True)
def test_asynchronous_views_have_it_too(hookbox: FakeHookbox, make_policy: Any) -> None:
    make_policy("/a/", history_size=5)
    cursor = asyncio.run(djhookbox.acursor("/a/"))
    assert (cursor, cursor.channel) == ("e:7", "/a/")
    assert asyncio.run(djhookbox.acursor("/unknown/")) == ""


def test_without_history_it_is_empty(
    hookbox: FakeHookbox, make_policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_policy("/a/")
    hookbox.replies(True, {"cursor": ""})
    assert djhookbox.cursor("/a/") == ""
    assert caplog.records == []


def test_a_channel_that_nobody_vouches_for(
    hookbox: FakeHookbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert djhookbox.cursor("/unknown/") == ""
    assert "Cannot get a cursor for /unknown/" in caplog.text
    assert hookbox.requests == []


@pytest.mark.parametrize("name", ["", "a\n", "x" * 256, None])
def test_a_name_that_is_none(name: Any, hookbox: FakeHookbox) -> None:
    with pytest.raises(ChannelNameError):
        djhookbox.cursor(name)
    with pytest.raises(ChannelNameError):
        asyncio.run(djhookbox.acursor(name))


def test_a_process_that_is_down_is_not_waited_for_twice(
    make_policy: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_policy("/<slug:room>/")
    settings.HOOKBOX_TIMEOUT = 30
    unreachable = HookboxUnreachable("It is down.")
    with mock.patch.object(client, "cursor", side_effect=unreachable) as ask:
        found = [djhookbox.cursor(f"/{name}/") for name in "abc"]
        assert found == ["", "", ""]
        assert [each.channel for each in found] == ["/a/", "/b/", "/c/"]
        assert ask.call_count == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        with mock.patch.object(cursors.time, "monotonic", return_value=cursors._silent_until + 1):
            djhookbox.cursor("/d/")
        assert ask.call_count == 2
    assert config_of(render(arguments="given", given=found)).keys() == {"port", "token"}


def test_a_process_that_refuses_is_asked_again(
    make_policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_policy("/a/")
    with mock.patch.object(client, "cursor", side_effect=HookboxRefused("No.")) as ask:
        assert djhookbox.cursor("/a/") == djhookbox.cursor("/a/") == ""
    assert ask.call_count == 2
    assert "Cannot get a cursor for /a/: No." in caplog.text


def test_the_genuine_server_is_not_asked(settings: Any, make_policy: Any) -> None:
    make_policy("/a/")
    settings.HOOKBOX_EXECUTABLE = "/usr/bin/hookbox"
    with mock.patch.object(client, "cursor") as ask:
        assert djhookbox.cursor("/a/") == ""
    assert not ask.called


def test_a_cursor_can_be_kept() -> None:
    cursor = Cursor("e:7", "/a/")
    again = pickle.loads(pickle.dumps(cursor))
    assert (again, again.channel) == ("e:7", "/a/")


# ---- the tag


def test_the_tag_prints_what_it_is_given() -> None:
    html = render(
        arguments="one many nothing missing anonymous_id=False",
        one=Cursor("e:1", "/a</script>/"),
        many=[Cursor("e:2", "/b/"), Cursor("", "/c/"), Cursor("e:9", "/a</script>/")],
        nothing=None,
    )
    assert config_of(html)["cursors"] == {"/a</script>/": "e:1", "/b/": "e:2"}
    assert "cursors" not in config_of(render())


@pytest.mark.parametrize("odd", ["e:1", 5, object()])
def test_the_tag_takes_cursors_only(odd: object) -> None:
    with pytest.raises(TemplateSyntaxError, match="expects cursors"):
        render(arguments="odd", odd=odd)
