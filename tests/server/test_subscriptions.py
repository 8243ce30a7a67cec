"""Many subscriptions at once, with one webhook; and catching up by frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.refusals import Refusal
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire.closing import SESSION_EXPIRED

from .rig import FakeConnection, Rig, turns

NAMES = ("a", "b", "c")


async def subscribe_many(rig: Rig, client: FakeConnection, *channels: Any) -> list[Any]:
    """Ask for channels; return what comes, shortened."""
    await rig.send(client, "SUBSCRIBE", channels=list(channels))
    return [
        (name, args.get("channel_name"), *([args["msg"]] if name == "ERROR" else []))
        for name, args in client.took()
    ]


def asked(rig: Rig) -> list[Any]:
    """Return what the one webhook has asked for, and that there was no other."""
    calls = rig.site.took()
    assert [hook for hook, _ in calls] == ["subscribe_many"]
    return [
        (each["channel_name"], each["create"], each["subscribe"])
        for each in json.loads(calls[0][1]["channels"])
    ]


async def test_one_webhook_for_all(rig: Rig) -> None:
    alice = await rig.connect("alice", ack=True)
    rig.site.took()
    frames = await subscribe_many(rig, alice, *NAMES)
    assert frames == [*(("SUBSCRIBE", name) for name in NAMES), ("ACK", None)]
    assert asked(rig) == [(name, True, False) for name in NAMES]
    assert len(alice.packets) == 3  # CONNECTED, all snapshots in one, ACK
    bob = await rig.connect("bob")
    rig.site.took()
    await subscribe_many(rig, bob, "b", {"channel_name": "c"}, "d")
    assert asked(rig) == [("b", False, True), ("c", False, True), ("d", True, False)]
    assert list(rig.channels["c"].subscribers) == ["alice", "bob"]
    assert rig.reported() == []


async def test_what_needs_no_decision_makes_no_webhook(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    alice, bob = await rig.connect("alice", ack=True), await rig.connect("bob")
    await subscribe_many(rig, alice, *NAMES)
    assert [hook for hook, _ in rig.site.took()][-1:] == ["subscribe_many"]
    await subscribe_many(rig, bob, *NAMES)
    assert rig.site.took() == []
    # Again: nothing happens, and it is acknowledged.
    assert await subscribe_many(rig, alice, *NAMES) == [("ACK", None)]
    assert await subscribe_many(rig, alice) == [("ACK", None)]
    assert rig.site.took() == []
    events = [(e["event"], e["channel_name"], e["user"]) for e in rig.reported()]
    assert events == [("subscribe", name, user) for user in ("alice", "bob") for name in NAMES]


async def test_each_refusal_names_its_channel(rig: Rig) -> None:
    def create(form: Mapping[str, str]) -> Any:
        return Refusal("no such thing") if form["channel_name"] == "a" else {}

    def subscribe(form: Mapping[str, str]) -> Any:
        return Refusal("not you", "special") if form["channel_name"] == "b" else {}

    rig.site.answers.update(create_channel=create, subscribe=subscribe)
    alice = await rig.connect("alice", ack=True)
    await rig.send(alice, "SUBSCRIBE", channels=list(NAMES))
    snapshot, *errors, (ack, _) = alice.took()
    assert (snapshot[0], snapshot[1]["channel_name"], ack) == ("SUBSCRIBE", "c", "ACK")
    assert errors == [
        ("ERROR", {"id": 7, "msg": "no such thing", "code": "refused", "channel_name": "a"}),
        ("ERROR", {"id": 7, "msg": "not you", "code": "special", "channel_name": "b"}),
    ]
    assert list(rig.channels) == ["b", "c"]


async def test_what_the_site_grants_is_carried_out(rig: Rig) -> None:
    def subscribe(form: Mapping[str, str]) -> Any:
        if form["channel_name"] == "a":
            return {"initial_data": [1], "auto_subscribe": ["b", "extra"]}
        return {}

    rig.site.answers["subscribe"] = subscribe
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=["a", "b"])
    frames = alice.took()
    assert [(name, args["channel_name"]) for name, args in frames] == [
        ("SUBSCRIBE", "b"), ("SUBSCRIBE", "extra"), ("CHANNEL_INIT", "a"), ("SUBSCRIBE", "a"),
    ]  # fmt: skip
    assert frames[-1][1]["initial_data"] == [1]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"channels": []},
        {"channels": {"a": {"create": [True, {}]}}},
        {"channels": {"a": {"create": True}}},
        {"channels": {"a": {"create": [True, {}], "subscribe": [True]}}},
        {"channels": {"a": {"create": [True, {}], "subscribe": [True, 5]}}},
        {"channels": {"a": [True, {}]}},
        {"channels": {"a": {"create": [True, {"no_such": 1}]}}},
        WebhookFailed(),
    ],
)
async def test_an_unusable_answer_grants_nothing(rig: Rig, answer: Any) -> None:
    rig.site.answers["subscribe_many"] = answer
    rig.site.answers["subscribe"] = Refusal("asked again alone")
    alice = await rig.connect("alice", ack=True)
    frames = await subscribe_many(rig, alice, "a")
    assert [frame[:2] for frame in frames] == [("ERROR", "a"), ("ACK", None)]
    assert alice.user is not None
    assert alice.user.subscriptions == {}


async def test_the_limit_counts_each(make_rig: Any) -> None:
    rig = make_rig(max_channels_per_connection=2)
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "a")
    rig.site.took()
    assert await subscribe_many(rig, alice, "b", "c") == [
        ("SUBSCRIBE", "b"), ("ERROR", "c", "Too many channels (at most 2)"),
    ]  # fmt: skip
    assert asked(rig) == [("b", True, False)]
    assert "c" not in rig.channels


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"channels": "a"}, "channels must be a list"),
        ({"channels": None}, "channels must be a list"),
        ({"channels": [5]}, "channels must hold names, or objects with a channel_name"),
        ({"channels": [{}]}, "channels must hold names, or objects with a channel_name"),
        ({"channels": ["a"], "channel_name": "a"}, "channel_name and channels exclude each other"),
        ({"channels": ["a", "a"]}, "channels names a twice"),
        ({"channels": [""]}, "channel_name in channels"),
        ({"channels": [{"channel_name": "a", "since": 5}]}, "since of a must be a cursor"),
        ({"channels": [f"{n}" for n in range(257)]}, "channels has more than 256 members"),
        ({"channel_name": "a", "since": "x"}, "since must be a cursor"),
        ({"channel_name": "a", "since": {}}, "since must be a cursor"),
    ],
)
async def test_what_is_no_list_of_channels(rig: Rig, args: dict[str, Any], problem: str) -> None:
    alice = await rig.connect("alice", ack=True)
    await rig.send(alice, "SUBSCRIBE", **args)
    ((name, error),) = alice.took()
    assert name == "ERROR"
    assert problem in error["msg"]
    assert error["code"] in ("malformed", "limit")
    assert rig.channels == {}


async def test_a_site_that_knows_only_single_webhooks(rig: Rig) -> None:
    rig.site.accepted = frozenset()
    alice = await rig.connect("alice", ack=True)
    rig.site.took()
    frames = await subscribe_many(rig, alice, "a", "b")
    assert frames == [("SUBSCRIBE", "a"), ("SUBSCRIBE", "b"), ("ACK", None)]
    assert rig.site.names() == ["create_channel"] * 2 + ["subscribe"] * 2
    # One that does not answer is not asked for each of them.
    rig.site.answers["create_channel"] = WebhookFailed()
    frames = await subscribe_many(rig, alice, "c", {"channel_name": "a", "since": "x:0"}, "d")
    assert [frame[:2] for frame in frames] == [
        ("SUBSCRIBE", "a"), ("ERROR", "c"), ("ERROR", "d"), ("ACK", None),
    ]  # fmt: skip
    assert rig.site.names() == ["create_channel"]
    rig.site.answers["create_channel"] = {}
    rig.site.answers["subscribe"] = Refusal("session expired", "session_expired")
    frames = await subscribe_many(rig, alice, "e", "f")
    assert frames == [("ERROR", "e", "session expired")]
    assert alice.end == SESSION_EXPIRED
    assert rig.site.decided[:3] == ["create_channel", "create_channel", "subscribe"]
    assert rig.site.decided.count("subscribe") == 1


async def test_two_who_want_the_same_channels_do_not_wait_in_a_circle(rig: Rig) -> None:
    held = rig.site.hold("subscribe_many")
    clients = [await rig.connect(name) for name in ("alice", "bob", "alice", "carol")]
    orders = (("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a"), ("x", "a", "z"))
    for client, names in zip(clients, orders, strict=True):
        await rig.send(client, "SUBSCRIBE", channels=list(names))
    single = await rig.connect("dave")
    await rig.send(single, "SUBSCRIBE", channel_name="b")
    held.set()
    await turns(200)
    for client, names in zip(clients, orders, strict=True):
        assert client.user is not None
        assert set(client.user.subscriptions) >= set(names)
    # One created them all, and the others asked only for what was left to ask.
    created = [
        each["channel_name"]
        for hook, form in rig.site.took()
        if hook == "subscribe_many"
        for each in json.loads(form["channels"])
        if each["create"]
    ]
    assert sorted(created) == ["a", "b", "c", "x", "z"]


@pytest.mark.parametrize(
    ("names", "hook"),
    [(("alice", "bob", "carol"), "create_channel"), (("alice", "alice", "alice"), "subscribe")],
    ids=["channels", "turns"],
)
async def test_batches_that_wait_for_another_do_not_wait_for_each_other(
    rig: Rig, names: tuple[str, ...], hook: str
) -> None:
    """Each would get hold of what the other wants if they did not go in one order."""
    first, forth, back = [await rig.connect(name) for name in names]
    held = rig.site.hold(hook)
    await rig.send(first, "SUBSCRIBE", channel_name="b")
    await rig.send(forth, "SUBSCRIBE", channels=["a", "b", "c"])
    await rig.send(back, "SUBSCRIBE", channels=["c", "b", "a"])
    held.set()
    await turns(200)
    for client in (forth, back):
        assert client.user is not None
        assert set(client.user.subscriptions) == {"a", "b", "c"}


async def test_following_up_may_want_a_channel_of_the_batch(rig: Rig) -> None:
    """Holding a turn while a channel is waited for must not meet the opposite."""
    rig.site.answers["subscribe"] = lambda form: {"auto_subscribe": ["a", "b", "c"]}
    one, two = await rig.connect("alice"), await rig.connect("alice")
    await asyncio.gather(
        rig.send(one, "SUBSCRIBE", channels=["a", "b"]),
        rig.send(two, "SUBSCRIBE", channel_name="b"),
        rig.send(two, "SUBSCRIBE", channels=["c", "b", "a"]),
    )
    await turns(200)
    assert one.user is not None
    assert set(one.user.subscriptions) == {"a", "b", "c"}


async def test_a_channel_that_closes_while_others_are_followed_up(rig: Rig) -> None:
    def subscribe(form: Mapping[str, str]) -> Any:
        return Refusal("not any more") if form["channel_name"] == "a" else {"auto_subscribe": ["x"]}

    rig.site.answers["subscribe"] = subscribe
    await rig.rest("create_channel", channel_name="a", moderated="false")
    await rig.rest("create_channel", channel_name="b")
    held = rig.site.hold("create_channel")
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=["a", "b"])
    await rig.rest("set_channel_options", channel_name="a", moderated="true")
    held.set()
    await turns()
    frames = [(name, args["channel_name"]) for name, args in alice.took()]
    assert frames == [("SUBSCRIBE", "x"), ("SUBSCRIBE", "b"), ("ERROR", "a")]


async def test_code_publishes_to_a_channel_that_a_batch_creates(rig: Rig) -> None:
    """No REST call waits for the webhook: a receiver of its signal may make it."""
    held = rig.site.hold("subscribe_many")
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=["a", "b"])
    answer = await rig.rest("publish", channel_name="a", options='{"history_size": 2}')
    assert answer["offset"] == 1
    held.set()
    await turns()
    (args,) = [args for name, args in alice.took() if args["channel_name"] == "a"][-1:]
    assert args["offset"] == 1
    assert rig.channels["a"].options.history_size == 2


async def test_a_client_that_goes_meanwhile_is_in_nothing(rig: Rig) -> None:
    held = rig.site.hold("subscribe_many")
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=["a", "b"])
    await rig.leave(alice)
    held.set()
    await turns()
    assert not any(channel.subscribers for channel in rig.channels.values())


async def test_a_channel_destroyed_meanwhile(rig: Rig) -> None:
    bob = await rig.connect("bob")
    await rig.subscribe(bob, "a")
    held = rig.site.hold("subscribe_many")
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=["a", "b"])
    await rig.rest("destroy_channel", channel_name="a")
    held.set()
    await turns()
    frames = {args["channel_name"]: name for name, args in alice.took()}
    assert frames == {"a": "ERROR", "b": "SUBSCRIBE"}


# ---- catching up ------------------------------------------------------------------------------


async def cursor(rig: Rig, channel: str) -> str:
    return str((await rig.rest("cursor", channel_name=channel))["cursor"])


async def test_who_comes_back_gets_what_was_missed(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 5}
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "a")
    await rig.rest("publish", channel_name="a", payload="1")
    seen = await cursor(rig, "a")
    await turns()
    await rig.leave(alice)
    assert rig.channels == {}
    await rig.rest("publish", channel_name="a", payload="2", options='{"history_size": 5}')
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channels=[{"channel_name": "a", "since": seen}])
    args = alice.took()[-1][1]
    assert [each["payload"] for each in args["recovered"]] == [2]
    assert (args["missed"], args["offset"]) == (0, 2)


async def test_a_connection_that_is_in_by_another_catches_up_without_a_webhook(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 5}
    await rig.subscribe(await rig.connect("alice"), "a")
    seen = await cursor(rig, "a")
    await rig.rest("publish", channel_name="a", payload="1")
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="", payload='"alice"')
    (_, (name, args)) = client.took()
    assert name == "SUBSCRIBE"
    assert "recovered" not in args
    rig.site.took()
    await rig.send(client, "SUBSCRIBE", channel_name="a", since=seen)
    ((name, args),) = client.took()
    assert [each["payload"] for each in args["recovered"]] == [1]
    await rig.send(client, "SUBSCRIBE", channel_name="a")
    assert client.took() == []
    assert rig.site.calls == []


async def test_a_batch_counts_as_many_frames(make_rig: Any) -> None:
    rig = make_rig(max_frames_per_second=1)
    alice = await rig.connect("alice")
    await subscribe_many(rig, alice, *(f"{number}" for number in range(20)))
    await rig.send(alice, "UNSUBSCRIBE", channel_name="1")
    assert alice.took() == []  # a bucket of ten seconds is empty
    assert "alice" in rig.channels["1"].subscribers
    await rig.leave(alice)


async def test_the_sender_learns_its_place(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 5, "reflective": False}
    alice, bob = await rig.connect("alice", ack=True), await rig.connect("bob")
    await rig.send(alice, "SUBSCRIBE", channel_name="a")
    await rig.subscribe(bob, "a")
    alice.took()
    stream = rig.channels["a"].stream
    assert stream is not None
    for answer in ({"offset": 1, "epoch": stream.epoch}, {"offset": 2}):
        await rig.send(alice, "PUBLISH", channel_name="a", payload="2")
        assert alice.took() == [("ACK", {"id": 7, **answer})]
    assert [args["offset"] for _, args in bob.took()] == [1, 2]


async def test_a_heartbeat_is_answered_at_once(rig: Rig) -> None:
    client = rig.client()
    await rig.send(client, "PING")
    assert client.took() == [("ACK", {"id": 7})]
    alice = await rig.connect("alice")
    before = rig.server.metrics.messages_in
    held = rig.site.hold("create_channel")
    await rig.send(alice, "SUBSCRIBE", channel_name="a")
    await rig.send(alice, "PING")
    assert alice.took() == [("ACK", {"id": 7})]
    assert rig.server.metrics.messages_in == before + 1
    held.set()
    await turns()
    assert alice.names() == ["SUBSCRIBE"]


@pytest.mark.parametrize("frame", [{"channel_name": "a"}, {"channels": ["a", "b"]}])
async def test_a_session_that_has_ended_ends_its_connections(
    rig: Rig, frame: dict[str, Any]
) -> None:
    rig.site.answers["connect"] = {"identity": "session:1"}
    alice, other = await rig.connect("alice"), await rig.connect("alice")
    rig.site.answers["connect"] = {"identity": "session:2"}
    bob = await rig.connect("bob")
    expired = Refusal("session expired", "session_expired")
    rig.site.answers["subscribe_many"] = rig.site.answers["create_channel"] = expired
    await rig.send(alice, "SUBSCRIBE", **frame)
    assert alice.took()[0][1]["code"] == "session_expired"
    for client in (alice, other):
        assert client.end is not None
        assert (client.end.code, client.end.reason) == (4000, "session expired")
    assert bob.end is None


# ---- pages that subscribe for themselves ------------------------------------------------------

APART = {"ack": True, "per_connection_subscriptions": True}


async def test_the_site_hears_once_that_a_user_with_two_pages_leaves(rig: Rig) -> None:
    one, two = await rig.connect("alice", **APART), await rig.connect("alice", **APART)
    for page in (one, two):
        await rig.subscribe_and_forget(page)
    rig.site.took()
    await rig.send(one, "UNSUBSCRIBE", channel_name="room")
    assert one.names() == ["UNSUBSCRIBE", "ACK"]
    assert two.names() == []
    assert rig.site.took() == []
    await rig.send(one, "UNSUBSCRIBE", channel_name="room")
    assert one.names() == ["ACK"], "it is out"
    await rig.send(two, "UNSUBSCRIBE", channel_name="room")
    assert two.names() == ["UNSUBSCRIBE", "ACK"]
    assert rig.site.names() == ["unsubscribe", "destroy_channel"]


async def test_what_is_not_moderated_is_reported_once(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    one, two = await rig.connect("alice", **APART), await rig.connect("alice", **APART)
    await rig.subscribe_and_forget(one)
    assert await subscribe_many(rig, two, "room", "other") == [
        ("SUBSCRIBE", "room"), ("SUBSCRIBE", "other"), ("ACK", None),
    ]  # fmt: skip
    await rig.send(one, "UNSUBSCRIBE", channel_name="room")
    await rig.send(two, "UNSUBSCRIBE", channel_name="room")
    seen = [(each["event"], each["channel_name"]) for each in rig.reported()]
    assert seen == [("subscribe", "room"), ("subscribe", "other"), ("unsubscribe", "room")]


async def test_a_page_that_leaves_may_come_back_while_another_is_there(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 5}
    one, two = await rig.connect("alice", **APART), await rig.connect("alice", **APART)
    for page in (one, two):
        await rig.subscribe_and_forget(page)
    await rig.send(one, "UNSUBSCRIBE", channel_name="room")
    await rig.send(two, "PUBLISH", channel_name="room", payload="1")
    one.took()
    epoch = rig.channels["room"].stream.epoch  # type: ignore[union-attr]
    await rig.send(one, "SUBSCRIBE", channel_name="room", since=f"{epoch}:0")
    args = next(args for name, args in one.took() if name == "SUBSCRIBE")
    assert [each["payload"] for each in args["recovered"]] == [1]
