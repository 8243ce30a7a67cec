"""How channels are created and destroyed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from djhookbox.server.channels.lifecycle import IDLE_SECONDS
from djhookbox.server.protocol.rtjp import frame
from djhookbox.server.refusals import Refusal
from djhookbox.server.site.webhooks import WebhookFailed

from .rig import Rig, turns


async def test_the_last_subscriber_takes_the_channel_along(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(alice)
    await rig.subscribe(bob)
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    assert "room" in rig.channels
    await rig.send(bob, "UNSUBSCRIBE", channel_name="room")
    assert rig.channels == {}
    assert len(rig.site.took("destroy_channel")) == 1


@pytest.mark.parametrize("error", [Refusal("no"), WebhookFailed()])
async def test_a_channel_that_may_not_go_stays_usable(rig: Rig, error: Refusal) -> None:
    rig.site.answers = {"create_channel": {"history_size": 1}, "destroy_channel": error}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    await rig.send(alice, "PUBLISH", channel_name="room", payload="1")
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    channel = rig.channels["room"]
    await rig.subscribe(alice)
    assert rig.channels["room"] is channel
    assert len(channel.history) == 1
    del rig.site.answers["destroy_channel"]
    await rig.leave(alice)
    assert rig.channels == {}


async def test_a_channel_is_not_destroyed_under_an_operation(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(alice)
    held = rig.site.hold("publish")
    await rig.send(bob, "PUBLISH", channel_name="room")
    rig.site.took()
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    assert rig.site.names() == ["unsubscribe"]
    held.set()
    await turns()
    assert rig.site.names() == ["destroy_channel"]
    assert rig.channels == {}


async def test_a_channel_that_fills_again_meanwhile_stays(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(alice)
    held = rig.site.hold("destroy_channel")
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    await rig.rest("subscribe", channel_name="room", name="bob")
    held.set()
    await turns()
    assert bob.names() == ["SUBSCRIBE"]
    assert list(rig.channels["room"].audience) == [bob]


async def test_who_unsubscribes_and_subscribes_at_once_gets_a_new_channel(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    before = rig.channels["room"]
    rig.site.took()
    await alice.receive(
        frame(8, "UNSUBSCRIBE", {"channel_name": "room"})
        + frame(9, "SUBSCRIBE", {"channel_name": "room"})
    )
    await turns()
    assert rig.site.names() == ["unsubscribe", "destroy_channel", "subscribe_many"]
    assert rig.channels["room"] is not before
    assert alice.names() == ["UNSUBSCRIBE", "SUBSCRIBE"]


async def test_a_slow_destroy_outlives_the_client_that_waits_for_it(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    held = rig.site.hold("destroy_channel")
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    await rig.leave(alice)
    held.set()
    await turns()
    assert rig.channels == {}


async def test_a_channel_without_subscribers_goes_after_a_while(rig: Rig) -> None:
    await rig.rest("create_channel", channel_name="room")
    now = time.time()
    await rig.lifecycle.expire(now + IDLE_SECONDS - 5)
    await turns()
    assert "room" in rig.channels
    await rig.lifecycle.expire(now + IDLE_SECONDS + 1)
    await turns()
    assert rig.channels == {}


async def test_one_that_may_not_go_is_asked_for_once_a_while(rig: Rig) -> None:
    rig.site.answers["destroy_channel"] = WebhookFailed()
    await rig.rest("create_channel", channel_name="room")
    held = rig.site.hold("destroy_channel")
    now = time.time() + IDLE_SECONDS
    for second in range(1, 10):
        await rig.lifecycle.expire(now + second)
        await turns()
    held.set()
    await turns()
    assert len(rig.site.took("destroy_channel")) == 1
    assert "room" in rig.channels


@pytest.mark.parametrize(("mode", "stays"), [("simple", True), ("persistent", True),
                                             ("once", False)])  # fmt: skip
async def test_a_channel_that_polls_stays(rig: Rig, mode: str, stays: bool) -> None:
    polling: dict[str, Any] = {"mode": mode, "url": "http://127.0.0.1:1/", "interval": 1000}
    channel = await rig.lifecycle.create("room", {"polling": polling})
    await rig.lifecycle.expire(time.time() + IDLE_SECONDS + 1)
    await turns()
    assert ("room" in rig.channels) is stays
    rig.hub.destroy_channel(channel, time.time())
    await rig.server.channels.pollers.stop()
    await turns()


async def test_history_outlives_the_channel_where_the_site_says_so(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 2, "history_duration": 100}
    alice = await rig.connect("alice")
    for _ in range(2):
        await rig.send(alice, "SUBSCRIBE", channel_name="room")
        frames = alice.took()
        await rig.send(alice, "PUBLISH", channel_name="room", payload="1")
        await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
        assert rig.channels == {}
        alice.took()
    assert [data["payload"] for _, data in frames[-1][1]["history"]] == [1]
    rig.site.answers["create_channel"] = {"history_size": 2}
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    assert alice.took()[-1][1]["history"] == []


@pytest.mark.parametrize("wrong", [{"history_size": "x"}, {"colour": 1}, {"name": "x"},
                                   {"history_size": "x", "history_duration": 5}])  # fmt: skip
async def test_wrong_options_make_no_channel(rig: Rig, wrong: dict[str, Any]) -> None:
    rig.site.answers["create_channel"] = wrong
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    assert alice.took()[0][1]["code"] == "malformed"
    assert rig.channels == {}


async def test_stopping_does_not_storm_the_site(rig: Rig) -> None:
    clients = [await rig.connect(name) for name in ("alice", "bob")]
    for client in clients:
        await rig.subscribe(client, f"own-{client.id}")
    rig.site.took()
    await rig.server.stop()
    assert [client.end.code for client in clients if client.end] == [1012, 1012]
    assert set(rig.site.names()) == {"events"}


async def test_channels_with_subscribers_cost_nothing_each_second(rig: Rig) -> None:
    await rig.subscribe(await rig.connect("alice"), "read")
    await rig.lifecycle.create("unread", {})
    looked: list[str] = []
    rig.lifecycle._look_at = lambda channel, now: looked.append(channel.name)  # type: ignore[method-assign]
    await rig.lifecycle.expire(time.time())
    assert looked == ["unread"]
