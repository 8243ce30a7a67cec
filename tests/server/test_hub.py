"""The core, without a loop: calls in, effects out."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.server.core import snapshots
from djhookbox.server.core.effects import Emptied, PollingChanged
from djhookbox.server.core.messages import message
from djhookbox.server.core.model import Channel
from djhookbox.server.core.stream import Publication, StreamState
from djhookbox.server.core.values import changed, same, timestamp
from djhookbox.wire.options import OptionError

from .house import NOW, WHEN, Client, House, deliver


@pytest.fixture
def house() -> House:
    return House()


# ---- users ------------------------------------------------------------------------------------


def test_connected_comes_first_then_the_channels_in_order_of_subscription(house: House) -> None:
    first = house.connect("alice")
    for name in ("b", "a", "c"):
        house.subscribe(first, house.channel(name))
    second = house.connect("alice")
    assert [(name, args.get("channel_name")) for name, args in second.took()] == [
        ("CONNECTED", None), ("SUBSCRIBE", "b"), ("SUBSCRIBE", "a"), ("SUBSCRIBE", "c"),
    ]  # fmt: skip


def test_a_connection_that_joins_later_gets_no_channel_init(house: House) -> None:
    first = house.connect("alice")
    house.subscribe(first, house.channel(history_size=2), initial_data=5)
    assert first.names() == ["CONNECTED", "CHANNEL_INIT", "SUBSCRIBE"]
    assert house.connect("alice").names() == ["CONNECTED", "SUBSCRIBE"]


def test_the_last_connection_takes_the_user_out_of_everything(house: House) -> None:
    first, second, bob = house.connect("alice"), house.connect("alice"), house.connect("bob")
    channels = [house.channel(name, presenceful=True) for name in ("b", "a")]
    for channel in channels:
        house.subscribe(first, channel)
        house.subscribe(bob, channel)
    bob.took()
    assert house.detach(first) == []
    assert bob.took() == []
    assert house.detach(second) == channels
    assert bob.names() == ["UNSUBSCRIBE", "UNSUBSCRIBE"]
    assert list(house.hub.users) == ["bob"]
    assert list(channels[0].subscribers) == ["bob"]


def test_detaching_twice_or_before_connecting_changes_nothing(house: House) -> None:
    assert house.hub.detach(Client("nobody"), NOW) == ([], [])
    alice = house.connect("alice")
    house.detach(alice)
    again = house.connect("alice")
    house.subscribe(again, channel := house.channel())
    assert house.detach(alice) == []
    assert "alice" in house.hub.users
    assert list(channel.audience) == [again]


# ---- subscriptions ----------------------------------------------------------------------------


def test_who_comes_is_shown_only_where_presence_is(house: House) -> None:
    alice, bob = house.connect("alice"), house.connect("bob")
    quiet, open_ = house.channel("quiet"), house.channel("open", presenceful=True)
    for channel in (quiet, open_):
        house.subscribe(alice, channel)
    alice.took()
    house.subscribe(bob, quiet)
    assert alice.took() == []
    house.subscribe(bob, open_)
    assert alice.took() == [
        ("SUBSCRIBE", {"channel_name": "open", "user": "bob", "datetime": WHEN})
    ]
    house.unsubscribe(bob, quiet)
    assert alice.took() == []
    house.unsubscribe(bob, open_, "policy changed")
    # The reason is the leaving user's own business.
    assert alice.took() == [
        ("UNSUBSCRIBE", {"channel_name": "open", "user": "bob", "datetime": WHEN})
    ]
    assert bob.took()[-1][1]["reason"] == "policy changed"


def test_presence_lists_names_in_order_of_subscription(house: House) -> None:
    channel = house.channel(presenceful=True)
    clients = [house.connect(name) for name in ("carol", "alice", "bob")]
    for client in clients:
        house.subscribe(client, channel)
    assert clients[-1].took()[-1][1]["presence"] == ["carol", "alice", "bob"]
    house.unsubscribe(clients[0], channel)
    house.subscribe(clients[0], channel)
    assert channel.presence() == ["alice", "bob", "carol"]
    assert house.channel("other").presence() == []


def test_all_connections_of_the_user_learn_of_a_subscription(house: House) -> None:
    first, second = house.connect("alice"), house.connect("alice")
    channel = house.channel(presenceful=True)
    first.took(), second.took()
    house.subscribe(first, channel)
    expected = {
        "channel_name": "room", "user": "alice", "history": [], "history_size": 0, "state": {},
        "presence": ["alice"],
    }  # fmt: skip
    assert first.took() == second.took() == [("SUBSCRIBE", expected)]
    assert house.subscribe(second, channel) == []


@pytest.mark.parametrize(
    ("given", "init", "in_subscribe"),
    [({}, None, False), ({"initial_data": None}, None, False), ({"initial_data": 0}, 0, False),
     ({"initial_data": {"a": 1}}, {"a": 1}, True)],
)  # fmt: skip
def test_channel_init(house: House, given: dict[str, Any], init: Any, in_subscribe: bool) -> None:
    alice = house.connect("alice")
    alice.took()
    house.subscribe(alice, house.channel(), **given)
    frames = alice.took()
    assert ("initial_data" in frames[-1][1]) is in_subscribe
    if given:
        args = {"channel_name": "room", "initial_data": init, "history": []}
        assert frames[0] == ("CHANNEL_INIT", args)
    else:
        assert [name for name, _ in frames] == ["SUBSCRIBE"]


def test_a_history_is_worth_a_channel_init(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(history_size=1)
    house.publish(channel, "x")
    alice.took()
    house.subscribe(alice, channel)
    (init, args), (_, snapshot) = alice.took()
    assert init == "CHANNEL_INIT"
    entry = ["PUBLISH", {"payload": "x", "datetime": WHEN, "user": "alice"}]
    assert args["history"] == snapshot["history"] == [entry]


def test_an_empty_channel_is_reported_once(house: House) -> None:
    alice, bob = house.connect("alice"), house.connect("bob")
    channel = house.channel()
    house.subscribe(alice, channel)
    house.subscribe(bob, channel)
    assert channel.empty_since is None
    assert not any(isinstance(e, Emptied) for e in house.unsubscribe(alice, channel))
    assert Emptied(channel) in house.unsubscribe(bob, channel)
    assert channel.empty_since == NOW
    assert house.unsubscribe(bob, channel) == []


def test_code_takes_over_a_subscription_that_a_policy_granted(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel()
    house.subscribe(alice, channel)
    assert not channel.subscribers["alice"].by_code
    assert alice.user is not None
    assert house.hub.subscribe(alice.user, channel, None, NOW, by_code=True) == []
    assert channel.subscribers["alice"].by_code


# ---- subscriptions per connection (0.3.4) -----------------------------------------------------


def apart(house: House, label: str, **more: Any) -> Client:
    client = house.connect("alice", label, per_connection_subscriptions=True, **more)
    client.took()
    return client


def test_frames_go_only_to_the_connections_that_subscribed(house: House) -> None:
    one, two = apart(house, "one"), apart(house, "two")
    channel = house.channel()
    house.subscribe(one, channel)
    house.publish(channel, 1)
    assert one.names() == ["SUBSCRIBE", "PUBLISH"]
    assert two.names() == []
    house.subscribe(two, channel)
    assert one.names() == []
    assert two.names() == ["SUBSCRIBE"]
    assert apart(house, "three") not in channel.audience


def test_the_user_leaves_when_the_last_of_them_closes(house: House) -> None:
    one, two, three = apart(house, "one"), apart(house, "two"), apart(house, "three")
    channel = house.channel()
    house.subscribe(one, channel)
    house.subscribe(two, channel)
    assert house.detach(three) == []
    assert house.detach(one) == []
    apart(house, "four")
    assert house.detach(two) == [channel]
    assert "alice" in house.hub.users


def test_global_unsubscriptions(house: House) -> None:
    one, two, three = (apart(house, label, global_unsubscriptions=True) for label in "123")
    channel = house.channel()
    house.subscribe(one, channel)
    house.subscribe(two, channel)
    assert house.detach(three) == []
    assert house.detach(one) == [channel]
    assert two.names() == ["SUBSCRIBE", "UNSUBSCRIBE"]


def test_global_unsubscriptions_of_shared_subscriptions(house: House) -> None:
    one, two = (house.connect("alice", label, global_unsubscriptions=True) for label in "12")
    channel = house.channel()
    house.subscribe(one, channel)
    assert house.detach(two) == [channel]
    assert channel.subscribers == {}


def test_a_shared_subscription_covers_connections_that_come_with_other_options(
    house: House,
) -> None:
    first = house.connect("alice")
    channel = house.channel()
    house.subscribe(first, channel)
    later = house.connect("alice", per_connection_subscriptions=True)
    assert later.names() == ["CONNECTED", "SUBSCRIBE"]
    assert list(channel.audience) == [first, later]


def test_code_subscribes_all_connections(house: House) -> None:
    one, two = apart(house, "one"), apart(house, "two")
    channel = house.channel()
    house.subscribe(one, channel)
    one.took()
    assert one.user is not None
    deliver(house.hub.subscribe(one.user, channel, None, NOW, by_code=True))
    assert one.names() == []
    assert two.names() == ["SUBSCRIBE"]
    assert house.detach(one) == []
    assert list(channel.audience) == [two]


# ---- connections that subscribe for themselves -------------------------------------------------


def test_one_page_leaves_without_the_others(house: House) -> None:
    one, two = house.connect("alice", "one", apart=True), house.connect("alice", "two", apart=True)
    bob = house.connect("bob")
    channel = house.channel(presenceful=True)
    for client in (bob, one, two):
        house.subscribe(client, channel)
    for client in (bob, one, two):
        client.took()
    house.leave(one, channel)
    house.publish(channel, 1)
    assert one.names() == ["UNSUBSCRIBE"]
    assert two.names() == bob.names() == ["PUBLISH"], "alice is still there"
    house.leave(two, channel)
    assert two.names() == bob.names() == ["UNSUBSCRIBE"]
    assert list(channel.subscribers) == ["bob"]


def test_the_pages_of_2011_share_what_is_not_shared_with_the_others(house: House) -> None:
    old, older = house.connect("alice", "old"), house.connect("alice", "older")
    new = house.connect("alice", "new", apart=True)
    channel = house.channel()
    house.subscribe(new, channel)
    assert list(channel.audience) == [new]
    house.subscribe(old, channel)
    assert list(channel.audience) == [new, old, older]
    house.leave(older, channel)
    assert list(channel.audience) == [new]
    assert house.connect("alice", "oldest") not in channel.audience
    house.subscribe(old, channel)
    house.leave(new, channel)
    assert house.connect("alice", "newer", apart=True) not in channel.audience
    assert old in channel.audience


def test_code_subscribes_pages_of_both_kinds_and_those_that_come(house: House) -> None:
    old, new = house.connect("alice", "old"), house.connect("alice", "new", apart=True)
    channel = house.channel()
    house.subscribe(old, channel)
    assert list(channel.audience) == [old]
    assert old.user is not None
    deliver(house.hub.subscribe(old.user, channel, None, NOW, by_code=True))
    assert list(channel.audience) == [old, new]
    house.leave(new, channel)
    assert house.connect("alice", "newer", apart=True) in channel.audience


def test_global_unsubscriptions_count_for_them_too(house: House) -> None:
    one, two = (
        house.connect("alice", label, apart=True, global_unsubscriptions=True) for label in "12"
    )
    channel = house.channel()
    house.subscribe(one, channel)
    house.subscribe(two, channel)
    house.leave(one, channel)
    assert channel.subscribers == {}


# ---- publications, history --------------------------------------------------------------------


def test_a_publication_reaches_everyone_but_its_origin_if_not_reflective(house: House) -> None:
    one, two, bob = house.connect("alice", "1"), house.connect("alice", "2"), house.connect("bob")
    loud, shy = house.channel("loud"), house.channel("shy", reflective=False)
    for client in (one, two, bob):
        for channel in (loud, shy):
            house.subscribe(client, channel)
        client.took()
    house.publish(loud, 1, origin=one)
    assert [c.names() for c in (one, two, bob)] == [["PUBLISH"]] * 3
    house.publish(shy, 1, origin=one)
    assert [c.names() for c in (one, two, bob)] == [[], ["PUBLISH"], ["PUBLISH"]]
    house.publish(shy, 1)  # from code
    assert [c.names() for c in (one, two, bob)] == [["PUBLISH"]] * 3


def test_an_anonymous_channel_names_nobody(house: House) -> None:
    channel = house.channel(anonymous=True, presenceful=True, history_size=5)
    alice = house.connect("alice")
    house.subscribe(alice, channel)
    house.publish(channel, {"a": 1})
    args = alice.took()[-1][1]
    assert args.keys() == {"channel_name", "payload", "datetime", "offset", "epoch"}
    assert channel.history_list(NOW) == [["PUBLISH", {"payload": {"a": 1}, "datetime": WHEN}]]


def test_only_to_the_sender_keeps_no_history(house: House) -> None:
    alice, bob = house.connect("alice"), house.connect("bob")
    channel = house.channel(history_size=5)
    house.subscribe(bob, channel)
    bob.took(), alice.took()
    house.show(channel, 1, alice)
    assert alice.names() == ["PUBLISH"]
    assert bob.names() == []
    assert len(channel.history) == 0


def kinds(channel: Channel, now: float = NOW) -> list[Any]:
    return [[kind, data.get("payload", data.get("user"))] for kind, data in
            channel.history_list(now)]  # fmt: skip


def test_history_names_people_only_where_presence_shows_them(house: House) -> None:
    alice = house.connect("alice")
    expected = {
        "plain": {}, "anonymous": {"presenceful": True, "anonymous": True},
        "publish_only": {"presenceful": True, "history_publish_only": True},
        "open": {"presenceful": True},
    }  # fmt: skip
    for name, options in expected.items():
        channel = house.channel(name, history_size=5, **options)
        house.subscribe(alice, channel)
        house.publish(channel, 1)
        house.unsubscribe(alice, channel)
        names = [["SUBSCRIBE", "alice"], ["PUBLISH", 1], ["UNSUBSCRIBE", "alice"]]
        assert kinds(channel) == (names if name == "open" else [["PUBLISH", 1]])


def test_history_keeps_the_newest(house: House) -> None:
    channel = house.channel(history_size=2)
    for number in range(5):
        house.publish(channel, number)
    assert kinds(channel) == [["PUBLISH", 3], ["PUBLISH", 4]]
    house.set_options(channel, {"history_size": 1})
    assert kinds(channel) == [["PUBLISH", 4]]
    house.set_options(channel, {"history_size": 0})
    assert channel.stream is None
    assert kinds(channel) == []
    house.publish(channel, 6)
    assert kinds(channel) == []


def test_history_is_forgotten_with_time(house: House) -> None:
    channel = house.channel(history_size=5, history_duration=10)
    house.publish(channel, 1)
    house.publish(channel, 2, NOW + 8)
    assert kinds(channel, NOW + 10) == [["PUBLISH", 1], ["PUBLISH", 2]]
    assert kinds(channel, NOW + 11) == [["PUBLISH", 2]]
    house.publish(channel, 3, NOW + 30)
    assert len(channel.history) == 1


def test_what_outlived_a_channel_comes_back_trimmed(house: House) -> None:
    past = StreamState("e", 3, tuple(
        Publication(number, NOW - age, {"payload": number})
        for number, age in ((1, 100), (2, 20), (3, 1))
    ))  # fmt: skip
    options = {"history_size": 5, "history_duration": 50}
    channel, _ = house.hub.create_channel("room", options, NOW, past)
    assert kinds(channel) == [["PUBLISH", 2], ["PUBLISH", 3]]
    given = {**options, "history": [["PUBLISH", {"payload": "given"}]]}
    other, _ = house.hub.create_channel("other", given, NOW, past)
    assert kinds(other) == [["PUBLISH", "given"]]


# ---- options and state ------------------------------------------------------------------------


def test_options_are_set_all_or_none(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(state={"k": 1})
    house.subscribe(alice, channel)
    alice.took()
    before = snapshots.info(channel, NOW)
    for wrong in ({"history_size": "x"}, {"polling": {"mode": "no"}}, {"colour": 1}):
        with pytest.raises(OptionError):
            house.set_options(channel, {"state": {"k": 2}, "reflective": False, **wrong})
    assert snapshots.info(channel, NOW) == before
    assert alice.took() == []


def test_a_channel_with_wrong_options_does_not_come_into_being(house: House) -> None:
    for wrong in ({"history_size": -1}, {"polling": {"interval": 0}}):
        with pytest.raises(OptionError):
            house.hub.create_channel("room", wrong, NOW)
    assert house.hub.channels == {}


def test_a_new_state_is_always_sent(house: House) -> None:
    alice = house.connect("alice")
    channel = house.channel(state={"a": 1, "b": 2})
    house.subscribe(alice, channel)
    alice.took()
    house.set_options(channel, {"state": {"b": 2, "c": 3}})
    house.set_options(channel, {"state": {"b": 2, "c": 3}})
    (_, first), (_, second) = alice.took()
    assert (first["updates"], first["deletes"]) == ({"c": 3}, ["a"])
    assert (second["updates"], second["deletes"]) == ({}, [])


def test_what_stays_equal_is_not_sent(house: House) -> None:
    channel = house.channel(state={"a": {"b": [1]}})
    assert house.hub.states.change(channel, {"a": {"b": [1]}}, ["missing"]) == []
    assert house.hub.states.change(channel, {"a": {"b": [True]}}) != []
    assert channel.state == {"a": {"b": [True]}}
    assert same(channel.state, {"a": {"b": [True]}})
    assert house.hub.states.change(channel, {}, ["a", "a"]) != []
    assert channel.state == {}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1, 1, True), (1, True, False), (0, False, False), (True, True, True), (1, 1.0, True),
     (None, False, False), ("a", "a", True), ([], {}, False), ([1], [True], False),
     ({"a": 0}, {"a": False}, False), ({"a": 1}, {"b": 1}, False), ([1, 2], [1], False)],
)  # fmt: skip
def test_equality_is_that_of_a_browser(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal
    assert changed({"k": one}, {"k": other}) == ({} if equal else {"k": other})


def test_polling_is_reported_when_it_changes(house: House) -> None:
    polling = {"mode": "simple", "url": "http://x/"}
    channel, effects = house.hub.create_channel("room", {"polling": polling}, NOW)
    assert effects == [PollingChanged(channel)]
    assert house.set_options(channel, {"reflective": False}) == []
    assert house.hub.destroy_channel(channel, NOW) == [PollingChanged(channel)]
    assert channel.options.polling.mode == ""


def test_server_presence_is_kept_in_the_state(house: House) -> None:
    watcher = house.connect("watcher")
    options = {"server_presenceful": True, "server_user_presence": ["alice", "watcher"]}
    channel = house.channel(**options)
    assert channel.state == {"alice": False, "watcher": True}
    house.subscribe(watcher, channel)
    watcher.took()
    first, second = house.connect("alice"), house.connect("alice")
    house.connect("somebody else")
    house.detach(first)
    house.detach(second)
    assert [args["updates"] for _, args in watcher.took()] == [{"alice": True}, {"alice": False}]
    house.hub.destroy_channel(channel, NOW)
    watcher.took()
    house.connect("alice")
    assert watcher.took() == []


def test_everyone_learns_once_that_a_channel_goes(house: House) -> None:
    clients = [house.connect(str(number)) for number in range(5)]
    channel = house.channel(presenceful=True)
    for client in clients:
        house.subscribe(client, channel)
    for client in clients:
        client.took()
    effects = deliver(house.hub.destroy_channel(channel, NOW))
    assert [client.names() for client in clients] == [["UNSUBSCRIBE"]] * 5
    assert not any(isinstance(effect, Emptied) for effect in effects)
    assert house.hub.channels == {}


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(NOW) == WHEN
    assert timestamp(NOW + 0.0625) == "2011-03-13T07:06:40.062Z"


@given(st.floats(0, 4e9) | st.integers(0, 4_000_000_000).map(lambda whole: whole + 0.9999999))
def test_times_are_those_of_the_standard_library(now: float) -> None:
    moment = datetime.fromtimestamp(now, timezone.utc)
    assert timestamp(now) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- messages ---------------------------------------------------------------------------------


def test_messages_between_users(house: House) -> None:
    one, two, bob = house.connect("alice", "1"), house.connect("alice", "2"), house.connect("bob")
    for client in (one, two, bob):
        client.took()
    effects, reached = message(house.hub, "alice", "bob", "hi", NOW, True)
    deliver(effects)
    expected = {"sender": "alice", "recipient": "bob", "payload": "hi", "datetime": WHEN}
    assert one.took() == two.took() == bob.took() == [("MESSAGE", expected)]
    assert reached == 1
    deliver(message(house.hub, "alice", "bob", "hi", NOW, False)[0])
    assert (one.names(), bob.names()) == ([], ["MESSAGE"])
    effects, reached = message(house.hub, "alice", "alice", "me", NOW, True)
    deliver(effects)
    assert reached == 2
    assert (one.names(), two.names()) == (["MESSAGE"], ["MESSAGE"])
    effects, reached = message(house.hub, "alice", "nobody", "hi", NOW, True)
    deliver(effects)
    assert reached == 0
    assert one.took()[0][1]["recipient"] == "null"
