"""Several nodes on one Redis: what clients and the site see must be what one node shows."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from djhookbox.server.core.stream import Position
from djhookbox.server.engine.redis.connecting import open_connection
from djhookbox.wire.closing import NORMAL
from djhookbox.wire.engines import parse
from djhookbox.wire.replies import Refused

from ..redis_server import RedisServer
from .nodes import Node, eventually
from .rig import FakeConnection


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[tuple[Node, Node]]:
    one, two = Node(redis.url), Node(redis.url)
    await one.start()
    await two.start()
    for node in (one, two):
        await node.redis.nodes.beat_once()
    yield one, two
    await one.stop()
    await two.stop()
    one.check()
    two.check()


Pair = tuple[Node, Node]


async def settle(pair: Pair) -> None:
    for _ in range(3):
        for node in pair:
            await node.settle()


def options(pair: Pair, **given: Any) -> None:
    for node in pair:
        node.site.answers["create_channel"] = given


def frames(client: FakeConnection, *names: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, args) for name, args in client.took() if not names or name in names]


async def subscribe(
    pair: Pair, node: Node, client: FakeConnection, room: str = "room", **args: Any
) -> dict[str, Any]:
    """Subscribe, and return the snapshot."""
    await node.send(client, "SUBSCRIBE", channel_name=room, **args)
    await settle(pair)
    found = [a for n, a in client.took() if n == "SUBSCRIBE" and "history" in a]
    assert found, "it has not been subscribed"
    return found[-1]


async def test_what_both_publish_all_receive_in_one_order(pair: Pair) -> None:
    one, two = pair
    options(pair, history_size=5, presenceful=True)
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await subscribe(pair, one, alice)
    snapshot = await subscribe(pair, two, bob)
    assert snapshot["presence"] == ["alice", "bob"]
    assert [(n, a.get("user")) for n, a in alice.took()] == [("SUBSCRIBE", "bob")]
    for number in range(5):
        await one.send(alice, "PUBLISH", channel_name="room", payload=f"[1,{number}]")
        await two.send(bob, "PUBLISH", channel_name="room", payload=f"[2,{number}]")
    await settle(pair)
    seen = [[(a["payload"], a["offset"]) for _, a in frames(c, "PUBLISH")] for c in (alice, bob)]
    assert seen[0] == seen[1]
    assert [offset for _, offset in seen[0]] == list(range(1, 11))
    streams = [node.channels["room"].stream for node in pair]
    assert streams[0] is not None
    assert streams[1] is not None
    assert streams[0].position == streams[1].position
    assert list(streams[0].publications) == list(streams[1].publications)


async def test_the_second_node_takes_options_state_and_history_of_the_first(pair: Pair) -> None:
    one, two = pair
    state = {"z": 1, "a": [], "n": {"big": 12345678901234567890}, "\ud800": True}
    options(pair, history_size=9, presenceful=True, state=state, reflective=False)
    alice = await one.connect("alice")
    first = await subscribe(pair, one, alice)
    await one.send(alice, "PUBLISH", channel_name="room", payload='{"deep": [[], {}]}')
    await one.rest("state_set_key", channel_name="room", key="a", val="2")
    await one.rest("state_set_key", channel_name="room", key="new", val="null")
    await one.rest("state_delete_key", channel_name="room", key="z")
    options(pair, history_size=1)  # which nobody is asked for
    bob = await two.connect("bob")
    snapshot = await subscribe(pair, two, bob)
    assert snapshot["epoch"] == first["epoch"]
    assert list(snapshot["state"].items()) == [
        ("a", 2), ("n", {"big": 12345678901234567890}), ("\ud800", True), ("new", None)
    ]  # fmt: skip
    assert snapshot["history_size"] == 9
    assert [kind for kind, _ in snapshot["history"]] == ["SUBSCRIBE", "PUBLISH"]
    assert snapshot["history"][1][1]["payload"] == {"deep": [[], {}]}
    local = one.channels["room"].history_list(one.server.runtime.clock())
    assert local[:2] == snapshot["history"]
    assert not two.channels["room"].options.reflective


async def test_the_sender_is_excluded_on_its_own_node(pair: Pair) -> None:
    one, two = pair
    options(pair, reflective=False)
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await subscribe(pair, one, alice)
    await subscribe(pair, two, bob)
    alice.took()
    await one.send(alice, "PUBLISH", channel_name="room", payload="1")
    await settle(pair)
    assert frames(alice, "PUBLISH") == []
    assert len(frames(bob, "PUBLISH")) == 1


async def test_delivered_counts_the_connections_of_all_nodes(pair: Pair) -> None:
    one, two = pair
    options(pair)
    clients = [
        (node, await node.connect(name)) for node, name in ((one, "a"), (two, "b"), (two, "c"))
    ]
    for node, client in clients:
        await subscribe(pair, node, client)
    for node in pair:
        answer = await node.rest("publish", channel_name="room", payload="1")
        assert answer["delivered"] == 3
    await two.leave(clients[2][1])
    await settle(pair)
    assert (await one.rest("publish", channel_name="room", payload="1"))["delivered"] == 2


async def test_options_changed_on_one_node_apply_on_both(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await subscribe(pair, one, alice)
    await subscribe(pair, two, bob)
    await two.rest("set_channel_options", channel_name="room", anonymous="true", history_size="3")
    await settle(pair)
    for node in pair:
        assert node.channels["room"].options.anonymous
        assert node.channels["room"].options.history_size == 3
    first, second = (node.channels["room"].stream for node in pair)
    assert first is not None
    assert second is not None
    assert first.epoch == second.epoch
    await one.send(alice, "PUBLISH", channel_name="room", payload="1")
    await settle(pair)
    assert all("user" not in args for _, args in frames(bob, "PUBLISH"))
    await one.rest("set_channel_options", channel_name="room", reflective="false")
    await two.rest("set_channel_options", channel_name="room", history_size="4")
    await settle(pair)
    for node in pair:
        found = node.channels["room"].options
        assert (found.reflective, found.history_size) == (False, 4)


async def test_a_client_catches_up_on_the_other_node(pair: Pair) -> None:
    one, two = pair
    options(pair, history_size=10)
    alice = await one.connect("alice")
    first = await subscribe(pair, one, alice)
    keeper = await one.connect("keeper")
    await subscribe(pair, one, keeper)
    for number in range(4):
        await one.send(keeper, "PUBLISH", channel_name="room", payload=str(number))
    await one.leave(alice)
    again = await two.connect("alice")
    since = str(Position(first["epoch"], 2))
    snapshot = await subscribe(pair, two, again, since=since)
    assert [each["payload"] for each in snapshot["recovered"]] == [2, 3]
    assert snapshot["missed"] == 0


async def test_streams_outlive_all_nodes(redis: RedisServer) -> None:
    first = Node(redis.url)
    await first.start()
    first.site.answers["create_channel"] = {"history_size": 5, "history_duration": 60}
    answer = await first.rest(
        "publish", channel_name="room", payload="1", options='{"history_size": 5}'
    )
    await first.stop()
    second = Node(redis.url)
    await second.start()
    second.site.answers["create_channel"] = {"history_size": 5, "history_duration": 60}
    client = await second.connect("alice")
    await second.send(client, "SUBSCRIBE", channel_name="room", since=f"{answer['epoch']}:0")
    snapshot = client.took()[-1][1]
    assert [each["payload"] for each in snapshot["recovered"]] == [1]
    await second.stop()


async def test_a_quiet_inbox_is_not_lost(redis: RedisServer) -> None:
    """By default, redis-py gives up reading after a few seconds."""
    connection = await open_connection(parse(redis.url))
    assert connection.socket_timeout is None  # type: ignore[attr-defined]
    await connection.disconnect(nowait=True)


# ---- users -------------------------------------------------------------------


async def test_a_user_of_two_nodes_is_there_once_and_leaves_once(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    watcher = await one.connect("watcher")
    await subscribe(pair, one, watcher)
    first, second = await one.connect("alice"), await two.connect("alice")
    await subscribe(pair, one, first)
    # The subscription is for all connections of the user, on any node.
    assert [n for n, _ in frames(second, "SUBSCRIBE")] == ["SUBSCRIBE"]
    assert [(n, a["user"]) for n, a in frames(watcher, "SUBSCRIBE", "UNSUBSCRIBE")] == [
        ("SUBSCRIBE", "alice")
    ]
    one.site.took()
    two.site.took()
    await one.leave(first)
    await settle(pair)
    assert frames(watcher, "UNSUBSCRIBE") == []
    assert "unsubscribe" not in one.site.names() + two.site.names()
    await two.leave(second)
    await settle(pair)
    assert [(n, a["user"]) for n, a in frames(watcher, "SUBSCRIBE", "UNSUBSCRIBE")] == [
        ("UNSUBSCRIBE", "alice")
    ]
    hooks = two.site.names()
    assert hooks.count("unsubscribe") == 1
    assert hooks.count("disconnect") == 1
    assert list(one.channels["room"].subscribers) == ["watcher"]


async def test_the_disconnect_webhook_is_for_the_last_connection_of_all_nodes(pair: Pair) -> None:
    one, two = pair
    first, second = await one.connect("alice"), await two.connect("alice")
    await one.leave(first)
    await settle(pair)
    assert "disconnect" not in one.site.names()
    await two.leave(second)
    await settle(pair)
    assert "disconnect" in two.site.names()


async def test_a_new_connection_on_another_node_joins_the_channels_of_its_user(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True, history_size=3)
    first = await one.connect("alice")
    await subscribe(pair, one, first)
    second = two.client()
    await two.send(second, "CONNECT", cookie_string="", payload='"alice"')
    await settle(pair)
    assert [n for n, _ in second.took()] == ["CONNECTED", "SUBSCRIBE"]
    await one.leave(first)
    await settle(pair)
    assert list(two.channels["room"].subscribers) == ["alice"]
    await two.send(second, "PUBLISH", channel_name="room", payload="1")
    assert len(frames(second, "PUBLISH")) == 1


async def test_unsubscribing_concerns_all_connections_of_the_user(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    watcher = await two.connect("watcher")
    await subscribe(pair, two, watcher)
    first, second = await one.connect("alice"), await two.connect("alice")
    await subscribe(pair, one, first)
    second.took()
    watcher.took()
    await two.send(second, "UNSUBSCRIBE", channel_name="room")
    await settle(pair)
    assert len(frames(first, "UNSUBSCRIBE")) == 1
    assert len(frames(second, "UNSUBSCRIBE")) == 1
    assert len(frames(watcher, "UNSUBSCRIBE")) == 1
    for node in pair:
        assert "alice" not in node.channels["room"].subscribers
    third = await one.connect("alice")
    await settle(pair)
    assert frames(third, "SUBSCRIBE") == []


async def test_code_subscribes_and_unsubscribes_users_of_other_nodes(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    first, second = await one.connect("alice"), await two.connect("alice")
    bob = await two.connect("bob")
    await one.rest("subscribe", channel_name="room", name="bob", options='{"presenceful": true}')
    await two.rest("subscribe", channel_name="room", name="alice")
    await settle(pair)
    for client in (first, second, bob):
        assert any("history" in a for n, a in client.took() if n == "SUBSCRIBE")
    info = await one.rest("get_user_info", user_name="bob")
    assert (info["connections"], info["channels"]) == (1, ["room"])
    assert (await one.rest("get_user_info", user_name="alice"))["connections"] == 2
    await one.rest("unsubscribe", channel_name="room", name="bob", reason="gone")
    await settle(pair)
    assert frames(bob, "UNSUBSCRIBE")[0][1]["reason"] == "gone"
    assert list(one.channels["room"].subscribers) == ["alice"]


async def test_messages_reach_users_on_any_node(pair: Pair) -> None:
    one, two = pair
    for node in pair:
        node.site.answers["connect"] = lambda form: {"moderated_message": False}
    alice, again = await one.connect("alice"), await two.connect("alice")
    bob, both = await two.connect("bob"), await one.connect("bob")
    await one.send(alice, "MESSAGE", name="bob", payload='"hi"')
    await settle(pair)
    for client in (bob, both, alice, again):
        ((_, args),) = frames(client, "MESSAGE")
        assert (args["sender"], args["recipient"], args["payload"]) == ("alice", "bob", "hi")
    answer = await one.rest("message", sender_name="x", recipient_name="bob", payload="1")
    assert answer["delivered"] == 2
    with pytest.raises(Exception, match="doesn't exist"):
        await one.rest("message", sender_name="x", recipient_name="nobody", payload="1")


async def test_connections_are_closed_on_all_nodes(pair: Pair) -> None:
    one, two = pair
    first, second = await one.connect("alice"), await two.connect("alice")
    answer = await one.rest("disconnect", name="alice")
    assert answer["disconnected"] == 2
    assert first.closed
    assert second.closed
    answer = await one.rest("disconnect", name="nobody")
    assert answer == {"disconnected": 0}


async def test_an_ended_session_ends_on_all_nodes(pair: Pair) -> None:
    one, two = pair
    for node in pair:
        node.site.answers["connect"] = lambda form: {"identity": "session-1"}
    first, second = await one.connect("alice"), await two.connect("alice")
    one.site.answers["subscribe"] = Refused("over", "session_expired")
    one.site.answers["create_channel"] = Refused("over", "session_expired")
    await one.send(first, "SUBSCRIBE", channel_name="room")
    await eventually(lambda: first.closed and second.closed)


async def test_policies_are_rechecked_on_all_nodes(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await subscribe(pair, one, alice)
    await subscribe(pair, two, bob)

    def refuse(form: Any) -> Any:
        asked = json.loads(form["channels"])
        return {"channels": {
            name: {"refused": dict.fromkeys(users, "no more")} for name, users in asked.items()
        }}  # fmt: skip

    for node in pair:
        node.site.answers["recheck"] = refuse
    answer = await one.rest("recheck", patterns='["room"]')
    assert answer["subscriptions"] == 2
    await eventually(lambda: not one.channels.get("room") or not one.channels["room"].subscribers)
    await settle(pair)
    for client in (alice, bob):
        assert frames(client, "UNSUBSCRIBE")[-1][1].get("reason") == "no more"


async def test_user_options_of_the_latest_connect_apply_on_all_nodes(pair: Pair) -> None:
    one, two = pair
    await one.connect("alice")
    two.site.answers["connect"] = lambda form: {"reflective": False}
    await two.connect("alice")
    await settle(pair)
    assert not one.hub.users["alice"].options.reflective
    await two.rest("set_user_options", user_name="alice", reflective="true")
    assert one.hub.users["alice"].options.reflective


async def test_states_show_who_is_connected_to_any_node(pair: Pair) -> None:
    one, two = pair
    options(pair, server_presenceful=True, server_user_presence=["bob"])
    alice = await one.connect("alice")
    await subscribe(pair, one, alice)
    for node in pair:
        assert node.cluster is not None
        await node.cluster.watch_now(node.server.runtime.clock())
    await eventually(lambda: one.channels["room"].state.get("bob") is False)
    first = await two.connect("bob")
    await eventually(lambda: one.channels["room"].state.get("bob") is True)
    second = await one.connect("bob")
    await two.leave(first)
    await settle(pair)
    assert one.channels["room"].state["bob"] is True
    await one.leave(second)
    await eventually(lambda: one.channels["room"].state.get("bob") is False)


# ---- channels ----------------------------------------------------------------


async def test_rest_works_on_the_node_that_does_not_have_the_channel(pair: Pair) -> None:
    one, two = pair
    options(pair, presenceful=True)
    alice = await one.connect("alice")
    await subscribe(pair, one, alice)
    assert (await two.rest("get_channel_info", channel_name="room"))["subscribers"] == ["alice"]
    with pytest.raises(Exception, match="exists already"):
        await two.rest("create_channel", channel_name="room")
    await two.rest("state_set_key", channel_name="room", key="k", val="1")
    await settle(pair)
    assert frames(alice, "STATE_UPDATE")[0][1]["updates"] == {"k": 1}
    await two.rest("destroy_channel", channel_name="room")
    await settle(pair)
    assert len(frames(alice, "UNSUBSCRIBE")) == 1
    assert "room" not in one.channels
    with pytest.raises(Exception, match="doesn't exist"):
        await one.rest("get_channel_info", channel_name="room")


async def test_true_is_a_size_of_a_history(pair: Pair) -> None:
    one, two = pair
    options(pair, history_size=True, history_duration=True)
    await subscribe(pair, one, await one.connect("alice"))
    await two.rest("set_channel_options", channel_name="room", history_size="true")
    for node in pair:
        shown = (await node.rest("get_channel_info", channel_name="room"))["options"]
        assert (shown["history_size"], shown["history_duration"]) == (True, True)


async def test_a_channel_has_the_connections_of_all_nodes(pair: Pair) -> None:
    one, two = pair
    options(pair)
    for node, name in ((one, "alice"), (two, "bob"), (two, "carol")):
        await subscribe(pair, node, await node.connect(name))
    for node in pair:
        assert (await node.rest("get_channel_info", channel_name="room"))["connections"] == 3


async def test_the_configuration_is_changed_on_all_nodes(redis: RedisServer) -> None:
    one, two = Node(redis.url, allow_set_config=True), Node(redis.url, allow_set_config=True)
    for node in (one, two):
        await node.start()
    await one.rest("set_config", cbpath='"/elsewhere"')
    for node in (one, two):
        assert node.server.runtime.webhooks.config.webhook_url.endswith("/elsewhere")
        await node.stop()


@pytest.mark.parametrize("published", [0, 1, 2, 3], ids=str)
async def test_connections_on_two_nodes_see_the_same_history_when_their_user_arrives(
    pair: Pair, published: int
) -> None:
    one, two = pair
    options(pair, presenceful=True, history_size=2)
    await subscribe(pair, one, await one.connect("carol"))
    for number in range(published):
        await one.rest("publish", channel_name="room", payload=str(number))
    await settle(pair)
    here, there = await one.connect("alice"), await two.connect("alice")
    await one.send(here, "SUBSCRIBE", channel_name="room")
    await settle(pair)
    seen = frames(here, "CHANNEL_INIT", "SUBSCRIBE")
    shown = [data.get("payload", data.get("user")) for _, data in seen[-1][1]["history"]]
    assert shown == ["carol", *range(published)][-2:]
    assert frames(there, "CHANNEL_INIT", "SUBSCRIBE") == seen


async def test_the_last_to_leave_destroys_the_channel_on_all_nodes(pair: Pair) -> None:
    one, two = pair
    options(pair)
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await subscribe(pair, one, alice)
    await subscribe(pair, two, bob)
    await one.leave(alice)
    await settle(pair)
    assert "room" in one.channels
    await two.leave(bob)
    await settle(pair)
    assert "room" not in two.channels
    assert "room" not in one.channels
    assert (one.site.names() + two.site.names()).count("destroy_channel") == 1


async def test_a_key_makes_a_publication_once_whichever_node_it_reaches(pair: Pair) -> None:
    one, two = pair
    options(pair, history_size=5)
    alice = await one.connect("alice")
    await subscribe(pair, one, alice)
    form = {"channel_name": "room", "payload": "1", "key": "order-7"}
    first = await one.rest("publish", **form)
    second = await two.rest("publish", **form)
    await settle(pair)
    assert (first["epoch"], first["offset"]) == (second["epoch"], second["offset"])
    assert len(frames(alice, "PUBLISH")) == 1


async def test_names_cannot_reach_into_each_other(pair: Pair) -> None:
    one, two = pair
    options(pair, history_size=2)
    names = [
        "a", "a:m", "1:a", "room:m", "}{a", "*", "ü€\U0001f600", "c:1:a", " ", "%s", "a;b,c",
        "$1", "*3",
        "'", '"', "\\", "..", "-1", "]]", "[^a]?", "\u202e\u0301", "life", "nodes", "x" * 255,
        f"n:{one.redis.node}", f"i:{two.redis.node}",
    ]  # fmt: skip
    alice, bob = await one.connect("a:1"), await two.connect("n*;,")
    for name in names:
        await subscribe(pair, one, alice, name)
        await subscribe(pair, two, bob, name)
    bob.took()
    for name in names:
        await one.send(alice, "PUBLISH", channel_name=name, payload=json.dumps(name))
    await settle(pair)
    received = [(a["channel_name"], a["payload"], a["offset"]) for _, a in frames(bob, "PUBLISH")]
    assert received == [(name, name, 1) for name in names]
    for name in names:
        assert list(two.channels[name].subscribers) == ["a:1", "n*;,"]
    keys = [*names, "\0", "a\nb", "\r\n$1\r\n", "1.000001;", "\ud800"]
    for key in keys:
        await one.rest("state_set_key", channel_name="a", key=key, val=json.dumps(key))
    await settle(pair)
    assert list(two.channels["a"].state.items()) == [(key, key) for key in keys]


async def test_reserved_channels_never_enter_redis(pair: Pair, redis: RedisServer) -> None:
    one, _ = pair
    alice = await one.connect("alice")
    await subscribe(pair, one, alice, "djhookbox:server")
    assert one.redis.replicas == {}


async def test_nothing_remains_in_redis_but_streams_that_are_kept(redis: RedisServer) -> None:
    one, two = Node(redis.url), Node(redis.url)
    for node in (one, two):
        await node.start()
        node.site.answers["create_channel"] = {"presenceful": True, "state": {"a": 1}}
    clients = [
        (node, await node.connect(name))
        for node, name in zip((one, one, two, two), "abcd", strict=True)
    ]
    for node, client in clients:
        await subscribe((one, two), node, client)
        await subscribe((one, two), node, client, "other")
    for _, client in clients:
        client.lost(NORMAL)
    await settle((one, two))
    await one.stop()
    await two.stop()
    keys = await keys_of(redis)
    # Results by operation key expire soon.
    assert {key for key in keys if not key.startswith(b"hookbox:o:")} <= {b"hookbox:life"}


async def test_streams_that_are_kept_expire(redis: RedisServer) -> None:
    node = Node(redis.url)
    await node.start()
    node.site.answers["create_channel"] = {"history_size": 5, "history_duration": 60}
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    await node.rest("publish", channel_name="room", payload="1")
    client.lost(NORMAL)
    await eventually(lambda: not node.channels)
    await node.stop()
    room = b"hookbox:c:4:room:"
    keys = [key for key in await keys_of(redis) if not key.startswith(b"hookbox:o:")]
    assert keys == [room + b"l", room + b"o", b"hookbox:life"]
    # None outlives everything; the publications go after the duration of the history.
    for key in await keys_of(redis):
        remaining = int(redis.command("PTTL", key.decode()).removeprefix(b":"))
        assert 0 < remaining <= (61_000 if key.startswith(room) else 86_400_000), key


async def keys_of(redis: RedisServer) -> list[bytes]:
    from redis.asyncio import Redis

    client = Redis.from_url(redis.url)
    try:
        return sorted(await client.keys("*"))
    finally:
        await client.aclose()


async def test_each_node_describes_all(pair: Pair) -> None:
    one, two = pair
    await one.connect("alice")
    for node in (*pair, *pair):
        await node.redis.nodes.beat_once()
    for node in pair:
        info = await node.rest("get_server_info")
        assert {known["id"] for known in info["nodes"]} == {one.redis.node, two.redis.node}
        assert sum(known["connections"] for known in info["nodes"]) == 1
        assert all(known["pid"] == os.getpid() for known in info["nodes"])
        assert all(known["round_trip"] > 0 for known in info["nodes"])
        assert all(known["snapshots_reloaded"] == 0 for known in info["nodes"])


async def test_the_node_that_answers_counts_anew(pair: Pair) -> None:
    one, two = pair
    for node in pair:
        await node.redis.nodes.beat_once()
    await one.connect("alice")
    info = await one.rest("get_server_info")
    counted = {known["id"]: known["connections"] for known in info["nodes"]}
    assert counted == {one.redis.node: info["connections"], two.redis.node: 0}
    assert info["connections"] == 1
