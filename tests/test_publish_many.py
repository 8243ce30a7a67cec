"""Publish many messages with one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

import djhookbox
from djhookbox import isolation
from djhookbox.client import http
from djhookbox.models import ChannelPolicy, Outbox, Publication
from djhookbox.outbox.writing import Writes
from djhookbox.testing import capture_publications
from djhookbox.wire.streams import MOST_ENTRIES, MOST_TEXT

from .stand_ins.process import FakeHookbox, fake_hookbox

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("real_process")]

MESSAGES = [("/a/", {"n": 1}), ("/b/", "two"), ("/a/", [3])]


@pytest.fixture
def hookbox(settings: Any, make_policy: Callable[..., ChannelPolicy]) -> Iterator[FakeHookbox]:
    http.forget_connections()
    make_policy("/a/", history_size=5)
    make_policy("/b/")
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        fake.requests.clear()
        yield fake
    http.forget_connections()


def outcomes(*given: int | str) -> dict[str, Any]:
    return {
        "outcomes": [
            {"delivered": each} if isinstance(each, int) else {"msg": each, "code": "limit"}
            for each in given
        ]
    }


def recorded() -> list[tuple[Any, ...]]:
    rows = Publication.objects.order_by("pk")
    return [(row.channel, row.payload, row.status, row.delivered, row.user_name) for row in rows]


@pytest.mark.parametrize("wrong", [{"/a/": 1}, [None], "/a/", [("/a/", 1, 2)]])
def test_what_are_not_pairs(wrong: Any, hookbox: FakeHookbox) -> None:
    with pytest.raises(TypeError, match="pairs of a channel and a payload"):
        djhookbox.publish_many(wrong)
    assert hookbox.requests == []


def test_one_call_for_all(hookbox: FakeHookbox) -> None:
    hookbox.replies(True, outcomes(3, 0, 4))
    assert djhookbox.publish_many(iter(MESSAGES), user="eve") == [3, 0, 4]
    (request,) = hookbox.requests
    assert (request.call, request.form["recorded"]) == ("publish_many", "1")
    sent = json.loads(request.form["publications"])
    assert [(each["channel_name"], json.loads(each["payload"])) for each in sent] == MESSAGES
    assert {each["originator"] for each in sent} == {"eve"}
    assert [each["options"]["history_size"] for each in sent] == [5, 0, 5]
    assert recorded() == [
        (channel, payload, "sent", count, "eve")
        for (channel, payload), count in zip(MESSAGES, (3, 0, 4), strict=True)
    ]


def test_nothing_is_nothing(hookbox: FakeHookbox) -> None:
    assert djhookbox.publish_many([]) == []
    assert hookbox.requests == []


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (("/a/\n", 1), djhookbox.ChannelNameError),
        (("/a/", object()), djhookbox.PayloadError),
        (("/a/", "x" * 5_000_000), djhookbox.PayloadError),
    ],
)
def test_a_mistake_stops_all_of_them(
    message: tuple[str, object], error: type[Exception], hookbox: FakeHookbox
) -> None:
    with pytest.raises(error):
        djhookbox.publish_many([*MESSAGES, message])
    assert hookbox.requests == []
    assert recorded() == []


def test_all_together_have_the_limit_of_one(hookbox: FakeHookbox) -> None:
    with pytest.raises(djhookbox.PayloadError) as caught:
        djhookbox.publish_many([("/a/", "x" * 3_000_000), ("/b/", "x" * 3_000_000)])
    assert caught.value.code == "limit"
    assert hookbox.requests == []
    assert [row[2] for row in recorded()] == ["failed"] * 2


def test_a_channel_that_is_refused_stops_all_of_them(hookbox: FakeHookbox) -> None:
    with pytest.raises(djhookbox.HookboxRefused):
        djhookbox.publish_many([*MESSAGES, ("/closed/", 1)])
    assert hookbox.requests == []
    assert [row[2] for row in recorded()] == ["refused"] * 4


def test_what_the_server_refuses_does_not_stop_the_others(hookbox: FakeHookbox) -> None:
    hookbox.replies(True, outcomes(3, "too many channels", 4))
    with pytest.raises(djhookbox.HookboxRefused, match="too many channels") as caught:
        djhookbox.publish_many(MESSAGES)
    assert caught.value.code == "limit"
    assert [(row[2], row[3]) for row in recorded()] == [("sent", 3), ("refused", None), ("sent", 4)]


def test_a_process_that_is_down(settings: Any, hookbox: FakeHookbox) -> None:
    settings.HOOKBOX_REST_URL = "http://127.0.0.1:9"
    with pytest.raises(djhookbox.HookboxUnreachable):
        djhookbox.publish_many(MESSAGES)
    assert [row[2] for row in recorded()] == ["failed"] * 3


def test_a_process_of_an_older_version(hookbox: FakeHookbox) -> None:
    hookbox.replies(True, {})
    with pytest.raises(djhookbox.HookboxMisconfigured, match="older version"):
        djhookbox.publish_many(MESSAGES)


def test_another_program_gets_single_calls(hookbox: FakeHookbox) -> None:
    hookbox.replies(True, {})
    with override_settings(HOOKBOX_EXECUTABLE="hookbox"):
        assert djhookbox.publish_many(MESSAGES) == [None] * 3
    assert [request.call for request in hookbox.requests] == ["publish"] * 3


def test_durable_channels(hookbox: FakeHookbox, make_policy: Callable[..., ChannelPolicy]) -> None:
    make_policy("/d/", durable=True)
    hookbox.requests.clear()
    hookbox.replies(True, outcomes(1))
    assert djhookbox.publish_many([("/d/", 1), ("/a/", 2), ("/d/", 3)]) == [None, 1, None]
    assert list(Outbox.objects.order_by("pk").values_list("channel", flat=True)) == ["/d/"] * 2
    many = [request for request in hookbox.requests if request.call == "publish_many"]
    assert [len(json.loads(each.form["publications"])) for each in many] == [1]


def test_many_are_inserted_together_and_in_order(
    hookbox: FakeHookbox, make_policy: Callable[..., ChannelPolicy]
) -> None:
    make_policy("/d/", durable=True)
    count = 2 * MOST_ENTRIES + 1
    with CaptureQueriesContext(connection) as queries:
        djhookbox.publish_many([("/d/", n) for n in range(count)], user="eve")
    inserted = [query for query in queries if "INSERT INTO" in query["sql"]]
    assert len(inserted) == 3
    rows = Outbox.objects.order_by("pk").values_list("payload", "user_name", "source", "key")
    assert list(rows) == [(str(n), "eve", "code", "") for n in range(count)]


@pytest.mark.django_db(transaction=True)
def test_many_are_one_transaction(
    hookbox: FakeHookbox,
    make_policy: Callable[..., ChannelPolicy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_policy("/d/", durable=True)
    messages = [("/d/", n) for n in range(MOST_ENTRIES + 1)]
    execute, parts = Writes.execute, []

    def failing(writes: Writes, **given: bool) -> None:
        parts.append(1)
        if len(parts) == 2:
            raise DatabaseError("disk full")
        execute(writes, **given)

    with monkeypatch.context() as patch:
        patch.setattr(Writes, "execute", failing)
        with pytest.raises(djhookbox.HookboxDatabaseError, match="disk full"):
            djhookbox.publish_many(messages)
    assert not Outbox.objects.exists()
    djhookbox.publish_many(messages)
    assert Outbox.objects.count() == len(messages)


def test_nothing_is_sent_if_one_is_too_large(
    hookbox: FakeHookbox, make_policy: Callable[..., ChannelPolicy]
) -> None:
    make_policy("/d/", durable=True)
    hookbox.requests.clear()
    with pytest.raises(djhookbox.PayloadError, match="durable channel"):
        djhookbox.publish_many([("/a/", 1), ("/d/", 2), ("/d/", "x" * MOST_TEXT)])
    assert not hookbox.requests
    assert not Outbox.objects.exists()


@pytest.mark.django_db(transaction=True)
async def test_asynchronously(hookbox: FakeHookbox) -> None:
    hookbox.replies(True, outcomes(3, 0, 4))
    assert await djhookbox.apublish_many(MESSAGES) == [3, 0, 4]
    assert len(await sync_to_async(recorded)()) == 3


def test_captured() -> None:
    with capture_publications(delivered=2) as sent:
        assert djhookbox.publish_many(MESSAGES, user="eve") == [2, 2, 2]
    assert [(each.channel, each.payload) for each in sent] == MESSAGES


def test_a_test_run_does_not_reach_the_process(
    make_policy: Callable[..., ChannelPolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_policy("/<x>/")
    monkeypatch.setattr(isolation, "is_isolated", lambda: True)
    assert djhookbox.publish_many(MESSAGES) == [0, 0, 0]
