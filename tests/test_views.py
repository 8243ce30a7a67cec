from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

import djhookbox
from djhookbox import signals
from djhookbox.audit import pruning, writing
from djhookbox.models import ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.users import identity
from djhookbox.wire import names

from .conftest import Webhooks

pytestmark = pytest.mark.django_db

MakePolicy = Callable[..., ChannelPolicy]
ACTIONS = (
    "connect", "disconnect", "create_channel", "destroy_channel", "subscribe", "unsubscribe",
    "publish", "message", "events", "recheck", "prune",
    "subscribe_many", "outbox", "batch", "confirm",
)  # fmt: skip

#: A well-formed call of each.
FORMS: dict[str, dict[str, str]] = {
    "connect": {"conn_id": "c1"},
    "disconnect": {"name": "alice"},
    "create_channel": {"channel_name": "/a/"},
    "destroy_channel": {"channel_name": "/a/"},
    "subscribe": {"channel_name": "/a/", "user": "alice"},
    "unsubscribe": {"channel_name": "/a/", "user": "alice"},
    "publish": {"channel_name": "/a/", "user": "alice", "payload": "1"},
    "message": {"sender": "alice", "recipient": "bob", "payload": "1"},
    "events": {"events": "[]"},
    "recheck": {"channels": "{}"},
    "prune": {},
    "outbox": {},
    "subscribe_many": {"channels": "[]", "user": "alice"},
    "batch": {"calls": "[]"},
    "confirm": {"connections": "[]"},
}


# ---- verify


@pytest.mark.parametrize("action", ACTIONS)
class TestEveryWebhook:
    def test_has_a_name_and_takes_a_slash(self, action: str) -> None:
        assert reverse(f"hookbox_{action}") == f"/hookbox/{action}"
        response = Client().post(f"/hookbox/{action}/", {})
        assert response.status_code == 403

    @pytest.mark.parametrize("secret", [None, "", "x", "ä", "\x00", "a" * 10_000])
    def test_refuses_forged_calls_without_a_hint(self, action: str, secret: str | None) -> None:
        form = {"action": action, **FORMS[action]}
        if secret is not None:
            form["secret"] = secret
        response = Client().post(f"/hookbox/{action}", form)
        assert response.status_code == 403
        assert json.loads(response.content) == [
            False, {"error": "Forbidden.", "msg": "Forbidden.", "code": "refused"},
        ]  # fmt: skip
        assert not ConnectionLog.objects.exists()
        assert not SubscriptionLog.objects.exists()

    def test_checks_the_secret_before_anything_else(self, action: str) -> None:
        for form in ({}, {"action": "nonsense"}):
            assert Client().post(f"/hookbox/{action}", form).status_code == 403
        response = Client().post(f"/hookbox/{action}", "{", content_type="application/json")
        assert response.status_code == 403

    @pytest.mark.parametrize("method", ["get", "put", "delete", "options"])
    def test_takes_post_only(self, action: str, method: str) -> None:
        response = getattr(Client(), method)(f"/hookbox/{action}")
        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
        assert "X-Hookbox-Accepts" in response.headers

    def test_needs_neither_csrf_token_nor_login(
        self, action: str, webhooks: type[Webhooks], settings: Any
    ) -> None:
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
        server = webhooks()
        server.client = Client(enforce_csrf_checks=True)
        response = server.post(action, **FORMS[action])
        assert response.status_code == 200
        accepts = response.headers["X-Hookbox-Accepts"]
        assert accepts == (
            "events, recheck, message, report, prune, subscribe_many, json, nodes, outbox, "
            "measured, batch, confirm, leaving"
        )
        assert response.headers["Content-Type"] == "application/json"

    def test_takes_its_own_action_only(self, action: str, webhooks: type[Webhooks]) -> None:
        server = webhooks()
        for wrong in (None, "", "nonsense", "connect" if action != "connect" else "disconnect"):
            response = server.client.post(
                f"/hookbox/{action}",
                {"secret": secret(), **FORMS[action], **({"action": wrong} if wrong else {})},
            )
            assert response.status_code == 400
            _success, options = json.loads(response.content)
            assert options["code"] == "malformed"
            assert action in options["error"]

    @pytest.mark.parametrize("odd", ["x" * 256, "a\x00b", "a\nb", "\u2028"])
    def test_refuses_odd_names(self, action: str, odd: str, webhooks: type[Webhooks]) -> None:
        server = webhooks()
        names = ("channel_name", "user", "name", "sender", "recipient", "expected_user", "conn_id")
        fields = [field for field in names if field in FORMS[action]] + ["conn_id"]
        for field in fields:
            response = server.post(action, **{**FORMS[action], field: odd})
            assert response.status_code == 400
            assert field in json.loads(response.content)[1]["error"]

    def test_misses_what_is_missing(self, action: str, webhooks: type[Webhooks]) -> None:
        server = webhooks()
        for field in FORMS[action]:
            if field == "conn_id" or (action, field) == ("message", "payload"):
                continue  # have a default
            for value in (None, ""):
                response = server.post(action, **{**FORMS[action], field: value})
                assert response.status_code == 400, field
                assert field in json.loads(response.content)[1]["error"]


def secret() -> str:
    from djhookbox.conf import settings

    return settings.webhook_secrets[0]


@override_settings(HOOKBOX_WEBHOOK_SECRET=["new", "old"])
def test_secrets_rotate() -> None:
    for sent, status in (("new", 200), ("old", 200), ("older", 403)):
        form = {"action": "events", "events": "[]", "secret": sent}
        assert Client().post("/hookbox/events", form).status_code == status


@pytest.mark.parametrize("payload", ["", "{", "NaN", "[Infinity]", "1e999", "[" * 100_000])
def test_payloads_that_are_no_json(payload: str, webhooks: type[Webhooks]) -> None:
    response = webhooks().post("publish", channel_name="/a/", payload=payload)
    assert response.status_code == 400
    assert "payload" in json.loads(response.content)[1]["error"]


@pytest.mark.parametrize("channels", ["[]", '{"/a/": "alice"}', '{"/a/": [1]}', "1", "x"])
def test_rechecks_that_are_none(channels: str, webhooks: type[Webhooks]) -> None:
    assert webhooks().post("recheck", channels=channels).status_code == 400


# ---- connect


def test_connect_names_the_user(webhooks: type[Webhooks], alice: Any) -> None:
    server = webhooks(alice)
    success, options = server(
        "connect", conn_id="c9", transport="websocket", remote_addr="2001:db8::1%eth0",
        user_agent="Fire\x00fox " + "x" * 300, origin="https://example.com", payload='{"a": 1}',
    )  # fmt: skip
    assert success
    assert options.pop("expires") > 0
    assert options == {"name": "alice", "identity": server.fields["identity"]}
    row = ConnectionLog.objects.get()
    assert (row.event, row.user_name, row.connection_id) == ("connect", "alice", "c9")
    assert (row.transport, row.ip, row.origin) == (
        "websocket", "2001:db8::1", "https://example.com",
    )  # fmt: skip
    assert len(row.user_agent) == 255
    assert "\x00" not in row.user_agent


def test_visitors_connect_unless_kept_out(webhooks: type[Webhooks], settings: Any) -> None:
    token = identity.issue_anonymous_id()
    success, options = webhooks()("connect", token=token, remote_addr="nonsense")
    assert success
    assert options == {"name": identity.read_anonymous_id(token), "identity": "anonymous"}
    assert ConnectionLog.objects.get().ip is None
    settings.HOOKBOX_ANONYMOUS = False
    success, options = webhooks()("connect")
    assert not success
    assert options["error"] == options["msg"] == "Only signed-in users may connect."
    assert ConnectionLog.objects.latest("id").event == "refused"


def test_connect_only_as_the_expected_user(webhooks: type[Webhooks], alice: Any) -> None:
    assert webhooks(alice)("connect", expected_user="alice")[0]
    success, options = webhooks(alice)("connect", expected_user="bob")
    assert (success, options["code"]) == (False, "session_expired")


def test_connect_with_a_token(webhooks: type[Webhooks], alice: Any) -> None:
    success, options = webhooks()("connect", token=djhookbox.connect_token(alice))
    assert (success, options["name"]) == (True, "alice")
    assert options["identity"].startswith(f"token:{alice.pk}:")
    assert not webhooks()("connect", token="forged")[0]


def test_a_token_is_good_for_one_connection(webhooks: type[Webhooks], alice: Any) -> None:
    token = djhookbox.connect_token(alice)
    for _ in range(2):  # repeated, as the answer was lost
        success, options = webhooks()("connect", token=token, conn_id="a" * 32)
        assert success
        assert options["single_use"] == 60
    success, options = webhooks()("connect", token=token, conn_id="b" * 32)
    assert (success, options["code"]) == (False, "session_expired")


def test_a_receiver_refuses_a_connect(webhooks: type[Webhooks], alice: Any) -> None:
    def keep_out(sender: Any, **kwargs: Any) -> None:
        assert sender == alice
        raise PermissionDenied("not you")

    signals.connect.connect(keep_out)
    try:
        success, options = webhooks(alice)("connect")
    finally:
        signals.connect.disconnect(keep_out)
    assert (success, options["msg"]) == (False, "not you")
    row = ConnectionLog.objects.get()
    assert (row.event, row.reason) == ("refused", "not you")
    assert row.decided_by.startswith("signal:tests.test_views.")


# ---- channels


def test_create(webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/", "A", publish_audience="staff", moderated=False, history_size=3)
    success, options = webhooks(alice)("create_channel", channel_name="/a/")
    assert success
    assert options["history_size"] == 3
    assert options["history_duration"] == 300
    assert options["moderated"] is options["moderated_publish"] is True
    assert not webhooks(alice)("create_channel", channel_name="/b/")[0]
    rows = SubscriptionLog.objects.order_by("id")
    assert [(r.event, r.channel, r.user_name, r.decided_by) for r in rows] == [
        ("create", "/a/", "alice", "policy:A"),
        ("create_refused", "/b/", "alice", "nobody"),
    ]


def test_the_genuine_server_is_not_given_what_it_refuses(
    webhooks: type[Webhooks], make_policy: MakePolicy
) -> None:
    make_policy("/a/")
    make_policy("/<x>/", create_audience="handlers")

    class Handler:
        def create(self, user: Any, channel: str) -> dict[str, object]:
            return {"history_duration": 5} if channel == "/b/" else {}

    djhookbox.register_channel_handler(Handler())
    later = {
        "history_duration", "history_publish_only", "server_presenceful", "server_user_presence",
    }  # fmt: skip
    genuine = webhooks(embedded=False)
    for channel, kept in (("/a/", set()), ("/b/", {"history_duration"}), ("/c/", set())):
        options = genuine("create_channel", channel_name=channel)[1]
        assert "reflective" in options
        assert set(options) & later == kept
        assert later <= set(webhooks()("create_channel", channel_name=channel)[1])


def test_destroy(webhooks: type[Webhooks]) -> None:
    assert webhooks()("destroy_channel", channel_name="/a/") == (True, {})
    assert SubscriptionLog.objects.get().event == "destroy"


def test_subscribe(webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/", "A", subscribe_audience="signed_in")
    assert webhooks(alice)("subscribe", channel_name="/a/") == (True, {})
    success, options = webhooks()("subscribe", channel_name="/a/")
    assert not success
    assert options["error"] == options["msg"] == "Only signed-in users may do this here."
    assert options["code"] == "refused"
    rows = SubscriptionLog.objects.order_by("id")
    assert [(r.event, r.user_name, r.connection_id, r.reason) for r in rows] == [
        ("subscribe", "alice", "c1", ""),
        ("refused", " _visitor", "c1", "Only signed-in users may do this here."),
    ]


# As webhooks run, outside of a transaction: inside one, each row needs a savepoint.
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("audience", ["everyone", "signed_in", "staff"])
def test_a_subscribe_costs_at_most_five_queries(
    audience: str,
    webhooks: type[Webhooks],
    staff: Any,
    make_policy: MakePolicy,
    django_assert_max_num_queries: Any,
) -> None:
    make_policy("/rooms/<int:room>/", subscribe_audience=audience)
    server = webhooks(staff)
    # One of them for the policies and one for the bans, which are kept for a second.
    most = 5 if webhooks is Webhooks else 7  # a batch inserts its rows in a transaction
    with django_assert_max_num_queries(most):
        assert server("subscribe", channel_name="/rooms/1/")[0]
    with django_assert_max_num_queries(4):
        assert server("publish", channel_name="/rooms/1/", payload="1")[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("told")
def test_a_subscribe_by_group_costs_four_queries_too(
    webhooks: type[Webhooks],
    alice: Any,
    make_policy: MakePolicy,
    django_assert_max_num_queries: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Even with ATOMIC_REQUESTS: webhooks are outside of it, and no transaction is opened.
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    group = Group.objects.create(name="readers")
    alice.groups.add(group)
    make_policy("/a/", subscribe_audience="groups").groups.add(group)
    server = webhooks(alice)
    assert server("subscribe", channel_name="/a/")[0]
    with django_assert_max_num_queries(4 if webhooks is Webhooks else 6):
        assert server("subscribe", channel_name="/a/")[0]


def test_an_ended_session_is_refused_as_such(
    webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/a/")  # open even to anonymous visitors: that is not what alice is now
    server = webhooks(alice)
    server.client.logout()
    calls = {
        "create_channel": {"channel_name": "/a/"},
        "subscribe": {"channel_name": "/a/"},
        "publish": {"channel_name": "/a/", "payload": "1"},
        "message": {"sender": "alice", "recipient": "bob"},
    }
    for action, form in calls.items():
        success, options = server(action, **form)
        assert not success
        assert (options["error"], options["code"]) == ("session expired", "session_expired")
    assert SubscriptionLog.objects.get(event="refused").reason == "session expired"
    assert Publication.objects.get().status == "refused"
    # But the user can leave, and receivers get the right user.
    senders: list[Any] = []

    def note(sender: Any, **kwargs: Any) -> None:
        senders.append(sender)

    for signal in (signals.unsubscribe, signals.disconnect):
        signal.connect(note)
    try:
        assert server("unsubscribe", channel_name="/a/")[0]
        assert server("disconnect", name="alice")[0]
    finally:
        for signal in (signals.unsubscribe, signals.disconnect):
            signal.disconnect(note)
    assert senders == [alice, alice]


def test_another_users_session_is_refused(
    webhooks: type[Webhooks], alice: Any, make_user: Any, make_policy: MakePolicy
) -> None:
    make_policy("/a/")
    server = webhooks(alice)
    server.client.force_login(make_user("bob"))
    assert server("subscribe", channel_name="/a/")[1]["code"] == "session_expired"


def test_unsubscribe(webhooks: type[Webhooks], alice: Any) -> None:
    assert webhooks(alice)("unsubscribe", channel_name="/a/") == (True, {})
    row = SubscriptionLog.objects.get()
    assert (row.event, row.user_name, row.channel) == ("unsubscribe", "alice", "/a/")


def test_disconnect_is_logged_for_the_genuine_server(webhooks: type[Webhooks], alice: Any) -> None:
    assert webhooks(alice)("disconnect", name="alice") == (True, {})
    assert not ConnectionLog.objects.exists()
    assert webhooks(embedded=False)("disconnect", name="alice", conn_id=None) == (True, {})
    row = ConnectionLog.objects.get()
    assert (row.event, row.user_name) == ("disconnect", "alice")


def test_publish(webhooks: type[Webhooks], staff: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/", "A", publish_audience="staff")
    success, options = webhooks(staff)("publish", channel_name="/a/", payload='{"a": "\\u0000ü"}')
    row = Publication.objects.get()
    assert (success, options) == (True, {"publication": row.pk})
    assert (row.payload, row.source, row.status) == ({"a": "�ü"}, "client", "sent")
    assert (row.user_name, row.decided_by) == ("editor", "policy:A")
    success, options = webhooks()("publish", channel_name="/a/", payload="1")
    assert not success
    assert "publication" not in options
    row = Publication.objects.latest("id")
    assert (row.status, row.error) == ("refused", "Only staff may do this here.")


def test_the_history_keeps_what_subscribers_got(webhooks: type[Webhooks], alice: Any) -> None:
    class Handler:
        def create(self, user: Any, channel: str) -> dict[str, object]:
            return {}

        def publish(self, user: Any, channel: str, payload: Any) -> dict[str, object]:
            return {"override_payload": payload.upper()}

    djhookbox.register_channel_handler(Handler())
    options = webhooks(alice)("publish", channel_name="/a/", payload='"hello"')[1]
    assert options["override_payload"] == "HELLO"
    assert Publication.objects.get().payload == "HELLO"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{u'a': [u'\\xe9', None, True, 1.5]}", {"a": ["é", None, True, 1.5]}),
        ('{"a": 1}', '{"a": 1}'),  # a text that a page has published
        ("hello", "hello"),
        ("it's {broken", "it's {broken"),
        ("None", None),
        ("True", True),
        ("5", 5),
        ("", ""),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("b'x'", "b'x'"),
        ("{1, 2}", "{1, 2}"),
        ("1e999", "1e999"),
        ("(" * 10_000, "(" * 10_000),
    ],
)
def test_what_the_genuine_server_publishes(
    text: str, value: object, webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/a/")
    options = webhooks(alice, embedded=False)(
        "publish", channel_name="/a/", payload=text, user=None
    )
    assert options == (True, {})
    row = Publication.objects.get()
    assert (row.payload, row.user_name) == (value, "alice")


def test_messages(webhooks: type[Webhooks], alice: Any) -> None:
    form = {"sender": "alice", "recipient": "bob", "recipient_exists": "True", "payload": "1"}
    assert not webhooks(alice)("message", **form)[0]

    class Handler:
        def message(self, user: Any, recipient: str, payload: Any) -> Any:
            return {"override_payload": [user.username, recipient, payload]}

    djhookbox.register_channel_handler(Handler())
    assert webhooks(alice)("message", **form) == (
        True, {"override_payload": ["alice", "bob", 1]},
    )  # fmt: skip


# ---- logs that cannot be written


@pytest.mark.parametrize("audience", ["everyone", "nobody"])
def test_a_log_that_fails_decides_nothing(
    audience: str, webhooks: type[Webhooks], make_policy: MakePolicy, caplog: Any
) -> None:
    make_policy("/a/", subscribe_audience=audience, publish_audience=audience)
    with (
        mock.patch.object(SubscriptionLog, "save", side_effect=OperationalError("disk full")),
        mock.patch.object(Publication, "save", side_effect=OperationalError("disk full")),
        caplog.at_level(logging.ERROR, "djhookbox.webhook"),
    ):
        server = webhooks()
        assert server("subscribe", channel_name="/a/")[0] is (audience == "everyone")
        success, options = server("publish", channel_name="/a/", payload="1")
        assert success is (audience == "everyone")
        assert "publication" not in options
    assert "disk full" in caplog.text


# ---- events


AT = 1_700_000_000.25
WHEN = datetime.datetime.fromtimestamp(AT, tz=datetime.timezone.utc)

EVENTS: list[Any] = [
    {
        "event": "disconnect", "conn_id": "c1", "user": "alice", "code": 1001, "reason": "bye",
        "duration": 2.5, "transport": "websocket", "remote_addr": "10.0.0.1", "at": AT,
    },
    {
        "event": "subscribe", "channel_name": "/a/", "user": "alice", "conn_id": "c1",
        "by": "auto", "reason": "", "at": AT,
    },
    {
        "event": "unsubscribe", "channel_name": "/a/", "user": "alice", "conn_id": "c1",
        "by": "policy", "reason": "edited", "at": AT,
    },
    {
        "event": "publish", "channel_name": "/a/", "user": "alice", "payload": {"a": 1},
        "source": "rest", "delivered": 3, "at": AT,
    },
]  # fmt: skip


def test_events_become_rows(webhooks: type[Webhooks], django_assert_max_num_queries: Any) -> None:
    first, second, other = (
        Publication.objects.create(channel="/a/", source="client", status="sent")
        for _number in range(3)
    )
    delivered = [
        {"event": "delivered", "publication": first.pk, "delivered": 7},
        {"event": "delivered", "publication": second.pk, "delivered": 0},
    ]
    # Savepoints: of each log, and around all inside a test; SQLite inserts 83 rows at once.
    with django_assert_max_num_queries(13):
        assert webhooks()("events", events=json.dumps(EVENTS * 50 + delivered)) == (True, {})
    closed = ConnectionLog.objects.first()
    assert closed
    assert (closed.event, closed.code, closed.reason) == ("disconnect", 1001, "bye")
    assert (closed.ip, closed.transport) == ("10.0.0.1", "websocket")
    assert closed.duration == datetime.timedelta(seconds=2.5)
    assert closed.created == WHEN
    rows = SubscriptionLog.objects.order_by("id")[:2]
    assert {(r.event, r.decided_by, r.reason, r.created) for r in rows} <= {
        ("subscribe", "auto", "", WHEN), ("unsubscribe", "policy", "edited", WHEN),
    }  # fmt: skip
    published = Publication.objects.filter(source="rest").latest("id")
    assert (published.payload, published.delivered, published.status) == ({"a": 1}, 3, "sent")
    counts = dict(Publication.objects.exclude(source="rest").values_list("pk", "delivered"))
    assert counts == {first.pk: 7, second.pk: 0, other.pk: None}
    assert SubscriptionLog.objects.count() == 100


def malformed() -> Iterator[Any]:
    yield from (None, 1, [], {}, {"event": []}, {"event": "vanish"}, {"event": "delivered"})
    for field, odd in (
        ("user", 5), ("conn_id", {}), ("code", "x"), ("code", -1), ("code", 2**40), ("code", True),
    ):  # fmt: skip
        yield {**EVENTS[0], field: odd}
    for odd in (None, "", 5):
        yield {**EVENTS[1], "channel_name": odd}
    yield {**EVENTS[3], "source": "code of another age"}
    yield {**EVENTS[3], "delivered": "many"}
    yield {"event": "delivered", "publication": "1", "delivered": 1}
    yield {"event": "delivered", "publication": 2**70, "delivered": 1}


@pytest.mark.parametrize("odd", list(malformed()))
def test_a_malformed_event_does_not_cost_the_others(
    odd: Any, webhooks: type[Webhooks], caplog: Any
) -> None:
    with caplog.at_level(logging.WARNING, "djhookbox.webhook"):
        assert webhooks()("events", events=json.dumps([odd, EVENTS[1]])) == (True, {})
    assert SubscriptionLog.objects.count() == 1
    assert not ConnectionLog.objects.exists()
    assert not Publication.objects.exists()
    assert "skipped" in caplog.text


@pytest.mark.parametrize(
    "odd",
    [
        {"at": None}, {"at": "yesterday"}, {"at": 1e300}, {"at": -1e300}, {"at": True},
        {"duration": 1e300}, {"duration": "long"}, {"duration": -5}, {"remote_addr": "nowhere"},
        {"transport": "pigeon"}, {"reason": "r\x00" * 500}, {"user": "u" * 500},
    ],
)  # fmt: skip
def test_an_event_is_kept_as_far_as_it_can_be(odd: dict[str, Any], webhooks: Any) -> None:
    assert webhooks()("events", events=json.dumps([{**EVENTS[0], **odd}]))[0]
    row = ConnectionLog.objects.get()
    assert row.created <= timezone.now()
    row.full_clean(exclude=["id"])


@pytest.mark.parametrize("kind", ["events", "rows"])
def test_events_come_again_when_the_database_is_busy(kind: str, webhooks: Any) -> None:
    with mock.patch("djhookbox.views.record", side_effect=OperationalError("locked")):
        response = webhooks().post("events", events="[]")
    assert response.status_code == 503
    with mock.patch(
        "django.db.models.query.QuerySet.bulk_create", side_effect=OperationalError("locked")
    ):
        assert webhooks().post("events", events=json.dumps(EVENTS)).status_code == 503


def test_events_that_come_again_are_not_there_twice(webhooks: Any) -> None:
    busy = mock.patch("djhookbox.audit.reported._count", side_effect=OperationalError("locked"))
    batch = json.dumps([*EVENTS, {"event": "delivered", "publication": 1, "delivered": 1}])
    with busy:
        assert webhooks().post("events", events=batch).status_code == 503
    assert not ConnectionLog.objects.exists()
    assert not Publication.objects.exists()
    assert webhooks().post("events", events=batch).status_code == 200
    kinds = [event["event"] for event in EVENTS]
    assert ConnectionLog.objects.count() == kinds.count("disconnect")
    assert Publication.objects.count() == kinds.count("publish")


class TestBodies:
    """Forms as in 2011, and JSON for large webhooks."""

    def send(self, body: object, **settings: Any) -> HttpResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with override_settings(**settings):
            return Client().post(  # type: ignore[return-value]
                f"/hookbox/{body['action'] if isinstance(body, dict) else 'events'}",
                data,
                content_type="application/json",
                headers={"X-Hookbox-Version": "djhookbox/1.0.0"},
            )

    @pytest.mark.parametrize("action", ACTIONS)
    def test_each_webhook_takes_json(self, action: str) -> None:
        fields = {"action": action, "secret": secret(), "conn_id": "c1", **FORMS[action]}
        assert self.send(fields).status_code == 200
        assert self.send({**fields, "secret": "wrong"}).status_code == 403

    def test_it_is_not_limited_as_forms_are(self) -> None:
        event = {"event": "publish", "channel_name": "/a/", "source": "client", "delivered": 1}
        events = json.dumps([{**event, "payload": "😀" * 100_000}])
        fields = {"action": "events", "secret": secret(), "events": events}
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=20_000):
            assert self.send(fields).status_code == 200
            assert Publication.objects.get().payload == "😀" * 100_000
            headers = {"X-Hookbox-Version": "djhookbox/1.0.0"}
            response = Client().post("/hookbox/events", fields, headers=headers)
        assert response.status_code == 413

    def test_but_by_the_frame_size(self) -> None:
        limit = 4 * 1024 + 1_048_576
        fields = {"action": "events", "secret": secret(), "events": "[]", "x": ""}
        fields["x"] = "x" * (limit - len(json.dumps(fields)))
        assert self.send(fields, HOOKBOX_MAX_FRAME_SIZE=1024).status_code == 200
        fields["x"] += "x"
        response = self.send(fields, HOOKBOX_MAX_FRAME_SIZE=1024)
        assert response.status_code == 413
        assert "HOOKBOX_MAX_FRAME_SIZE" in json.loads(response.content)[1]["error"]

    @pytest.mark.parametrize(
        ("setting", "limit"),
        [("DATA_UPLOAD_MAX_MEMORY_SIZE", 50), ("DATA_UPLOAD_MAX_NUMBER_FIELDS", 2)],
    )
    def test_a_form_that_is_too_large_names_the_setting(self, setting: str, limit: int) -> None:
        with override_settings(**{setting: limit}):
            response = Client().post(
                "/hookbox/publish",
                urlencode({"secret": secret(), **FORMS["publish"]}),
                content_type="application/x-www-form-urlencoded",
            )
        assert response.status_code == 413
        assert setting in json.loads(response.content)[1]["error"]
        assert "json" in response.headers["X-Hookbox-Accepts"]

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"secret": 5}', b"\xff", b"[" * 100_000])
    def test_what_is_no_object_of_strings_has_no_secret(self, body: bytes) -> None:
        assert self.send(body).status_code == 403


def test_a_payload_that_was_too_large_to_be_reported(webhooks: type[Webhooks]) -> None:
    event = {"event": "publish", "channel_name": "/a/", "source": "rest", "payload_size": 5_000_000}
    assert webhooks().post("events", events=json.dumps([event])).status_code == 200
    row = Publication.objects.get()
    assert (row.payload, row.size, row.kept) == (None, 5_000_000, Publication.Kept.NOTHING)


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError, InterfaceError])
def test_events_wait_for_a_database_that_is_not_ready(
    webhooks: type[Webhooks], error: type[Exception]
) -> None:
    """Not migrated yet, for example: that is not the fault of a row."""
    create = "django.db.models.query.QuerySet.bulk_create"
    batch = json.dumps(EVENTS)
    with mock.patch(create, side_effect=error("no such column")):
        assert webhooks().post("events", events=batch).status_code == 503
    assert webhooks().post("events", events=batch).status_code == 200
    kinds = [event["event"] for event in EVENTS]
    assert Publication.objects.count() == kinds.count("publish")


def test_rows_that_the_database_refuses_are_skipped(caplog: Any) -> None:
    taken = SubscriptionLog.objects.create(event="subscribe", channel="/a/")
    good = SubscriptionLog(event="subscribe", channel="/b/")
    bad = SubscriptionLog(event="subscribe")
    bad.channel = None  # type: ignore[assignment]
    writing.write_all(SubscriptionLog, [good, bad])
    assert set(SubscriptionLog.objects.values_list("channel", flat=True)) == {"/a/", "/b/"}
    assert "Could not write" in caplog.text
    assert SubscriptionLog.objects.filter(pk=taken.pk).exists()


@given(st.text())
def test_texts_fit_their_columns(text: str) -> None:
    fitted = writing.fit(text, 20)
    assert len(fitted) <= 20
    assert not names.has_forbidden_characters(fitted)
    if len(text) <= 20 and not names.has_forbidden_characters(text):
        assert fitted == text


# ---- what is kept


def test_logs_can_be_switched_off(
    webhooks: type[Webhooks], make_policy: MakePolicy, settings: Any
) -> None:
    make_policy("/a/")
    settings.HOOKBOX_LOG_CONNECTIONS = settings.HOOKBOX_LOG_SUBSCRIPTIONS = False
    server = webhooks()
    server("connect")
    server("create_channel", channel_name="/a/")
    server("subscribe", channel_name="/a/")
    webhooks(embedded=False)("disconnect", name="alice")
    server("events", events=json.dumps(EVENTS))
    assert not ConnectionLog.objects.exists()
    assert not SubscriptionLog.objects.exists()
    assert Publication.objects.count() == 1


def test_payloads_are_masked_before_they_are_written(
    webhooks: type[Webhooks], make_policy: MakePolicy, settings: Any
) -> None:
    make_policy("/a/")
    settings.HOOKBOX_REDACT = ["pin"]
    event = {**EVENTS[3], "payload": {"pin": 1234}}
    server = webhooks()
    assert server("publish", channel_name="/a/", payload='{"pin": 1234}')[0]
    server("events", events=json.dumps([event]))
    rows = list(Publication.objects.all())
    assert [(row.payload, row.preview, row.kept) for row in rows] == [
        ({"pin": "***"}, '{"pin": "***"}', "masked")
    ] * 2
    settings.HOOKBOX_STORE_PAYLOADS = False
    assert server("publish", channel_name="/a/", payload='"x"')[0]
    row = Publication.objects.latest("pk")
    assert (row.payload, row.preview, row.kept, row.size) == (None, "", "nothing", 3)


def test_the_server_has_logs_pruned(webhooks: type[Webhooks], settings: Any) -> None:
    old = timezone.now() - datetime.timedelta(days=31)
    ConnectionLog.objects.bulk_create(ConnectionLog(created=old) for _ in range(3))
    settings.HOOKBOX_LOG_DAYS = 0
    assert webhooks()("prune") == (True, {})
    assert ConnectionLog.objects.count() == 3
    settings.HOOKBOX_LOG_DAYS = 30
    with mock.patch(
        "djhookbox.audit.pruning.prune", return_value=pruning.Pruned({}, False)
    ) as prune:
        assert webhooks()("prune") == (True, {"more": True})
    assert prune.call_args.kwargs["seconds"] < 5, "the server does not wait for longer"
    assert webhooks()("prune") == (True, {})
    assert not ConnectionLog.objects.exists()
    with mock.patch("djhookbox.audit.pruning.prune", side_effect=OperationalError("locked")):
        assert webhooks().post("prune").status_code == 503


# ---- recheck


def recheck(server: Webhooks, channels: dict[str, list[str]]) -> Any:
    success, options = server("recheck", channels=json.dumps(channels))
    assert success
    return options["channels"]


def test_recheck(
    webhooks: type[Webhooks], alice: Any, staff: Any, make_user: Any, make_policy: MakePolicy
) -> None:
    make_user("gone", is_active=False)
    make_policy("/s/", subscribe_audience="staff", state={"a": 1}, history_size=4)
    make_policy("/e/", moderated=False)
    names = ["alice", "editor", "gone", "deleted", " _x", "Alice"]
    answer = recheck(webhooks(), {"/s/": names, "/e/": names, "/gone/": ["editor"], "/s2/": []})
    assert set(answer["/s/"]["refused"]) == set(names) - {"editor"}
    assert all(answer["/s/"]["refused"].values())
    assert set(answer["/e/"]["refused"]) == {"gone"}
    assert set(answer["/gone/"]["refused"]) == {"editor"}
    options = answer["/s/"]["options"]
    assert (options["moderated"], options["history_size"]) == (True, 4)
    assert not {"state", "history"} & set(options)
    assert answer["/e/"]["options"]["moderated"] is False
    assert answer["/gone/"]["options"] == {"moderated": True}
    assert not SubscriptionLog.objects.exists()


def test_recheck_asks_for_all_users_at_once(
    webhooks: type[Webhooks],
    make_user: Any,
    make_policy: MakePolicy,
    django_assert_max_num_queries: Any,
) -> None:
    group = Group.objects.create(name="readers")
    permission = Permission.objects.get(codename="view_server")
    users = [make_user(f"u{number}") for number in range(20)]
    for user in users[:5]:
        user.groups.add(group)
    for user in users[5:10]:
        user.user_permissions.add(permission)
    users[10].is_superuser = True
    users[10].save()
    make_policy("/g/", subscribe_audience="groups").groups.add(group)
    make_policy("/p/", subscribe_audience="permission", permission="djhookbox.view_server")
    names = [user.username for user in users]
    with django_assert_max_num_queries(5):  # policies, users, their groups, holders
        answer = recheck(webhooks(), {"/g/": names, "/p/": names})
    assert set(names) - set(answer["/g/"]["refused"]) == {*names[:5]}
    assert set(names) - set(answer["/p/"]["refused"]) == {*names[5:10], "u10"}


def test_recheck_leaves_permissions_to_a_projects_backend(
    webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.test_views.Generous"]
    make_policy("/p/", subscribe_audience="permission", permission="a.b")
    make_policy("/q/", subscribe_audience="permission", permission="nonsense")
    answer = recheck(webhooks(), {"/p/": ["alice"], "/q/": ["alice"]})
    assert not answer["/p/"]["refused"]
    assert answer["/q/"]["refused"]


def test_a_permission_that_is_none_is_held_by_nobody(
    webhooks: type[Webhooks], alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/q/", subscribe_audience="permission", permission="nonsense")
    assert recheck(webhooks(), {"/q/": ["alice"]})["/q/"]["refused"]


def test_recheck_tells_no_receiver_but_asks_handlers(webhooks: type[Webhooks], alice: Any) -> None:
    class Handler:
        def create(self, user: Any, channel: str) -> dict[str, object] | None:
            return {} if user.is_authenticated else None

    djhookbox.register_channel_handler(Handler())
    heard: list[Any] = []

    def note(**kwargs: Any) -> None:
        heard.append(kwargs)

    signals.subscribe.connect(note)
    try:
        answer = recheck(webhooks(), {"/h/": ["alice", " _x"]})
    finally:
        signals.subscribe.disconnect(note)
    assert set(answer["/h/"]["refused"]) == {" _x"}
    assert heard == []


class Generous:
    """An authentication backend that gives everybody one permission."""

    def get_user(self, user_id: object) -> None:
        return None

    def has_perm(self, user: object, permission: str, obj: object = None) -> bool:
        return permission == "a.b"


# ---- who decided, if the server asks


class TestWhoDecided:
    def ask(self, action: str, *, explain: bool = True, version: str = "djhookbox/1", **form: str):  # type: ignore[no-untyped-def]
        headers = {"X-Hookbox-Version": version, **({"X-Hookbox-Explain": "1"} if explain else {})}
        fields = {"action": action, "secret": secret(), "conn_id": "c1", **form}
        return json.loads(Client(headers=headers).post(f"/hookbox/{action}", fields).content)

    def test_it_is_said_only_if_asked_for(self, make_policy: MakePolicy) -> None:
        make_policy("/open/", "Open", subscribe_audience="everyone")
        form = {"channel_name": "/open/"}
        allowed, options = self.ask("create_channel", **form)
        assert (allowed, options.pop("decided_by")) == (True, "policy:Open")
        assert self.ask("create_channel", explain=False, **form) == [True, options]
        assert "decided_by" not in self.ask("create_channel", version="0.3.3", **form)[1]

    def test_refusals_too(self) -> None:
        allowed, fields = self.ask("create_channel", channel_name="/nowhere/")
        assert (allowed, fields["decided_by"]) == (False, "nobody")
        assert "decided_by" not in self.ask(
            "create_channel", explain=False, channel_name="/nowhere/"
        )[1]  # fmt: skip

    def test_in_a_batch_too(self, make_policy: MakePolicy) -> None:
        make_policy("/open/", "Open", subscribe_audience="everyone")
        fields = {"action": "create_channel", "channel_name": "/open/", "conn_id": "c1"}
        answer = self.ask("batch", calls=json.dumps([{"fields": fields}]))
        assert "policy:Open" in json.dumps(answer)
