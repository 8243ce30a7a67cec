"""Redis has lost its data: the next operations are carried out nevertheless, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from ..redis_server import RedisServer, redis_server
from .nodes import Node, eventually
from .rig import FakeConnection, Rig, turns
from .test_nodes_failing import LEASE, payloads

pytestmark = pytest.mark.process

#: Channels are loaded again in batches of 100.
MANY = 150

#: Lets Redis lose its data.
Loss = Callable[[RedisServer], None]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def nodes(server: RedisServer) -> AsyncIterator[list[Node]]:
    nodes = [Node(server.url, lease=LEASE), Node(server.url, lease=LEASE)]
    for node in nodes:
        node.site.answers["create_channel"] = {"history_size": 500, "presenceful": True}
        await node.start()
    yield nodes
    for node in nodes:
        await node.stop()


def empty(server: RedisServer) -> None:
    server.command("FLUSHALL")


def restart(server: RedisServer) -> None:
    server.kill()
    server.start()


async def join(node: Node, name: str, *rooms: str) -> FakeConnection:
    client = await node.connect(name)
    for room in rooms:
        await Rig.send(node, client, "SUBSCRIBE", channel_name=room)
    await node.settle()
    return client


def check(answers: Sequence[object]) -> None:
    """Check that nothing was refused for good: what a dead Redis may have done is not known."""
    for answer in answers:
        assert not isinstance(answer, Exception) or getattr(answer, "code", "") == "unavailable"


@pytest.mark.parametrize("lose", [empty, restart])
@pytest.mark.parametrize("keyed", [True, False])
async def test_publications_keep_their_order(
    server: RedisServer, nodes: list[Node], lose: Loss, keyed: bool
) -> None:
    one, two = nodes
    alice, bob = await join(one, "alice", "room"), await join(two, "bob", "room")

    async def publish(number: int) -> int:
        key = {"key": f"k{number}"} if keyed else {}
        await one.rest("publish", channel_name="room", payload=str(number), **key)
        return number

    lose(server)
    calls = []
    for number in range(60):
        calls.append(asyncio.ensure_future(publish(number)))
        await asyncio.sleep(0.0005)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    check(answers)
    if lose is empty:
        assert answers == list(range(60))
    done = [answer for answer in answers if isinstance(answer, int)]
    assert done
    await eventually(lambda: set(done) <= set(payloads(bob)))
    await turns()
    for client in (alice, bob):
        got = payloads(client)
        assert got == sorted(set(got))
        assert set(done) <= set(got)
        assert "UNSUBSCRIBE" not in client.names()
        assert not client.closed


@pytest.mark.parametrize("lose", [empty, restart])
async def test_no_channel_of_many_is_lost(
    server: RedisServer, nodes: list[Node], lose: Loss
) -> None:
    rooms = [f"room{number}" for number in range(MANY)]
    alice = await join(nodes[0], "alice", *rooms)
    lose(server)
    answers = await asyncio.gather(
        *(
            nodes[0].rest("publish", channel_name=room, payload="1", key=room)
            for room in reversed(rooms)
        ),
        return_exceptions=True,
    )
    check(answers)
    await eventually(lambda: all(nodes[0].redis.replicas[room].loading == 0 for room in rooms))
    again = [
        nodes[0].rest("publish", channel_name=room, payload="2", key=f"{room}-") for room in rooms
    ]
    assert [answer["delivered"] for answer in await asyncio.gather(*again)] == [1] * MANY
    assert "UNSUBSCRIBE" not in alice.names()


async def test_every_call_about_a_channel_is_done(server: RedisServer, nodes: list[Node]) -> None:
    one, two = nodes
    alice, bob = await join(one, "alice", "room"), await join(two, "bob", "room")
    carol = await two.connect("carol")
    empty(server)
    await asyncio.gather(
        one.rest("state_set_key", channel_name="room", key="k", val="1"),
        one.rest("set_channel_options", channel_name="room", reflective="false"),
        one.rest("publish_multi", channel_names="room", payload="1"),
        one.rest("unsubscribe", channel_name="room", name="alice"),
        two.rest("subscribe", channel_name="room", name="carol"),
    )
    channels = [node.channels["room"] for node in nodes]
    await eventually(lambda: all(set(c.subscribers) == {"bob", "carol"} for c in channels))
    assert all(channel.state == {"k": 1} for channel in channels)
    assert not any(channel.options.reflective for channel in channels)
    assert "UNSUBSCRIBE" in alice.names()
    assert 1 in payloads(bob)
    assert carol.names()[1] == "SUBSCRIBE"


async def test_a_channel_that_others_destroyed_is_gone_here_too(nodes: list[Node]) -> None:
    one, two = nodes
    alice = await join(one, "alice", "room")
    await two.rest("get_channel_info", channel_name="room")
    one.redis.inbox.take = lambda data: None  # type: ignore[method-assign]
    await two.rest("destroy_channel", channel_name="room")
    answer = await one.rest("publish", channel_name="room", payload="1")
    assert answer["delivered"] == 0
    assert "UNSUBSCRIBE" in alice.names()


def has_compared(node: Node) -> bool:
    task = node.redis.openings._resyncing
    return task is not None and task.done()


async def test_a_user_of_both_nodes_stays_subscribed(
    server: RedisServer, nodes: list[Node]
) -> None:
    rooms = [f"room{number}" for number in range(20)]
    near = await join(nodes[0], "alice", *rooms)
    far = await join(nodes[1], "alice")
    await eventually(lambda: len(nodes[1].channels) == len(rooms))
    empty(server)
    await asyncio.gather(*(node.redis.nodes.beat_once() for node in nodes))
    await eventually(lambda: all(has_compared(node) for node in nodes))
    await asyncio.gather(*(node.settle() for node in nodes))
    await nodes[0].rest("unsubscribe", channel_name="room0", name="alice")

    def gone(client: FakeConnection) -> list[str]:
        return [args["channel_name"] for name, args in client.frames if name == "UNSUBSCRIBE"]

    await eventually(lambda: gone(near) and gone(far))
    assert gone(near) == gone(far) == ["room0"]


async def test_who_leaves_before_the_other_node_has_restored_the_rest_is_gone(
    server: RedisServer, nodes: list[Node]
) -> None:
    one, two = nodes
    await join(one, "alice", "room", "hall")
    await join(two, "alice")
    await eventually(lambda: len(two.channels) == 2)
    empty(server)
    await one.redis.nodes.beat_once()
    await eventually(lambda: has_compared(one))
    await one.rest("unsubscribe", channel_name="room", name="alice")
    await two.redis.nodes.beat_once()
    await eventually(lambda: has_compared(two))

    def rooms() -> list[list[str]]:
        return [list(node.hub.users["alice"].subscriptions) for node in nodes]

    await eventually(lambda: rooms() == [["hall"], ["hall"]])
    await asyncio.gather(*(node.settle() for node in nodes))
    assert rooms() == [["hall"], ["hall"]]
