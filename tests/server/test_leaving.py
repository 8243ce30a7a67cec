"""What happens when a connection ends."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from djhookbox.server.refusals import Refusal
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire.closing import NORMAL

from .rig import Rig, turns


async def test_the_order_of_webhooks(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    for channel in ("b", "a"):
        await rig.subscribe(alice, channel)
    await rig.subscribe(bob, "a")
    rig.site.took()
    await rig.leave(alice)
    calls = [(hook, form.get("channel_name", form.get("name"))) for hook, form in rig.site.took()]
    assert calls == [
        ("unsubscribe", "b"), ("destroy_channel", "b"), ("unsubscribe", "a"),
        ("disconnect", "alice"),
    ]  # fmt: skip


async def test_nobody_waits_for_the_webhooks(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"presenceful": True}
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    for client in (alice, bob):
        await rig.subscribe(client)
    held = rig.site.hold("unsubscribe")
    await rig.leave(alice)
    assert bob.names() == ["UNSUBSCRIBE"]
    again = await rig.connect("alice")  # while the site still thinks about the old one
    await rig.subscribe(again)
    held.set()
    await turns()
    assert set(rig.channels["room"].subscribers) == {"alice", "bob"}


async def test_failures_change_nothing(rig: Rig) -> None:
    rig.site.answers |= {"unsubscribe": Refusal("stay"), "disconnect": WebhookFailed()}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    await rig.leave(alice)
    assert rig.channels == {}
    assert rig.hub.users == {}


async def test_other_connections_keep_the_subscriptions(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    await rig.subscribe(one)
    two.took()
    rig.site.took()
    await rig.leave(one)
    assert rig.site.took() == []
    assert two.took() == []
    assert list(rig.channels["room"].audience) == [two]


async def test_the_site_is_not_asked_about_what_it_ends_itself(rig: Rig) -> None:
    rig.site.answers["unsubscribe"] = {"auto_unsubscribe": ["b"], "auto_subscribe": ["d"]}
    alice = await rig.connect("alice")
    for name in "abc":
        await rig.subscribe(alice, name)
    rig.site.took()
    await rig.leave(alice)
    asked = [(hook, form.get("channel_name")) for hook, form in rig.site.took()]
    assert asked == [
        ("unsubscribe", "a"), ("destroy_channel", "a"), ("destroy_channel", "b"),
        ("unsubscribe", "c"), ("destroy_channel", "c"), ("disconnect", None),
    ]  # fmt: skip
    (_, event) = rig.reported()
    assert (event["event"], event["channel_name"], event["by"]) == ("unsubscribe", "b", "auto")


async def test_what_is_reported(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.reported()
    await rig.leave(alice)
    _, end, unsubscribe = rig.reported()
    assert (end["event"], end["user"], end["code"], end["conn_id"]) == (
        "disconnect", "alice", 1000, alice.id,
    )  # fmt: skip
    assert (unsubscribe["event"], unsubscribe["by"]) == ("unsubscribe", "disconnect")
    assert end["duration"] >= 0


async def test_who_never_connected_goes_unnoticed(rig: Rig) -> None:
    await rig.leave(rig.client())
    assert rig.site.calls == []
    assert rig.reported() == []


async def test_identities_are_forgotten(rig: Rig) -> None:
    rig.site.answers["connect"] = {"identity": "session:1"}
    one, two = await rig.connect("alice"), await rig.connect("alice")
    index = rig.server.runtime.connections._by_identity
    assert index == {"session:1": {one: None, two: None}}
    await rig.leave(one)
    assert index == {"session:1": {two: None}}
    await rig.leave(two)
    assert index == {}


async def test_an_auto_subscribe_has_nobody_to_go_to(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.site.answers["unsubscribe"] = {"auto_subscribe": ["other"]}
    await rig.leave(alice)
    assert rig.channels == {}


# ---- without webhooks --------------------------------------------------------


@pytest.fixture
def told(rig: Rig) -> Rig:
    """A server whose site wants events instead of webhooks."""
    rig.site.accepted |= {"leaving"}
    return rig


def _left(rig: Rig) -> list[tuple[Any, ...]]:
    """Return the events about leaving: kind, channel or user, and whether a signal is sent."""
    return [
        (event["event"], event.get("channel_name", event.get("user", "")),
         event.get("signal", event.get("last", False)))
        for event in rig.reported()
        if event["event"] in ("disconnect", "unsubscribe", "destroy")
    ]  # fmt: skip


async def test_events_come_in_the_order_of_the_webhooks(told: Rig) -> None:
    alice, bob = await told.connect("alice"), await told.connect("bob")
    for channel in ("b", "a"):
        await told.subscribe(alice, channel)
    await told.subscribe(bob, "a")
    told.site.took()
    await told.leave(alice)
    assert told.site.took() == []
    assert _left(told) == [
        ("unsubscribe", "b", True), ("destroy", "b", False), ("unsubscribe", "a", True),
        ("disconnect", "alice", True),
    ]  # fmt: skip
    assert "b" not in told.channels


async def test_500_clients_leave_with_a_few_requests(told: Rig) -> None:
    clients = [await told.connect(f"user{number}") for number in range(500)]
    for number, client in enumerate(clients):
        await told.subscribe(client, f"room{number % 50}")
    await told.events.flush()
    told.site.took()
    for client in clients:
        client.lost(NORMAL)
    await turns()
    assert told.channels == told.hub.users == {}
    await told.events.flush()
    calls = told.site.took()
    assert {hook for hook, _form in calls} == {"events"}
    assert len(calls) <= 4
    found = Counter(event["event"] for _hook, form in calls for event in json.loads(form["events"]))
    assert found == {"unsubscribe": 500, "disconnect": 500, "destroy": 50}


async def test_unsubscribing_needs_no_webhook(told: Rig) -> None:
    alice = await told.connect("alice")
    await told.subscribe(alice)
    told.site.took()
    told.reported()
    told.site.answers["unsubscribe"] = Refusal("stay")
    await told.send(alice, "UNSUBSCRIBE", channel_name="room")
    assert alice.names() == ["UNSUBSCRIBE"]
    assert told.site.took() == []
    assert _left(told) == [("unsubscribe", "room", True), ("destroy", "room", False)]


async def test_no_signal_where_no_webhook_was_made(told: Rig) -> None:
    told.site.answers["create_channel"] = {"moderated": False}
    one, two = await told.connect("alice"), await told.connect("alice")
    for client in (one, two):
        await told.subscribe(client)
    told.reported()
    await told.leave(two)  # other connections keep the subscription
    await told.leave(one)
    assert _left(told) == [
        ("disconnect", "alice", False), ("unsubscribe", "room", False), ("destroy", "room", False),
        ("disconnect", "alice", True),
    ]  # fmt: skip


async def test_no_signals_while_the_server_stops(told: Rig) -> None:
    alice = await told.connect("alice")
    await told.subscribe(alice)
    told.connections.stopping = True
    told.reported()
    await told.leave(alice)
    assert [event[::2] for event in _left(told)][:2] == [
        ("disconnect", False), ("unsubscribe", False),
    ]  # fmt: skip


@pytest.mark.parametrize("back", ["address", "user"])
async def test_coming_back_does_not_overtake_leaving(told: Rig, back: str) -> None:
    alice = await told.connect("alice")
    await told.subscribe(alice)
    await told.events.flush()
    told.site.took()
    if back == "address":  # such as a page that is loaded again
        await told.leave(alice)
        alice = await told.connect("alice")
    else:
        await told.send(alice, "UNSUBSCRIBE", channel_name="room")
    await told.subscribe(alice)
    expected = ["events", "connect"] if back == "address" else ["events"]
    names = [hook for hook, _form in told.site.took()]
    assert names == [*expected, "subscribe_many"]


async def test_others_do_not_wait_for_who_left(told: Rig) -> None:
    alice, bob = await told.connect("alice"), told.client("sessionid=bob")
    bob.handshake = replace(bob.handshake, remote_addr="10.0.0.2")
    await told.leave(alice)
    told.site.took()
    await told.send(bob, "CONNECT", cookie_string="", payload='"bob"')
    assert told.site.names() == ["connect"]


async def test_a_channel_does_not_begin_again_before_its_end_is_reported(told: Rig) -> None:
    alice, bob = await told.connect("alice"), told.client("sessionid=bob")
    bob.handshake = replace(bob.handshake, remote_addr="10.0.0.2")
    await told.send(bob, "CONNECT", cookie_string="", payload='"bob"')
    await told.subscribe(alice)
    await told.events.flush()
    await told.leave(alice)
    told.site.took()
    await told.subscribe(bob)
    assert told.site.names() == ["events", "subscribe_many"]


async def test_nobody_waits_for_a_site_that_takes_no_events(told: Rig) -> None:
    told.site.answers["events"] = Refusal("busy", "unavailable")
    alice = await told.connect("alice")
    await told.leave(alice)
    told.site.took()
    for _ in range(3):
        await told.connect("alice")
    assert told.site.names() == ["events", "connect", "connect", "connect"]
