"""What a failure leaves undone or out of order is noticed, and the nodes agree again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from djhookbox.server.channels import proposals
from djhookbox.server.engine.redis import nodes as leases
from djhookbox.server.engine.redis import patrol
from djhookbox.wire.closing import NORMAL

from ..redis_server import RedisServer, redis_server
from .nodes import PATIENCE, Node, eventually
from .rig import FakeConnection, turns

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.command("CONFIG", "SET", "maxmemory", "0")
    shared_server.command("FLUSHALL")
    return shared_server


@pytest.fixture
async def nodes(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Node]]:
    monkeypatch.setattr(proposals, "LEAVE_PAUSE", 0.05)
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(patrol, "BEHIND_SECONDS", 0.2)
    nodes = [Node(server.url), Node(server.url)]
    for node in nodes:
        node.site.answers["create_channel"] = {"history_size": 20, "presenceful": True}
        await node.start()
    yield nodes
    for node in nodes:
        await asyncio.wait_for(node.stop(), PATIENCE)


async def join(node: Node, name: str) -> FakeConnection:
    client = await node.connect(name)
    await asyncio.wait_for(node.send(client, "SUBSCRIBE", channel_name="room"), PATIENCE)
    return client


def members(node: Node) -> list[str]:
    return sorted(node.channels["room"].subscribers)


async def agree(nodes: list[Node], *names: str) -> None:
    """Wait until all nodes, and Redis, have these subscribers."""
    await eventually(lambda: all(members(node) == sorted(names) for node in nodes))
    fresh = Node(nodes[0].redis.address.url)
    await fresh.start()
    try:
        await fresh.rest("get_channel_info", channel_name="room")
        assert members(fresh) == sorted(names)
    finally:
        await fresh.stop()


def lose_lease(server: RedisServer, node: Node) -> None:
    server.command("DEL", f"{node.redis.address.prefix}n:{node.redis.node}")


async def beat(*nodes: Node) -> None:
    for node in nodes:
        await node.redis.nodes.beat_once()
        await node.settle()


# ---- order ---------------------------------------------------------------


async def test_departures_that_redis_has_in_another_order_block_nothing(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    alice, bob = await join(one, "alice"), await join(one, "bob")
    await join(two, "dora")
    put, kept = one.redis.parking.put, []

    def late(operation: Any) -> None:
        """Send the first departure after the second."""
        if not kept:
            kept.append(operation)
            return
        put(operation)
        if len(kept) == 1:
            kept.append(operation)
            put(kept[0])

    monkeypatch.setattr(one.redis.parking, "put", late)
    alice.lost(NORMAL)
    bob.lost(NORMAL)
    await eventually(lambda: len(kept) == 2)
    carol = await join(one, "carol")
    assert "SUBSCRIBE" in carol.names()
    await agree(nodes, "carol", "dora")


async def test_options_that_another_node_changes_at_once_block_nothing(nodes: list[Node]) -> None:
    one, two = nodes
    alice, bob = await join(one, "alice"), await join(two, "bob")
    for number in range(5):
        await asyncio.gather(
            *(
                node.rest("set_channel_options", channel_name="room", history_size=str(10 + number))
                for node in nodes
            ),
            *(node.rest("publish", channel_name="room", payload=str(number)) for node in nodes),
        )
    await asyncio.gather(*(node.settle() for node in nodes))
    for client in (alice, bob):
        assert client.names().count("PUBLISH") == 10


async def test_what_is_refused_for_want_of_a_lease_keeps_its_order(
    server: RedisServer, nodes: list[Node]
) -> None:
    # Redis refuses some changes while others are sent.
    one, two = nodes
    alice = await join(one, "alice")
    bob = await join(two, "bob")
    calls: list[asyncio.Future[Any]] = []
    lose_lease(server, one)
    for number in range(300):
        call = one.rest("publish", channel_name="room", payload=str(number))
        calls.append(asyncio.ensure_future(call))
        await asyncio.sleep(0 if number % 3 else 0.0002)
        if number in (100, 150, 200):
            lose_lease(server, one)
    await asyncio.gather(*calls)
    await turns()
    await asyncio.gather(*(node.settle() for node in nodes))
    for client in (alice, bob):
        got = [args["payload"] for name, args in client.frames if name == "PUBLISH"]
        assert got == list(range(300))


# ---- changes that are refused --------------------------------------------


async def test_a_subscription_that_was_refused_is_entered_when_it_is_asked_for_again(
    server: RedisServer, nodes: list[Node]
) -> None:
    one, two = nodes
    await join(two, "bob")
    await join(one, "alice")
    carol = await one.connect("carol")
    server.command("CONFIG", "SET", "maxmemory", "1")
    await one.send(carol, "SUBSCRIBE", channel_name="room")
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert [args["code"] for name, args in carol.took() if name == "ERROR"] == ["unavailable"]
    await one.send(carol, "SUBSCRIBE", channel_name="room")
    await agree(nodes, "alice", "bob", "carol")


@pytest.mark.parametrize("other", ["alice", "bob"])
async def test_a_departure_that_was_refused_is_told_when_it_can_be(
    server: RedisServer, nodes: list[Node], other: str
) -> None:
    one, two = nodes
    near, far = await join(one, "alice"), await join(two, other)
    await join(two, "dora")
    server.command("CONFIG", "SET", "maxmemory", "1")
    near.lost(NORMAL)
    await one.settle()
    server.command("CONFIG", "SET", "maxmemory", "0")
    await asyncio.sleep(0.1)
    await beat(one)
    far.lost(NORMAL)
    await agree(nodes, "dora")


# ---- what nobody has noticed ---------------------------------------------


async def test_a_version_that_a_node_has_missed_is_noticed(
    server: RedisServer, nodes: list[Node]
) -> None:
    one, two = nodes
    await join(one, "alice")
    await join(two, "bob")
    wanted = one.redis.replicas["room"].version + 1
    server.command("HINCRBY", f"{one.redis.address.prefix}c:4:room:m", "version", "1")
    await eventually(lambda: all(n.redis.replicas["room"].version == wanted for n in nodes))


@pytest.mark.parametrize("lost", [True, False])
async def test_presence_that_is_wrong_is_noticed(
    server: RedisServer, nodes: list[Node], lost: bool
) -> None:
    one, two = nodes
    await join(one, "alice")
    await join(two, "bob")
    key = f"{one.redis.address.prefix}c:4:room:p"
    if lost:
        server.command("HDEL", key, "alice")
    else:
        server.command("HSET", key, "ghost", f"1;1.0;1;0;{one.redis.node}")
    await eventually(lambda: one.redis.figures["snapshots_reloaded"])
    await beat(one, two)
    await agree(nodes, "alice", "bob")
