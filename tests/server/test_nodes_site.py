"""The site's decisions apply on all nodes: polling, permissions, tokens and subscriptions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from djhookbox.server.channels import pollers
from djhookbox.wire.closing import TOKEN_SPENT
from djhookbox.wire.replies import Refused

from ..redis_server import RedisServer
from .nodes import Node, eventually
from .setups import Group
from .test_pollers import Source, source  # noqa: F401


@asynccontextmanager
async def nodes(url: str, **config: Any) -> AsyncIterator[tuple[Group, Node, Node]]:
    one, two = (Node(url, **config) for _ in range(2))
    group = await Group([one, two]).start()
    yield group, one, two
    for node in (one, two):
        await node.server.channels.pollers.stop()
    await group.stop()
    group.check()


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[tuple[Group, Node, Node]]:
    async with nodes(redis.url) as found:
        yield found


Pair = tuple[Group, Node, Node]


@pytest.mark.parametrize("mode", ["simple", "once"])
async def test_one_node_polls(
    redis: RedisServer,
    source: Source,  # noqa: F811
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pollers, "POLLER_SECONDS", 0.0)
    source.answers[:] = ["1"] if mode == "simple" else ['[true, {"payload": 1}]']
    polling = {"mode": mode, "url": source.url, "interval": 0.1, "originator": "ticker"}
    async with nodes(redis.url, polling_hosts=("127.0.0.1",)) as (group, one, two):
        group.answers("create_channel", {"moderated": False, "polling": polling})
        alice, bob = await one.connect("alice"), await two.connect("bob")
        await one.send(alice, "SUBSCRIBE", channel_name="room")
        if mode == "once":  # the second node comes when all is done
            await eventually(lambda: not one.server.channels.pollers._tasks)
        await two.send(bob, "SUBSCRIBE", channel_name="room")
        if mode == "once":
            await eventually(lambda: not two.server.channels.pollers._tasks)
            assert len(source.asked) == 1
            again = json.dumps({"originator": "again"})
            await two.rest("set_channel_options", channel_name="room", polling=again)
            await eventually(
                lambda: (
                    not two.server.channels.pollers._tasks
                    and not one.server.channels.pollers._tasks
                )
            )
            assert len(source.asked) == 2
            return
        bob.took()
        await eventually(lambda: len(bob.frames) >= 5)
        for node in (one, two):
            await node.server.channels.pollers.stop()
        await group.settle()
        # What one node has fetched, both have sent; nobody else fetched anything.
        assert abs(len(source.asked) - alice.names().count("PUBLISH")) <= 1


async def test_moderated_channels_ask_the_site_on_any_node(pair: Pair) -> None:
    group, one, two = pair
    group.answers("create_channel", {"moderated_publish": True, "presenceful": True})
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await one.send(alice, "SUBSCRIBE", channel_name="room")
    two.site.answers["subscribe"] = Refused("not you")
    await two.send(bob, "SUBSCRIBE", channel_name="room")
    await group.settle()
    assert [(name, args["msg"]) for name, args in bob.took()] == [("ERROR", "not you")]
    assert list(one.channels["room"].subscribers) == ["alice"]
    del two.site.answers["subscribe"]
    await two.send(bob, "SUBSCRIBE", channel_name="room")
    two.site.answers["publish"] = {"override_payload": "decided"}
    alice.took()
    await two.send(bob, "PUBLISH", channel_name="room", payload='"said"')
    await group.settle()
    assert [args["payload"] for name, args in alice.took() if name == "PUBLISH"] == ["decided"]
    two.site.answers["publish"] = Refused("be quiet")
    await two.send(bob, "PUBLISH", channel_name="room", payload='"said"')
    await group.settle()
    assert alice.took() == []


async def test_auto_subscribe_joins_channels_of_other_nodes(pair: Pair) -> None:
    group, one, two = pair
    group.answers("create_channel", {"presenceful": True, "history_size": 2})
    alice = await one.connect("alice")
    await one.send(alice, "SUBSCRIBE", channel_name="room")
    alice.took()
    two.site.answers["connect"] = {"name": "bob", "auto_subscribe": ["room", "new"]}
    bob = two.client()
    await two.send(bob, "CONNECT", cookie_string="")
    await group.settle()
    assert [(n, a["user"]) for n, a in alice.took()] == [("SUBSCRIBE", "bob")]
    snapshots = [a for n, a in bob.took() if n == "SUBSCRIBE" and "presence" in a]
    assert {a["channel_name"]: a["presence"] for a in snapshots} == {
        "room": ["alice", "bob"], "new": ["bob"],
    }  # fmt: skip


async def test_anonymous_channels_name_nobody_on_any_node(pair: Pair) -> None:
    group, one, two = pair
    group.answers("create_channel", {"anonymous": True, "history_size": 5})
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await one.send(alice, "SUBSCRIBE", channel_name="room")
    await one.send(alice, "PUBLISH", channel_name="room", payload="1")
    await two.send(bob, "SUBSCRIBE", channel_name="room")
    await two.send(bob, "PUBLISH", channel_name="room", payload="2")
    await group.settle()
    others = [json.dumps(frame) for frame in alice.took()]
    assert sum('"PUBLISH"' in text for text in others) == 2
    assert not any("bob" in text for text in others)
    assert not any("alice" in json.dumps(frame) for frame in bob.took())


async def test_a_token_for_one_connection_is_used_on_one_node(pair: Pair) -> None:
    group, one, two = pair
    group.answers("connect", {"name": "alice", "single_use": 60})
    first, second = one.client(), two.client()
    await one.send(first, "CONNECT", cookie_string="", token="t1")
    await two.send(second, "CONNECT", cookie_string="", token="t1")
    await group.settle()
    assert first.user is not None
    assert second.end == TOKEN_SPENT
    third = two.client()
    await two.send(third, "CONNECT", cookie_string="", token="t2")
    assert third.user is not None


@pytest.mark.parametrize("by", ["name", "identity", "conn_id"])
async def test_connections_are_closed_by_any_of_their_facts_on_both_nodes(
    pair: Pair, by: str
) -> None:
    group, one, two = pair
    group.answers("connect", {"identity": "session-1"})
    first, second = await one.connect("alice"), await two.connect("alice")
    values = {"name": "alice", "identity": "session-1", "conn_id": second.id}
    answer = await one.rest("disconnect", **{by: values[by]})
    await group.settle()
    assert answer["disconnected"] == (1 if by == "conn_id" else 2)
    assert second.closed
    assert first.closed is (by != "conn_id")


async def test_calls_of_both_versions_reach_all_nodes(pair: Pair) -> None:
    group, one, two = pair
    group.answers("create_channel", {"presenceful": True, "moderated": False})
    alice, bob = await one.connect("alice"), await two.connect("bob")
    await one.send(alice, "SUBSCRIBE", channel_name="room")
    await two.send(bob, "SUBSCRIBE", channel_name="other")
    await group.settle()
    await two.rest("publish_multi", channel_names="room,other", payload="1")
    await group.settle()
    for client in (alice, bob):
        assert [a["payload"] for n, a in client.took() if n == "PUBLISH"] == [1]
    for node in (one, two):
        channels = await node.rest("list_channels")
        assert {each["name"] for each in channels["channels"]} == {"room", "other"}
        assert (await node.rest("get_user_info", user_name="bob"))["channels"] == ["other"]
        connections = await node.rest("list_connections")
        assert {each["user"] for each in connections["connections"]} == {"alice", "bob"}


async def test_many_messages_reach_channels_that_only_another_node_has(pair: Pair) -> None:
    group, one, two = pair
    group.answers("create_channel", {"moderated": False})
    alice = await one.connect("alice")
    await one.send(alice, "SUBSCRIBE", channel_name="room")
    alice.took()
    many = [{"channel_name": n, "payload": "1", "options": {}} for n in ("room", "nowhere")]
    answer = await two.rest("publish_many", publications=json.dumps(many))
    await group.settle()
    assert [a["payload"] for n, a in alice.took() if n == "PUBLISH"] == [1]
    assert [each["delivered"] for each in answer["outcomes"]] == [1, 0]
