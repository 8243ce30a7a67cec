"""What browsers and programs publish to durable channels: decided and stored in one transaction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError

import djhookbox
from djhookbox.models import ChannelPolicy, Outbox, Publication
from djhookbox.outbox import inserting, pulling
from djhookbox.wire.webhooks import Outbox as Pull

from .conftest import Webhooks

ORDERS = "/orders/1/"


@pytest.fixture
def policy(make_policy: Any) -> ChannelPolicy:
    policy: ChannelPolicy = make_policy("/orders/<int:pk>/", durable=True)
    return policy


def send(webhooks: Webhooks, payload: str = '"Hello"', **more: str | None) -> Any:
    return webhooks("publish", channel_name=ORDERS, payload=payload, **{"key": "k", **more})


def test_sent_again_it_is_stored_once(alice: Any, policy: ChannelPolicy) -> None:
    browser = Webhooks(alice)
    start = pulling.pull(Pull())
    allowed, first = send(browser)
    assert allowed
    row = Outbox.objects.get()
    assert (row.payload, row.user_name, row.connection_id) == ('"Hello"', "alice", "c1")
    assert row.source == Publication.Source.CLIENT
    assert send(browser) == (True, first), "while it waits"
    assert send(browser, key="other")[1]["stored"] != first["stored"]
    entries = pulling.pull(Pull(start.incarnation, start.number, start.token)).entries
    assert [entry.payload for entry in entries] == ['"Hello"'] * 2
    allowed, again = send(browser)
    assert again == {**first, "epoch": entries[0].epoch, "offset": 1}, "once it has its number"
    assert not Outbox.objects.exists()


def test_keys_belong_to_users(alice: Any, make_user: Any, policy: ChannelPolicy) -> None:
    assert send(Webhooks(alice))[1] != send(Webhooks(make_user("bob")))[1]
    assert Outbox.objects.count() == 2


def test_programs_publish_in_the_name_of_a_user(alice: Any, policy: ChannelPolicy) -> None:
    allowed, more = send(Webhooks(), conn_id=None, identity=None, user="alice")
    assert allowed
    assert more["stored"]
    row = Outbox.objects.get()
    assert (row.user_name, row.source) == ("alice", Publication.Source.REST)


class Writing:
    """A handler that writes, and replaces the message."""

    def __init__(self, payload: object) -> None:
        self.payload = payload

    def publish(self, user: Any, channel: str, payload: object) -> object:
        Group.objects.create(name="written")
        return {"override_payload": self.payload}


def test_what_handlers_write_belongs_to_the_message(
    alice: Any, policy: ChannelPolicy, settings: Any
) -> None:
    policy.publish_audience = "handlers"
    policy.save()
    handler = Writing({"text": "x" * 2000})
    djhookbox.register_channel_handler(handler)
    settings.HOOKBOX_MAX_PAYLOAD_SIZE = 1500
    allowed, refusal = send(Webhooks(alice))
    assert not allowed
    assert refusal["code"] == "limit", refusal
    assert not Group.objects.exists()
    assert not Outbox.objects.exists()
    assert Publication.objects.get().status == Publication.Status.REFUSED

    settings.HOOKBOX_MAX_PAYLOAD_SIZE = 3000
    assert send(Webhooks(alice))[0]
    assert Group.objects.exists()
    assert json.loads(Outbox.objects.get().payload) == handler.payload


def test_refusals_store_nothing(alice: Any, policy: ChannelPolicy) -> None:
    policy.publish_audience = "staff"
    policy.save()
    allowed, refusal = send(Webhooks(alice))
    assert not allowed
    assert "stored" not in refusal
    assert not Outbox.objects.exists()


def test_a_channel_that_is_not_durable_any_more(alice: Any, policy: ChannelPolicy) -> None:
    policy.durable = False
    policy.save()
    allowed, refusal = send(Webhooks(alice))
    assert not allowed
    assert refusal["code"] == "unavailable", "the client tries again"
    assert not Outbox.objects.exists()


def test_a_database_that_fails_is_no_refusal(
    alice: Any, policy: ChannelPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(inserting, "insert", fail)
    response = Webhooks(alice).post("publish", channel_name=ORDERS, payload="1", key="k")
    assert response.status_code == 503, "so the process asks again"
    assert json.loads(response.content)[1]["code"] == "unavailable"
