from __future__ import annotations

import asyncio
import datetime
import json
import socket
import threading
import time
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, transaction
from django.http import HttpResponse
from django.test import Client, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

import djhookbox
from djhookbox import api
from djhookbox.audit import outside
from djhookbox.client import http
from djhookbox.decisions.store import cache
from djhookbox.exceptions import (
    ChannelNameError,
    HookboxError,
    HookboxMisconfigured,
    HookboxRefused,
    HookboxUnreachable,
    PayloadError,
)
from djhookbox.handlers import register_channel_handler, unregister_channel_handler
from djhookbox.models import Audience, ChannelPolicy, Publication

from .stand_ins.process import Answer, fake_hookbox
from .stand_ins.waiting import until

SECRET = "the-rest-secret-of-tests"


class Handler:
    """Allows channels that begin with /open/."""

    options: dict = {"history_size": 7}

    def create(self, user, channel):
        if channel == "/denied/":
            raise PermissionDenied("Not this one.")
        return dict(self.options) if channel.startswith("/open/") else None


@pytest.fixture
def handler():
    handler = Handler()
    register_channel_handler(handler)
    yield handler
    unregister_channel_handler(handler)


@pytest.fixture
def hookbox(settings, handler):
    http.forget_connections()
    cache.drop()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        settings.HOOKBOX_REST_SECRET = SECRET
        fake.replies(True, {"delivered": 3, "disconnected": 2})
        yield fake
    http.forget_connections()
    cache.drop()


@pytest.fixture
def no_hookbox(settings, handler, real_process):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings.HOOKBOX_REST_URL = f"http://127.0.0.1:{port}"
    settings.HOOKBOX_TIMEOUT = 0.5
    cache.drop()
    yield
    cache.drop()


def fail(*args, **kwargs):
    raise AssertionError("called")


# ---- publish


@pytest.mark.django_db
class TestPublish:
    def test_it_is_sent_with_what_was_decided(self, hookbox):
        assert djhookbox.publish("/open/ä/", {"data": "some-data"}) == 3
        (request,) = hookbox.requests
        assert request.path == "/rest/publish"
        options = json.loads(request.form.pop("options"))
        assert options["history_size"] == 7
        assert json.loads(request.form.pop("origin"))["source"] == "code"
        assert abs(float(request.form.pop("made")) - time.time()) < 120
        assert request.form == {
            "secret": SECRET,
            "channel_name": "/open/ä/",
            "payload": '{"data":"some-data"}',
            "recorded": "1",
        }

    @pytest.mark.parametrize("payload", [2**53, {"a": [1, {"id": -(2**60)}]}, [[[10**400]]]])
    def test_in_debug_a_number_that_browsers_round_is_warned_of(
        self, hookbox, settings, caplog, payload
    ):
        djhookbox.publish("/open/a/", payload)
        assert caplog.records == []
        settings.DEBUG = True
        djhookbox.publish("/open/a/", payload)
        djhookbox.state_set("/open/a/", "key", payload)
        assert len(caplog.records) == 2
        for record in caplog.records:
            assert (record.name, record.levelname) == ("djhookbox", "WARNING")
            assert "/open/a/" in record.getMessage()
            assert "send it as a string" in record.getMessage()

    @pytest.mark.parametrize("payload", [2**53 - 1, str(2**60), 1e300, True, {str(2**60): None}])
    def test_other_numbers_are_not(self, hookbox, settings, caplog, payload):
        settings.DEBUG = True
        djhookbox.publish("/open/a/", payload)
        assert caplog.records == []

    def test_its_row(self, hookbox):
        djhookbox.publish("/open/a/", {"data": ["x", None]})
        row = Publication.objects.get()
        assert (row.channel, row.payload) == ("/open/a/", {"data": ["x", None]})
        assert (row.status, row.delivered, row.error) == ("sent", 3, "")
        assert (row.source, row.user_name) == ("code", "")
        assert row.decided_by.startswith("handler:")

    @pytest.mark.parametrize("payload", ["text", 5, 1.5, True, None, [], {}, "ünï\u2028"])
    def test_any_json_value(self, hookbox, payload):
        djhookbox.publish("/open/a/", payload)
        assert json.loads(hookbox.requests[0].form["payload"]) == payload
        row = Publication.objects.get()
        assert row.payload == payload

    def test_the_row_has_what_was_sent(self, hookbox):
        djhookbox.publish("/open/a/", {"day": datetime.date(2011, 5, 29)})
        assert Publication.objects.get().payload == {"day": "2011-05-29"}

    def test_from_a_user(self, hookbox):
        eve = User(username="eve")
        djhookbox.publish("/open/a/", 1, user=eve)
        djhookbox.publish("/open/a/", 1, user="bob")
        djhookbox.publish("/open/a/", 1, user=AnonymousUser())
        assert [r.form.get("originator") for r in hookbox.requests] == ["eve", "bob", None]
        names = Publication.objects.order_by("pk").values_list("user_name", flat=True)
        assert list(names) == ["eve", "bob", ""]

    def test_from_the_admin(self, hookbox):
        admin = User(username="admin")
        djhookbox.publish("/open/a/", 1, source=Publication.Source.ADMIN, sender=admin)
        assert "originator" not in hookbox.requests[0].form
        row = Publication.objects.get()
        assert (row.source, row.user_name) == ("admin", "admin")

    def test_the_handler_is_asked_with_the_user(self, hookbox, handler, monkeypatch):
        users = []
        monkeypatch.setattr(
            handler, "create", lambda user, channel: users.append(user) or {}, raising=False
        )
        eve = User(username="eve")
        djhookbox.publish("/open/a/", 1, user=eve)
        djhookbox.publish("/open/a/", 1, user="bob")
        assert users == [eve, AnonymousUser()]

    def test_a_policy_vouches_whatever_its_audiences(self, hookbox):
        ChannelPolicy.objects.create(
            name="news",
            pattern="/news/<slug:topic>/",
            create_audience=Audience.NOBODY,
            subscribe_audience=Audience.STAFF,
            publish_audience=Audience.NOBODY,
            history_size=4,
            moderated=False,
        )
        assert djhookbox.publish("/news/a/", 1) == 3
        options = json.loads(hookbox.requests[0].form["options"])
        assert options["history_size"] == 4
        # An audience is never weaker than it reads.
        assert options["moderated"]
        assert options["moderated_subscribe"]
        assert options["moderated_publish"]
        assert Publication.objects.get().decided_by == "policy:news"

    def test_a_server_that_does_not_count(self, hookbox):
        hookbox.replies(True, {})
        assert djhookbox.publish("/open/a/", 1) is None
        assert Publication.objects.get().delivered is None


@pytest.mark.django_db
class TestPublishRefused:
    def test_nobody_vouches(self, hookbox):
        with pytest.raises(HookboxRefused, match="No policy or handler"):
            djhookbox.publish("/closed/", 1)
        assert hookbox.requests == []
        row = Publication.objects.get()
        assert (row.status, row.delivered) == ("refused", None)
        assert "No policy" in row.error
        assert row.decided_by == "nobody"

    def test_a_handler_forbids_it(self, hookbox):
        with pytest.raises(HookboxRefused, match="Not this one") as caught:
            djhookbox.publish("/denied/", 1)
        assert caught.value.code == "refused"

    def test_the_server_refuses(self, hookbox):
        hookbox.replies(False, {"msg": "Too long.", "code": "limit"}, status=400)
        with pytest.raises(HookboxRefused, match="Too long") as caught:
            djhookbox.publish("/open/a/", 1)
        assert (caught.value.status, caught.value.code) == (400, "limit")
        row = Publication.objects.get()
        assert (row.status, row.error) == ("refused", "Too long.")

    def test_the_server_is_down(self, no_hookbox):
        with pytest.raises(HookboxUnreachable):
            djhookbox.publish("/open/a/", {"a": 1})
        row = Publication.objects.get()
        assert (row.status, row.payload) == ("failed", {"a": 1})
        assert "runhookbox" in row.error

    def test_the_secrets_differ(self, hookbox):
        hookbox.replies(False, {"msg": "Invalid secret"})
        with pytest.raises(HookboxMisconfigured):
            djhookbox.publish("/open/a/", 1)
        assert Publication.objects.get().status == "failed"

    def test_a_setting_is_wrong(self, hookbox, settings):
        settings.HOOKBOX_TIMEOUT = "soon"
        with pytest.raises(HookboxMisconfigured, match="HOOKBOX_TIMEOUT"):
            djhookbox.publish("/open/a/", 1)
        assert Publication.objects.get().status == "failed"

    def test_all_are_hookbox_errors(self):
        for kind in (ChannelNameError, HookboxMisconfigured, HookboxRefused, HookboxUnreachable):
            assert issubclass(kind, HookboxError)
        assert issubclass(PayloadError, HookboxError)

    @pytest.mark.parametrize("payload", [object(), {"a": {1}}, float("nan"), b"x"])
    def test_what_is_not_json(self, hookbox, payload):
        with pytest.raises(PayloadError):
            djhookbox.publish("/open/a/", payload)
        assert hookbox.requests == []
        assert not Publication.objects.exists()

    @pytest.mark.parametrize(
        "channel",
        ["", "x" * 256, "/\n", "/\x00", "/\x85", "/\u2028", "/\ud800", None, 5, b"/a/", ["/a/"]],
    )
    def test_what_is_no_channel_name(self, hookbox, channel):
        with pytest.raises(ChannelNameError):
            djhookbox.publish(channel, 1)
        assert hookbox.requests == []
        assert not Publication.objects.exists()

    def test_the_longest_name(self, hookbox):
        assert djhookbox.publish("/open/".ljust(255, "x"), 1) == 3

    def test_what_the_process_reports_costs_no_insert(self, hookbox):
        hookbox.replies(True, {"delivered": 3, "reported": True})
        with CaptureQueriesContext(connections["default"]) as queries:
            assert djhookbox.publish("/open/a/", 1, user="eve", sender="mallory") == 3
        assert not [query for query in queries if query["sql"].startswith("INSERT")]
        form = hookbox.requests[-1].form
        assert (form["recorded"], form["originator"]) == ("1", "eve")
        origin = json.loads(form["origin"])
        assert (origin["source"], origin["user"]) == ("code", "mallory")
        assert origin["decided_by"].startswith("handler:")

    def test_what_a_process_does_not_report_has_a_row(self, hookbox, settings):
        djhookbox.publish("/open/a/", "x" * 70_000)  # too much for a report
        djhookbox.publish("/open/a/", 1, source=Publication.Source.ADMIN)
        assert all("origin" not in request.form for request in hookbox.requests)
        assert Publication.objects.count() == 2

    def test_what_was_sent_is_not_said_to_have_failed(self, hookbox, monkeypatch, caplog):
        def broken(*args, **kwargs):
            raise DatabaseError("disk full")

        monkeypatch.setattr(Publication, "save", broken)
        assert djhookbox.publish("/open/a/", 1) == 3
        assert "disk full" in caplog.text


# ---- transactions


def view(request):
    User.objects.create(username="of the view")
    try:
        djhookbox.publish("/open/a/", 1)
    except HookboxError:
        if "catch" in request.GET:
            return HttpResponse("caught")
        raise
    if "fail" in request.GET:
        raise RuntimeError("the view failed")
    return HttpResponse("ok")


urlpatterns = [path("view/", view)]


def statuses():
    assert outside.finish(10)
    return list(Publication.objects.order_by("pk").values_list("status", flat=True))


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    @pytest.fixture(autouse=True)
    def atomic_requests(self, settings, monkeypatch):
        settings.ROOT_URLCONF = __name__
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def test_a_failed_row_survives_the_rollback(self, no_hookbox):
        with pytest.raises(HookboxUnreachable), transaction.atomic():
            djhookbox.publish("/open/a/", 1)
        assert statuses() == ["failed"]

    def test_so_does_a_sent_one(self, hookbox):
        with transaction.atomic():
            djhookbox.publish("/open/a/", 1)
            transaction.set_rollback(True)
        assert statuses() == ["sent"]

    def test_atomic_requests_failed(self, no_hookbox):
        response = Client(raise_request_exception=False).get("/view/")
        assert response.status_code == 500
        assert statuses() == ["failed"]
        assert not User.objects.exists()

    def test_atomic_requests_caught(self, no_hookbox):
        assert Client().get("/view/?catch").content == b"caught"
        assert statuses() == ["failed"]
        assert User.objects.exists()

    def test_atomic_requests_sent(self, hookbox):
        assert Client().get("/view/").content == b"ok"
        assert statuses() == ["sent"]

    def test_atomic_requests_sent_then_failed(self, hookbox):
        response = Client(raise_request_exception=False).get("/view/?fail")
        assert response.status_code == 500
        assert statuses() == ["sent"]
        assert not User.objects.exists()


@override_settings(ROOT_URLCONF=__name__, HOOKBOX_TIMEOUT=0.5)
class TransactionsInTestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _prepare(self, no_hookbox, monkeypatch):
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def test_atomic_requests_failed(self):
        response = Client(raise_request_exception=False).get("/view/")
        assert response.status_code == 500
        assert statuses() == [], "nothing but the test's own connection sees its transaction"
        assert not User.objects.exists()

    def test_atomic_requests_caught(self):
        assert Client().get("/view/?catch").content == b"caught"
        assert statuses() == ["failed"]


# ---- apublish


@pytest.mark.django_db(transaction=True)
class TestApublish:
    async def test_it_does_what_publish_does(self, hookbox):
        assert await djhookbox.apublish("/open/a/", {"a": 1}, user="eve") == 3
        assert hookbox.requests[0].form["originator"] == "eve"
        row = await Publication.objects.aget()
        assert (row.status, row.payload, row.user_name) == ("sent", {"a": 1}, "eve")

    async def test_the_event_loop_goes_on(self, hookbox):
        release = threading.Event()

        def answer(request):
            release.wait(10)
            return Answer(body='[true, {"delivered": 1}]')

        hookbox.answer = answer
        sending = asyncio.create_task(djhookbox.apublish("/open/a/", 1))

        await until(lambda: hookbox.requests)
        # While the call waits for its answer, the database's thread is free.
        assert await sync_to_async(Publication.objects.count)() == 0
        release.set()
        assert await sending == 1

    async def test_failures_are_recorded(self, no_hookbox):
        with pytest.raises(HookboxUnreachable):
            await djhookbox.apublish("/open/a/", 1)
        assert [row.status async for row in Publication.objects.all()] == ["failed"]

    async def test_refusals_are_recorded(self, hookbox):
        with pytest.raises(HookboxRefused):
            await djhookbox.apublish("/closed/", 1)
        assert [row.status async for row in Publication.objects.all()] == ["refused"]

    async def test_what_is_not_json(self, hookbox):
        with pytest.raises(PayloadError):
            await djhookbox.apublish("/open/a/", object())
        assert hookbox.requests == []


# ---- the other calls


@pytest.mark.django_db
class TestChannels:
    def test_create(self, hookbox):
        djhookbox.create("/open/a/")
        djhookbox.create("/open/a/", {"history_size": 1, "presenceful": True})
        first, second = (request.form for request in hookbox.requests)
        assert first["channel_name"] == "/open/a/"
        assert first["history_size"] == "7"
        assert (second["history_size"], second["presenceful"]) == ("1", "true")
        assert {request.call for request in hookbox.requests} == {"create_channel"}

    def test_create_needs_somebody_to_vouch(self, hookbox):
        with pytest.raises(HookboxRefused):
            djhookbox.create("/closed/")
        assert hookbox.requests == []

    def test_no_option_switches_moderation_off(self, hookbox):
        ChannelPolicy.objects.create(
            name="staff", pattern="/staff/", subscribe_audience=Audience.STAFF
        )
        for change in (
            lambda: djhookbox.create("/staff/", {"moderated_subscribe": False}),
            lambda: djhookbox.set_channel_options("/staff/", moderated=False),
            lambda: djhookbox.set_channel_options("/staff/", moderated=0),
        ):
            with pytest.raises(HookboxRefused, match="policy:staff"):
                change()
        assert hookbox.requests == []

    def test_set_channel_options(self, hookbox):
        djhookbox.set_channel_options("/open/a/", history_size=2, moderated=True)
        form = hookbox.requests[0].form
        assert hookbox.requests[0].call == "set_channel_options"
        assert (form["history_size"], form["moderated"]) == ("2", "true")

    def test_channel_info(self, hookbox):
        hookbox.replies(True, {"name": "/any/", "subscribers": ["bob"]})
        assert djhookbox.channel_info("/any/")["subscribers"] == ["bob"]

    def test_state(self, hookbox):
        djhookbox.state_set("/open/a/", "key", {"at": datetime.date(2011, 5, 29)})
        djhookbox.state_delete("/open/a/", "key")
        first, second = hookbox.requests
        assert (first.call, second.call) == ("state_set_key", "state_delete_key")
        assert first.form["val"] == '{"at":"2011-05-29"}'
        assert (first.form["key"], second.form["key"]) == ("key", "key")

    def test_subscribe(self, hookbox):
        djhookbox.subscribe("/open/a/", User(username="eve"))
        djhookbox.unsubscribe("/open/a/", "eve")
        first, second = hookbox.requests
        assert (first.call, second.call) == ("subscribe", "unsubscribe")
        assert (first.form["name"], second.form["name"]) == ("eve", "eve")
        assert json.loads(first.form["options"])["history_size"] == 7

    def test_subscribe_needs_somebody_to_vouch(self, hookbox):
        with pytest.raises(HookboxRefused):
            djhookbox.subscribe("/closed/", "eve")
        assert hookbox.requests == []

    @pytest.mark.parametrize(
        "call",
        [
            lambda name: djhookbox.create(name),
            lambda name: djhookbox.channel_info(name),
            lambda name: djhookbox.set_channel_options(name),
            lambda name: djhookbox.state_set(name, "k", 1),
            lambda name: djhookbox.state_delete(name, "k"),
            lambda name: djhookbox.subscribe(name, "eve"),
            lambda name: djhookbox.unsubscribe(name, "eve"),
        ],
    )
    def test_names_are_checked(self, hookbox, call):
        with pytest.raises(ChannelNameError):
            call("/a\n/")
        assert hookbox.requests == []


class TestUsers:
    @pytest.fixture(autouse=True)
    def _no_database(self, monkeypatch):
        monkeypatch.setattr(api, "vouch", fail)

    def test_disconnect(self, hookbox):
        assert djhookbox.disconnect(User(username="eve"), reason="Bye.", code=4000) == 2
        assert djhookbox.disconnect(connection="c1") == 2
        first, second = (request.form for request in hookbox.requests)
        assert (first["name"], first["reason"], first["code"]) == ("eve", "Bye.", "4000")
        assert (second["conn_id"], second["code"]) == ("c1", "4500")

    def test_disconnect_nobody(self, hookbox):
        with pytest.raises(TypeError, match="user or a connection"):
            djhookbox.disconnect()
        # An anonymous user has no name; this must not mean all users.
        with pytest.raises(ValueError, match="anonymous"):
            djhookbox.disconnect(AnonymousUser())
        assert hookbox.requests == []

    def test_server_info(self, hookbox):
        hookbox.replies(True, {"version": "1.0.0"})
        assert djhookbox.server_info() == {"version": "1.0.0", "problems": [], "nodes": []}


# ---- fail_silently


@pytest.mark.django_db
def test_a_failure_can_be_silent_and_is_recorded(handler, caplog):
    with mock.patch("djhookbox.client.publish", side_effect=HookboxUnreachable("It is down.")):
        assert djhookbox.publish("/open/a/", 1, fail_silently=True) is None
        with pytest.raises(HookboxUnreachable):
            djhookbox.publish("/open/a/", 1)
    assert [row.status for row in Publication.objects.all()] == ["failed", "failed"]
    assert "A message to /open/a/ was not sent: It is down." in caplog.text
    assert djhookbox.publish("/closed/", 1, fail_silently=True) is None
    assert Publication.objects.filter(status="refused", channel="/closed/").exists()


@pytest.mark.django_db(transaction=True)
async def test_apublish_can_fail_silently(handler):
    with mock.patch("djhookbox.client.publish", side_effect=HookboxUnreachable("It is down.")):
        assert await djhookbox.apublish("/open/a/", 1, fail_silently=True) is None


@pytest.mark.django_db
def test_mistakes_are_never_silent(handler):
    with pytest.raises(PayloadError):
        djhookbox.publish("/open/a/", object(), fail_silently=True)
    with pytest.raises(ChannelNameError):
        djhookbox.publish("", 1, fail_silently=True)
