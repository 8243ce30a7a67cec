"""Clients that return receive what they missed, once: the core without a loop or a clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from djhookbox.server.core.announcing import compose
from djhookbox.server.core.applying import apply
from djhookbox.server.core.changes import Reload
from djhookbox.server.core.effects import Send
from djhookbox.server.core.stream import Position, Publication, StreamState

from .house import NOW, WHEN, Client, House, deliver


@pytest.fixture
def house() -> House:
    return House()


def since(offset: int, epoch: str = "first") -> Position:
    return Position(epoch, offset)


def snapshot(client: Client) -> dict[str, object]:
    name, args = client.took()[-1]
    assert name == "SUBSCRIBE"
    return args


def recovered(args: dict[str, object]) -> object:
    return [each["payload"] for each in args["recovered"]], args["missed"]  # type: ignore[attr-defined]


def test_publications_are_numbered_where_there_is_history(house: House) -> None:
    alice = house.connect("alice")
    numbered, plain = house.channel(history_size=2), house.channel("plain")
    house.subscribe(alice, numbered)
    assert {"epoch": "first", "offset": 0}.items() <= snapshot(alice).items()
    house.subscribe(alice, plain)
    assert not {"epoch", "offset"} & snapshot(alice).keys()
    house.publish(numbered, "a")
    house.publish(numbered, "b")
    house.publish(plain, "c")
    first, second, other = (args for _, args in alice.took())
    assert (first["epoch"], first["offset"]) == ("first", 1)
    assert second["offset"] == 2
    assert "epoch" not in second
    assert not {"epoch", "offset"} & other.keys()


def test_the_sender_alone_gets_no_number(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(history_size=2)
    house.show(channel, 1, alice)
    assert "offset" not in alice.took()[-1][1]
    house.publish(channel, 2)
    assert channel.stream is not None
    assert channel.stream.offset == 1


def test_a_subscriber_catches_up(house: House) -> None:
    channel = house.channel(history_size=3, history_publish_only=True)
    for number in range(1, 6):
        house.publish(channel, number)
    alice = house.connect("alice")
    house.subscribe(alice, channel, since=since(3))
    names = [name for name, _ in alice.frames]
    assert names == ["CONNECTED", "CHANNEL_INIT", "SUBSCRIBE"]
    args = snapshot(alice)
    assert args["offset"] == 5
    assert args["missed"] == 0
    assert args["recovered"] == [
        {"payload": number, "datetime": WHEN, "user": "alice", "offset": number}
        for number in (4, 5)
    ]
    house.publish(channel, 6)
    assert alice.took()[-1][1]["offset"] == 6


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (since(0), ([3, 4, 5], 2)),
        (since(5), ([], 0)),
        (since(9), ([3, 4, 5], None)),
        (since(4, "other"), ([3, 4, 5], None)),
    ],
)
def test_what_cannot_be_given_is_said(house: House, position: Position, expected: object) -> None:
    channel = house.channel(history_size=3)
    for number in range(1, 6):
        house.publish(channel, number)
    alice = house.connect("alice")
    house.subscribe(alice, channel, since=position)
    assert recovered(snapshot(alice)) == expected


def test_without_history_nothing_is_known(house: House) -> None:
    alice = house.connect("alice")
    house.subscribe(alice, house.channel(), since=since(0))
    args = snapshot(alice)
    assert recovered(args) == ([], None)
    assert "offset" not in args


def test_what_is_too_old_is_missed(house: House) -> None:
    channel = house.channel(history_size=9, history_duration=10)
    house.publish(channel, 1)
    house.publish(channel, 2, NOW + 8)
    alice = house.connect("alice")
    assert alice.user is not None
    deliver(house.hub.subscribe(alice.user, channel, alice, NOW + 15, since=since(0)))
    assert recovered(snapshot(alice)) == ([2], 1)


def test_an_anonymous_channel_names_nobody_afterwards_either(house: House) -> None:
    channel = house.channel(history_size=3)
    house.publish(channel, 1)
    house.set_options(channel, {"anonymous": True})
    alice = house.connect("alice")
    house.subscribe(alice, channel, since=since(0))
    (args,) = snapshot(alice)["recovered"]  # type: ignore[misc]
    assert args == {"payload": 1, "datetime": WHEN, "offset": 1}


def test_the_history_of_an_anonymous_channel_names_nobody_of_before(house: House) -> None:
    channel = house.channel(history_size=9, presenceful=True)
    bob = house.connect("bob")
    house.subscribe(bob, channel)
    house.publish(channel, 1)
    house.set_options(channel, {"anonymous": True})
    house.publish(channel, 2)
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    expected = [["PUBLISH", {"payload": each, "datetime": WHEN}] for each in (1, 2)]
    told = [args["history"] for _, args in alice.took() if "history" in args]
    assert told == [expected, expected], "in CHANNEL_INIT and in SUBSCRIBE"


def test_what_is_kept_while_the_channel_becomes_anonymous_names_nobody(house: House) -> None:
    channel = house.channel(history_size=9)
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    alice.took()
    publication = compose(channel, 1, "bob", NOW)
    house.set_options(channel, {"anonymous": True})
    alice.took()
    house.apply(channel, publication)
    ((name, args),) = alice.took()
    assert (name, args["payload"], "user" in args) == ("PUBLISH", 1, False)


def test_a_channel_that_comes_back_as_anonymous_names_nobody(house: House) -> None:
    data = {"payload": 1, "datetime": WHEN, "user": "bob"}
    stream = StreamState("epoch", 1, (Publication(1, NOW, data),))
    options = {"history_size": 3, "history_duration": 9, "anonymous": True}
    channel, _ = house.hub.create_channel("room", options, NOW, stream)
    assert channel.history_list(NOW) == [["PUBLISH", {"payload": 1, "datetime": WHEN}]]


def test_only_who_asked_catches_up(house: House) -> None:
    channel = house.channel(history_size=3)
    house.publish(channel, 1)
    one, two = house.connect("alice", "one"), house.connect("alice", "two")
    house.subscribe(one, channel, since=since(0))
    assert recovered(snapshot(one)) == ([1], 0)
    assert "recovered" not in snapshot(two)


def test_who_is_in_already_is_sent_a_snapshot_if_it_says_what_it_has(house: House) -> None:
    channel = house.channel(history_size=3, presenceful=True)
    alice, bob = house.connect("alice"), house.connect("bob")
    house.subscribe(bob, channel)
    house.subscribe(alice, channel)
    house.publish(channel, 1)
    alice.took(), bob.took()
    assert house.subscribe(alice, channel) == []
    effects = house.subscribe(alice, channel, since=since(0))
    assert [type(effect) for effect in effects] == [Send]
    assert recovered(snapshot(alice)) == ([1], 0)
    assert bob.took() == []
    assert channel.presence() == ["bob", "alice"]


def test_a_log_goes_on_in_a_new_channel(house: House) -> None:
    state = StreamState("old", 4, (Publication(4, NOW, {"payload": "four"}),))
    channel, _ = house.hub.create_channel("room", {"history_size": 3}, NOW, state)
    # Without a duration Hookbox's own list begins anew, as it did in 2010.
    assert channel.history_list(NOW) == []
    alice = house.connect("alice")
    house.subscribe(alice, channel, since=since(2, "old"))
    assert recovered(snapshot(alice)) == (["four"], 1)
    house.publish(channel, "five")
    assert alice.took()[-1][1]["offset"] == 5
    plain, _ = house.hub.create_channel("plain", {}, NOW, state)
    assert plain.stream is None


def test_history_switched_off_and_on_begins_another_epoch(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(history_size=3)
    house.subscribe(alice, channel)
    house.publish(channel, 1)
    assert house.set_options(channel, {"history_size": 0}) == []
    house.publish(channel, 2)
    assert "offset" not in alice.took()[-1][1]
    assert house.set_options(channel, {"history_size": 1}) == []
    house.publish(channel, 3)
    args = alice.took()[-1][1]
    assert (args["epoch"], args["offset"]) == ("second", 1)
    house.subscribe(alice, channel, since=since(1))
    assert recovered(snapshot(alice)) == ([3], None)
    assert house.set_options(channel, {"history_size": 2}) == []
    assert channel.stream is not None
    assert channel.stream.epoch == "second"


def test_a_composed_publication_has_not_happened(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(history_size=3)
    composed = compose(channel, "later", "bob", NOW)
    assert channel.stream is not None
    assert channel.stream.offset == 0
    house.subscribe(alice, channel, since=since(0))
    assert recovered(snapshot(alice)) == ([], 0)
    house.apply(channel, composed)
    assert [args["payload"] for _, args in alice.took()] == ["later"]


def test_a_number_that_was_left_out_is_announced_as_missed(house: House) -> None:
    """As when another process had the channel for a while."""
    channel = house.channel(history_size=5)
    for number in (1, 2):
        house.publish(channel, number)
    change = compose(channel, 5, "bob", NOW)
    accepted = house.accept(channel, change)
    assert accepted.publication is not None
    later = replace(accepted.publication, offset=5)
    deliver(apply(house.hub, channel, change, accepted._replace(publication=later)))
    alice = house.connect("alice")
    house.subscribe(alice, channel, since=since(1))
    assert recovered(snapshot(alice)) == ([5], 3)
    assert channel.stream is not None
    assert channel.stream.weight == later.weight


def site_stream(epoch: str, last: int, kept: int = 2) -> StreamState:
    """Return a stream as the site has it, with its latest publications."""
    publications = tuple(
        Publication(offset, NOW, {"payload": offset, "datetime": WHEN, "user": "alice"}, 1)
        for offset in range(last + 1 - kept, last + 1)
    )
    return StreamState(epoch, last, publications)


def test_a_reloaded_stream_continues_where_each_page_was(house: House) -> None:
    channel = house.channel(history_size=5, history_publish_only=True)
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    house.publish(channel, "a")
    alice.took()
    house.apply(channel, Reload(site_stream("first", 3), NOW))
    assert recovered(snapshot(alice)) == ([2, 3], 0)
    house.apply(channel, Reload(site_stream("first", 9), NOW))
    assert recovered(snapshot(alice)) == ([8, 9], 4)
    assert [entry[1]["payload"] for entry in channel.history_list(NOW)] == ["a", 2, 3, 8, 9]


def test_a_reloaded_stream_of_another_epoch_is_a_gap(house: House) -> None:
    channel = house.channel(history_size=5, anonymous=True)
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    alice.took()
    house.apply(channel, Reload(site_stream("second", 3), NOW))
    args = snapshot(alice)
    assert recovered(args) == ([2, 3], None)
    assert (args["epoch"], args["offset"]) == ("second", 3)
    assert not any("user" in each for each in args["recovered"])  # type: ignore[attr-defined]


def test_a_channel_that_becomes_durable_gets_the_stream_of_the_site(house: House) -> None:
    channel = house.channel()
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    house.set_options(channel, {"durable": True})
    alice.took()
    house.apply(channel, Reload(site_stream("first", 2), NOW))
    assert recovered(snapshot(alice)) == ([1, 2], None)


def test_a_reloaded_stream_does_not_return_what_a_page_has_sent_itself(house: House) -> None:
    channel = house.channel(history_size=5, reflective=False)
    first, second = house.connect("alice", "first"), house.connect("alice", "second")
    house.subscribe(first, channel)
    for client in (first, second):
        client.took()
    stream = site_stream("first", 2)
    sent = replace(stream.publications[1], origin="first")
    house.apply(channel, Reload(replace(stream, publications=(stream.publications[0], sent)), NOW))
    assert recovered(snapshot(first)) == ([1], 0)
    assert recovered(snapshot(second)) == ([1, 2], 0)
