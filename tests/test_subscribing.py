"""Many subscriptions in one webhook are decided as if alone, with the queries of about one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

import djhookbox
from djhookbox import signals
from djhookbox.audit import writing
from djhookbox.models import ChannelPolicy, SubscriptionLog

from .conftest import Webhooks

pytestmark = pytest.mark.django_db

MakePolicy = Callable[..., ChannelPolicy]


def wanted(*channels: str, create: bool = True, subscribe: bool = False) -> str:
    return json.dumps([
        {"channel_name": name, "create": create, "subscribe": subscribe} for name in channels
    ])  # fmt: skip


def rows() -> list[tuple[str, str, str]]:
    found = SubscriptionLog.objects.order_by("pk")
    return list(found.values_list("event", "channel", "user_name"))


def test_each_is_decided_as_if_alone(
    webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/open/<slug:room>/", history_size=5, moderated=False)
    make_policy("/members/", subscribe_audience="signed_in")
    make_policy("/staff/", subscribe_audience="staff")
    make_policy("/closed/", create_audience="nobody")
    names = ("/open/a/", "/members/", "/staff/", "/closed/", "/unknown/")
    server = webhooks(alice)
    success, answer = server("subscribe_many", channels=wanted(*names))
    assert success
    SubscriptionLog.objects.all().delete()
    for name in names:
        alone = {}
        alone["create"] = list(server("create_channel", channel_name=name))
        moderated = alone["create"][0] and alone["create"][1].get("moderated", True)
        if moderated:
            alone["subscribe"] = list(server("subscribe", channel_name=name))
        assert answer["channels"][name] == alone
    single = rows()
    SubscriptionLog.objects.all().delete()
    server("subscribe_many", channels=wanted(*names))
    assert rows() == single
    row = SubscriptionLog.objects.get(channel="/members/", event="subscribe")
    assert (row.connection_id, row.decided_by) == ("c1", "policy:/members/")


def test_what_exists_needs_only_the_subscription(
    webhooks: type[Webhooks], make_policy: MakePolicy
) -> None:
    make_policy("/a/")
    channels = wanted("/a/", "/b/", create=False, subscribe=True)
    _, answer = webhooks()("subscribe_many", channels=channels)
    assert answer["channels"]["/a/"] == {"subscribe": [True, {}]}
    success, refusal = answer["channels"]["/b/"]["subscribe"]
    assert not success
    assert refusal["error"] == refusal["msg"]
    assert rows() == [("subscribe", "/a/", " _visitor"), ("refused", "/b/", " _visitor")]


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({"moderated": False}, False),
        ({"moderated": False, "moderated_publish": True}, False),
        ({"moderated": False, "moderated_subscribe": True}, True),
        ({}, True),
    ],
)
def test_the_options_of_a_new_channel_say_whether_to_ask(
    webhooks: type[Webhooks], options: dict[str, Any], asks: bool
) -> None:
    class Vouching:
        def create(self, user: Any, channel: str) -> dict[str, Any]:
            return options

    djhookbox.register_channel_handler(Vouching())
    _, answer = webhooks()("subscribe_many", channels=wanted("/a/"))
    assert ("subscribe" in answer["channels"]["/a/"]) is asks
    _, answer = webhooks()("subscribe_many", channels=wanted("/a/", subscribe=True))
    assert "subscribe" in answer["channels"]["/a/"]


def test_receivers_hear_of_each_and_refuse_some(
    webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/<slug:room>/")
    heard = []

    def receiver(sender: Any, channel: str, **kwargs: Any) -> None:
        heard.append((sender.username, channel))
        if channel == "/b/":
            raise PermissionDenied("Not there.")

    signals.subscribe.connect(receiver)
    try:
        _, answer = webhooks(alice)("subscribe_many", channels=wanted("/a/", "/b/", "/c/"))
    finally:
        signals.subscribe.disconnect(receiver)
    assert heard == [("alice", "/a/"), ("alice", "/b/"), ("alice", "/c/")]
    told = {name: each["subscribe"] for name, each in answer["channels"].items()}
    assert told["/a/"] == told["/c/"] == [True, {}]
    assert told["/b/"][1]["error"] == "Not there."


def test_a_hundred_channels_cost_as_many_queries_as_one(
    webhooks: type[Webhooks],
    alice: Any,
    make_policy: MakePolicy,
) -> None:
    group = Group.objects.create(name="readers")
    alice.groups.add(group)
    make_policy("/p/<int:n>/", subscribe_audience="permission", permission="auth.view_user")
    make_policy("/g/<int:n>/", subscribe_audience="groups").groups.add(group)
    names = [f"/{kind}/{number}/" for kind in "gp" for number in range(50)]
    server = webhooks(alice)
    server("subscribe_many", channels=wanted("/g/0/"))  # the policies are cached
    SubscriptionLog.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        _, answer = server("subscribe_many", channels=wanted(*names))
    # Two hundred rows; how many pieces SQLite takes them in depends on the version of Django.
    others = [query for query in queries if not query["sql"].startswith("INSERT")]
    assert len(queries) - len(others) <= 3
    # The session, the user, the groups, two for permissions, and savepoints. In a batch, the
    # groups take another query, for many users.
    assert len(others) <= 10
    assert answer["channels"]["/g/7/"]["subscribe"][0]
    assert not answer["channels"]["/p/7/"]["subscribe"][0]
    assert SubscriptionLog.objects.count() == 200


def test_an_ended_session_is_refused_as_a_whole(webhooks: type[Webhooks], alice: Any) -> None:
    server = webhooks(alice)
    server.client.logout()
    for create in (True, False):
        success, answer = server("subscribe_many", channels=wanted("/a/", "/b/", create=create))
        assert (success, answer["code"]) == (False, "session_expired")
    assert rows() == [
        (event, channel, "alice")
        for event in ("create_refused", "refused")
        for channel in ("/a/", "/b/")
    ]


def test_a_log_that_fails_decides_nothing(
    webhooks: type[Webhooks], make_policy: MakePolicy, caplog: pytest.LogCaptureFixture
) -> None:
    make_policy("/a/")
    with mock.patch.object(writing, "write_all", side_effect=OperationalError("locked")):
        _, answer = webhooks()("subscribe_many", channels=wanted("/a/"))
    assert answer["channels"]["/a/"]["subscribe"] == [True, {}]
    assert "Could not record 2 entries of the audit log." in caplog.text


def test_logs_can_be_switched_off(webhooks: type[Webhooks], make_policy: MakePolicy) -> None:
    make_policy("/a/")
    with override_settings(HOOKBOX_LOG_SUBSCRIPTIONS=False):
        webhooks()("subscribe_many", channels=wanted("/a/"))
    assert rows() == []


@pytest.mark.parametrize(
    "channels",
    [
        "", "{", "{}", "5", "[5]", '["/a/"]', "[{}]", '[{"channel_name": 5}]',
        '[{"channel_name": ""}]', '[{"channel_name": "a\\u0000"}]',
        json.dumps([{"channel_name": "x" * 256}]),
        '[{"channel_name": "/a/"}, {"channel_name": "/a/"}]',
    ],
)  # fmt: skip
def test_what_is_no_list_of_channels(channels: str, webhooks: type[Webhooks]) -> None:
    response = webhooks().post("subscribe_many", channels=channels)
    assert response.status_code == 400
    assert rows() == []
