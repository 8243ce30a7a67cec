"""Fan-out: the same bytes for everyone, in order, and with as few writes as possible."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from djhookbox.server.channels import delivery, slices
from djhookbox.server.channels.delivery import MAX_PENDING, MOST_UNFINISHED, Delivery
from djhookbox.server.core.announcing import announce, compose
from djhookbox.wire.options import ChannelOptions

from .rig import FakeConnection, Rig, turns


async def open_channel(rig: Rig, *clients: FakeConnection, name: str = "room") -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    for client in clients:
        await rig.subscribe(client, name)
    for client in clients:
        client.frames.clear()
        client.packets.clear()


def publish(rig: Rig, payload: object, name: str = "room") -> int:
    return publish_from(rig, None, payload, name)


def publish_from(
    rig: Rig, origin: FakeConnection | None, payload: object, name: str = "room"
) -> int:
    """Publish at once, as an engine in memory lets the server do."""
    channel = rig.channels[name]
    change = compose(channel, payload, "alice", time.time(), origin)
    return rig.server.runtime.delivery.perform(announce(channel, change, None))


async def test_what_one_turn_publishes_is_one_message_of_shared_bytes(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await open_channel(rig, alice, bob)
    assert [publish(rig, number) for number in range(3)] == [2, 2, 2]
    assert alice.packets == []
    await asyncio.sleep(0)
    ((packet,), (other,)) = alice.packets, bob.packets
    assert packet is other
    assert [args["payload"] for _, args in alice.took()] == [0, 1, 2]
    publish(rig, 3)
    await turns(2)
    assert len(alice.packets) == 2


async def test_a_single_publication_to_few_does_not_wait_for_the_end_of_the_turn(rig: Rig) -> None:
    alice = await rig.connect("alice")
    for name in ("a", "b"):
        await open_channel(rig, alice, name=name)
    rig.server.runtime.delivery.is_single = True
    publish(rig, 1, "a")
    assert payloads(alice) == [1]
    rig.server.runtime.delivery.is_single = False
    publish(rig, 2, "b")
    rig.server.runtime.delivery.is_single = True
    publish(rig, 3, "a")
    assert payloads(alice) == [], "it does not overtake what waits"
    await turns(2)
    assert payloads(alice) == [2, 3]


async def test_a_call_that_publishes_once_is_single(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await open_channel(rig, alice)
    form = b"secret=s&channel_name=room&payload=1"
    status, _answer = rig.server.service.rest.begin("publish", None, form)  # type: ignore[misc]
    assert (status, payloads(alice)) == (200, [1])
    assert not rig.server.runtime.delivery.is_single


async def test_much_does_not_wait_for_the_end_of_the_turn(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await open_channel(rig, alice)
    publish(rig, "x" * MAX_PENDING)
    assert alice.names() == []
    publish(rig, "y")
    assert alice.names() == ["PUBLISH", "PUBLISH"]
    publish(rig, "z")
    await turns(2)
    assert [args["payload"] for _, args in alice.took()] == ["z"]


async def test_channels_keep_the_order_in_which_they_were_published_to(rig: Rig) -> None:
    alice = await rig.connect("alice")
    for name in ("a", "b", "c"):
        await open_channel(rig, alice, name=name)
    for name in ("b", "a", "c"):
        publish(rig, 1, name)
    await turns(2)
    assert [args["channel_name"] for _, args in alice.took()] == ["b", "a", "c"]


async def test_a_frame_for_one_comes_after_what_was_published_before(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await open_channel(rig, alice)
    publish(rig, 1)
    rig.server.runtime.delivery.send(alice, "ERROR", {"id": 1})
    publish(rig, 2)
    await turns(2)
    assert alice.names() == ["PUBLISH", "ERROR", "PUBLISH"]


async def test_an_exclusion_neither_loses_nor_doubles(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await open_channel(rig, alice, bob)
    channel = rig.channels["room"]
    channel.options = ChannelOptions(reflective=False)
    publish(rig, 1)
    assert publish_from(rig, alice, 2) == 1
    publish(rig, 3)
    await turns(2)
    assert [args["payload"] for _, args in alice.took()] == [1, 3]
    assert [args["payload"] for _, args in bob.took()] == [1, 2, 3]


async def test_nobody_costs_nothing(rig: Rig) -> None:
    await rig.lifecycle.create("room", {})
    assert publish(rig, 1) == 0
    delivery: Delivery = rig.server.runtime.delivery
    assert delivery._pending == {}


async def test_messages_are_counted_per_receiver(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await open_channel(rig, alice, bob)
    before = rig.server.metrics.messages_out
    publish(rig, 1)
    publish(rig, 2)
    await turns(2)
    assert rig.server.metrics.messages_out - before == 4


async def test_whoever_leaves_in_the_turn_misses_nothing_that_came_before(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await open_channel(rig, alice, bob)
    publish(rig, 1)
    await rig.rest("unsubscribe", channel_name="room", name="bob")
    assert bob.names() == ["PUBLISH", "UNSUBSCRIBE"]
    await turns(2)
    assert alice.names() == ["PUBLISH"]


# ---- slices -----------------------------------------------------------------------------------


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 2)
    monkeypatch.setattr(delivery, "FEW", 1)


async def crowd(rig: Rig) -> list[FakeConnection]:
    """Return seven subscribers of a channel, which four slices serve."""
    clients = [await rig.connect(f"user{number}") for number in range(7)]
    await open_channel(rig, *clients)
    return clients


def payloads(client: FakeConnection) -> list[object]:
    return [args.get("payload", name) for name, args in client.took()]


@pytest.mark.usefixtures("small_slices")
async def test_a_large_audience_is_served_in_slices_and_in_order(rig: Rig) -> None:
    clients = await crowd(rig)
    assert publish(rig, 1) == 7
    served = []
    for number in range(2, 6):
        await asyncio.sleep(0)
        served.append(sum(bool(client.packets) for client in clients))
        publish(rig, number)
    assert served == [2, 4, 6, 7]
    await turns(20)
    assert [payloads(client) for client in clients] == [[1, 2, 3, 4, 5]] * 7
    first = [client.packets[0].count(b'"PUBLISH"') for client in clients]
    assert first == [1, 1, 2, 2, 3, 3, 4], "a slice also gets what came while others were served"
    assert [len(client.packets) for client in clients] == [2] * 7
    assert rig.server.runtime.metrics.messages_out >= 35


@pytest.mark.usefixtures("small_slices")
async def test_a_frame_for_one_follows_what_the_slices_have_for_it(rig: Rig) -> None:
    clients = await crowd(rig)
    publish(rig, 1)
    await asyncio.sleep(0)
    publish(rig, 2)
    rig.server.runtime.delivery.send(clients[6], "ERROR", {"id": 1})
    assert payloads(clients[6]) == [1, 2, "ERROR"]
    await turns(20)
    assert [payloads(client) for client in clients] == [[1, 2]] * 6 + [[]]


@pytest.mark.usefixtures("small_slices")
async def test_who_leaves_or_is_closed_during_the_slices_gets_them_first(rig: Rig) -> None:
    clients = await crowd(rig)
    publish(rig, 1)
    await asyncio.sleep(0)
    user, channel = clients[5].user, rig.channels["room"]
    assert user is not None
    rig.server.runtime.delivery.flush()
    rig.server.runtime.delivery.perform(rig.hub.unsubscribe(user, channel, time.time()))
    assert payloads(clients[5]) == [1, "UNSUBSCRIBE"]
    publish(rig, 2)
    await turns(20)
    assert [payloads(client) for client in clients] == [[1, 2]] * 5 + [[], [1, 2]]


@pytest.mark.usefixtures("small_slices")
async def test_who_joins_during_the_slices_gets_only_what_follows(rig: Rig) -> None:
    await crowd(rig)
    late = await rig.connect("late")
    publish(rig, 1)
    await asyncio.sleep(0)
    await rig.subscribe(late, "room")
    publish(rig, 2)
    await turns(20)
    assert [args.get("payload") for name, args in late.took() if name == "PUBLISH"] == [2]


@pytest.mark.usefixtures("small_slices")
async def test_an_audience_that_has_changed_gets_nothing_from_slices_under_way(rig: Rig) -> None:
    clients = await crowd(rig)
    late = await rig.connect("late")
    publish(rig, 1)
    await asyncio.sleep(0)
    deliver, channel = rig.server.runtime.delivery, rig.channels["room"]
    leaving, joining = clients[5].user, late.user
    assert leaving is not None
    assert joining is not None
    deliver.flush()
    deliver.perform(rig.hub.unsubscribe(leaving, channel, time.time()))
    deliver.perform(rig.hub.subscribe(joining, channel, late, time.time()))
    late.frames.clear()
    publish(rig, 2)
    await turns(20)
    assert payloads(late) == [2]
    assert payloads(clients[5]) == [1, "UNSUBSCRIBE"]


@pytest.mark.usefixtures("small_slices")
async def test_what_joins_does_not_overtake_other_channels(rig: Rig) -> None:
    clients = await crowd(rig)
    await open_channel(rig, clients[2], name="small")
    publish(rig, 1)
    await asyncio.sleep(0)
    publish(rig, 2, "small")
    publish(rig, 3)
    publish(rig, 4, "small")
    publish(rig, 5)
    await turns(20)
    assert payloads(clients[2]) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("small_slices")
async def test_other_channels_do_not_wait_for_the_slices(rig: Rig) -> None:
    clients = await crowd(rig)
    other = await rig.connect("other")
    for client in (clients[6], other):
        await open_channel(rig, client, name="small")
    publish(rig, 1)
    await asyncio.sleep(0)
    publish(rig, 2)
    publish(rig, 3, "small")
    await asyncio.sleep(0)
    assert payloads(other) == [3]
    assert payloads(clients[6]) == [1, 2, 3]


@pytest.mark.usefixtures("small_slices")
async def test_unfinished_slices_are_bounded(rig: Rig) -> None:
    clients = await crowd(rig)
    deliver = rig.server.runtime.delivery
    for number in range(MOST_UNFINISHED + 5):
        publish(rig, number)
        deliver.flush()
        assert len(deliver.unfinished) <= MOST_UNFINISHED
    await turns(200)
    expected = list(range(MOST_UNFINISHED + 5))
    assert [payloads(client) for client in clients] == [expected] * 7


@pytest.mark.usefixtures("small_slices")
async def test_whatever_is_published_reaches_everybody_within_one_round(rig: Rig) -> None:
    clients = await crowd(rig)
    for number in range(12):
        publish(rig, number)
        await asyncio.sleep(0)
        for client in clients:
            last = json.loads(client.packets[-1].splitlines()[-1])[2] if client.packets else {}
            assert last.get("payload", -1) >= number - 4, "four slices make a round"
    await turns(20)
    assert [payloads(client) for client in clients] == [list(range(12))] * 7


@pytest.mark.usefixtures("small_slices")
async def test_a_channel_that_is_always_busy_leaves_turns_to_others(rig: Rig) -> None:
    clients = await crowd(rig)
    await open_channel(rig, *clients, name="other")
    for number in range(40):
        publish(rig, number)
        if number == 2:
            publish(rig, "here", "other")
        await asyncio.sleep(0)
    assert all("here" in payloads(client) for client in clients)


@pytest.mark.usefixtures("small_slices")
async def test_an_exclusion_during_the_slices_neither_loses_nor_doubles(rig: Rig) -> None:
    clients = await crowd(rig)
    rig.channels["room"].options = ChannelOptions(reflective=False)
    publish(rig, 1)
    await asyncio.sleep(0)
    publish(rig, 2)
    publish_from(rig, clients[0], 3)
    publish(rig, 4)
    await turns(20)
    assert payloads(clients[0]) == [1, 2, 4]
    assert [payloads(client) for client in clients[1:]] == [[1, 2, 3, 4]] * 6


@pytest.mark.usefixtures("small_slices")
async def test_not_too_much_joins_in_one_message(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MAX_JOINED", 500)
    clients = await crowd(rig)
    publish(rig, 0)
    await asyncio.sleep(0)
    for number in range(1, 20):
        publish(rig, number)
    await turns(20)
    assert [payloads(client) for client in clients] == [list(range(20))] * 7
    assert max(len(packet) for packet in clients[6].packets[:-1]) <= 500


@pytest.mark.usefixtures("small_slices")
async def test_publishers_that_are_faster_than_the_slices_are_answered_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_JOINED", 500)
    clients = await crowd(rig)
    await open_channel(rig, await rig.connect("other"), name="small")
    publish(rig, 0)
    await asyncio.sleep(0)
    form = b"secret=s&channel_name=room&payload=1"
    begun = [rig.server.service.rest.begin("publish", None, form) for _ in range(7)]
    assert [isinstance(each, tuple) for each in begun] == [True] + 6 * [False]
    late = [asyncio.ensure_future(each) for each in begun if not isinstance(each, tuple)]
    await turns(3)
    assert not any(each.done() for each in late)
    small = b"secret=s&channel_name=small&payload=1"
    assert isinstance(rig.server.service.rest.begin("publish", None, small), tuple)
    await turns(20)
    assert all(each.done() for each in late)
    assert {each.result()[0] for each in late} == {200}
    assert [len(payloads(client)) for client in clients] == [8] * 7
