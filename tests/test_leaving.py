"""Signals about users who leave, sent when the process reports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.test import Client

import djhookbox
from djhookbox import signals, views
from djhookbox.audit import reported
from djhookbox.audit.nodes import Sender
from djhookbox.batches.rule import accepted
from djhookbox.handlers import whcallback
from djhookbox.management.commands import runhookbox
from djhookbox.management.configuring import server_config
from djhookbox.models import ConnectionLog, Node, SubscriptionLog
from djhookbox.testing import in_process, override_policies

from .test_nodes import Process

pytestmark = pytest.mark.django_db

Heard = list[tuple[str, str, str]]


@pytest.fixture
def listen() -> Iterator[Callable[..., Heard]]:
    """Collect signals, with their senders and channels, and do something for each."""
    connected = []

    def listen(then: Callable[[Any], object] = lambda user: None) -> Heard:
        heard: Heard = []
        for name in ("unsubscribe", "disconnect", "destroy"):

            def receiver(sender: Any, name: str = name, **kwargs: Any) -> None:
                kwargs.pop("signal")
                channel = kwargs.pop("channel", "")
                assert not kwargs
                heard.append((name, sender.get_username(), channel))
                then(sender)

            signals.signals[name].connect(receiver)
            connected.append((signals.signals[name], receiver))
        return heard

    yield listen
    for signal, receiver in connected:
        signal.disconnect(receiver)


def _leave(process: Process, user: str = "alice") -> list[dict[str, Any]]:
    return [
        process.event("unsubscribe", channel_name="/a/", user=user, by="disconnect", signal=True),
        process.event("destroy", channel_name="/a/"),
        process.event("disconnect", user=user, conn_id="c1", code=1000, last=True),
    ]


def test_signals_are_those_of_the_webhooks(alice: Any, listen: Callable[..., Heard]) -> None:
    heard, process = listen(), Process()
    leaving = _leave(process)
    process.report(*leaving)
    process.report(*leaving)  # the answer was lost
    assert heard == [
        ("unsubscribe", "alice", "/a/"), ("destroy", "", "/a/"), ("disconnect", "alice", ""),
    ]  # fmt: skip
    rows = SubscriptionLog.objects.order_by("pk").values_list("event", "channel", "user_name")
    assert list(rows) == [("unsubscribe", "/a/", "alice"), ("destroy", "/a/", "")]
    assert ConnectionLog.objects.get().user_name == "alice"


def test_what_a_webhook_told_is_not_told_again(alice: Any, listen: Callable[..., Heard]) -> None:
    heard, process = listen(), Process()
    process.report(
        process.event("unsubscribe", channel_name="/a/", user="alice", by="rest"),
        process.event("disconnect", user="alice", conn_id="c1"),
    )
    assert heard == []


def test_anonymous_visitors_are_anonymous(listen: Callable[..., Heard]) -> None:
    heard, process = listen(), Process()
    process.report(process.event("disconnect", user=" _x", last=True))
    assert heard == [("disconnect", "", "")]


def test_errors_of_receivers_lose_nothing(alice: Any, listen: Callable[..., Heard]) -> None:
    heard, process = listen(lambda user: 1 / 0), Process()
    process.report(*_leave(process))
    assert len(heard) == 3
    assert SubscriptionLog.objects.count() == 2


def test_functions_are_called(alice: Any) -> None:
    called = []
    whcallback("disconnect")(lambda op, user: called.append((op, user.get_username())))
    process = Process()
    process.report(*_leave(process))
    assert called == [("disconnect", "alice")]


def test_receivers_that_take_long_get_several_requests(
    alice: Any, listen: Callable[..., Heard]
) -> None:
    now = 0.0

    def slow(user: Any) -> None:
        nonlocal now
        now += 0.2

    heard, process, sender = listen(slow), Process(), Sender("a" * 32, "host:8001")
    events = [*_leave(process), *_leave(process), process.event("unsubscribe", channel_name="/b/")]
    asked = []
    left = events
    while True:
        done = reported.record(left, sender, seconds=0.5, clock=lambda: now)
        asked.append(done)
        if done is None:
            break
        assert Node.objects.get(boot=sender.boot).last_event == done
        left = [event for event in events if event["id"] > done]
    assert asked == [4, None]
    assert len(heard) == 6
    assert SubscriptionLog.objects.count() == 5


def test_a_reply_names_the_last_event_that_is_recorded(
    alice: Any, listen: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, process = listen(), Process()
    ticks = iter(range(0, 1_000_000, 1000))
    record = partial(reported.record, clock=lambda: float(next(ticks)))
    monkeypatch.setattr(views, "record", record)
    leaving = _leave(process)
    assert process.report(*leaving) == {"more": True, "recorded": 1}
    assert process.report(*leaving[1:]) == {"more": True, "recorded": 2}
    process.report(*leaving[2:])
    assert len(heard) == 3


# ---- the site says whether events suffice ------------------------------------


class Refusing:
    def create(self, user: Any, channel: str) -> dict[str, Any]:
        return {}

    def unsubscribe(self, user: Any, channel: str) -> bool:
        return False


class Opening:
    def create(self, user: Any, channel: str) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("register", "suffice"),
    [
        (lambda: None, True),
        (lambda: djhookbox.register_channel_handler(Opening()), True),
        (lambda: djhookbox.register_channel_handler(Refusing()), False),
        (lambda: whcallback("disconnect", "publish")(print), True),
        (lambda: whcallback("destroy")(print), False),
        (lambda: whcallback(print), False),
    ],
    ids=["none", "create", "unsubscribe", "observers", "destroy", "all"],
)
def test_handlers_that_may_answer_get_webhooks(
    register: Callable[[], object], suffice: bool
) -> None:
    register()
    assert ("leaving" in accepted()) is suffice
    response = Client().post("/hookbox/connect")
    assert ("leaving" in response.headers["X-Hookbox-Accepts"].split(", ")) is suffice


def test_the_command_does_not_know_all_handlers() -> None:
    options = vars(runhookbox.Command().create_parser("manage.py", "runhookbox").parse_args([]))
    known = server_config(options).webhook_accepts
    assert "events" in known
    assert "leaving" not in known


def test_clients_leave_in_the_tests_of_a_site(alice: Any, listen: Callable[..., Heard]) -> None:
    heard = listen()
    with in_process() as hookbox, override_policies({"pattern": "/a/", "moderated": True}):
        client = hookbox.connect(alice)
        client.subscribe("/a/")
        client.disconnect()
        hookbox.settle()
    assert heard == [
        ("unsubscribe", "alice", "/a/"), ("destroy", "", "/a/"), ("disconnect", "alice", ""),
    ]  # fmt: skip
