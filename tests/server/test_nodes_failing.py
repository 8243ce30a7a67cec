"""Nodes and Redis that fail: nothing is lost without notice, nothing happens twice."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from djhookbox.server.engine.redis import link, nodes
from djhookbox.server.engine.redis.connecting import Unusable, open_connection
from djhookbox.server.refusals import Refusal
from djhookbox.wire.engines import parse

from ..redis_server import RedisServer, redis_server
from .nodes import Node, Proxy, eventually
from .rig import FakeConnection, turns

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: Seconds; real ones are longer.
LEASE = 1.5

Make = Callable[..., Awaitable[Node]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def saving_server() -> Iterator[RedisServer]:
    """A Redis that can save what it has, and outlives the nodes as well."""
    with redis_server("--save", "3600 1000000") as server:
        yield server


async def new_node(url: str, **config: Any) -> Node:
    node = Node(url, lease=LEASE, **config)
    node.site.answers["create_channel"] = {"history_size": 20, "presenceful": True}
    await node.start()
    return node


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    nodes: list[Node] = []

    async def make(url: str, **config: Any) -> Node:
        node = await new_node(url, **config)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        await node.stop()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def join(node: Node, name: str, room: str = "room") -> FakeConnection:
    client = await node.connect(name)
    await node.send(client, "SUBSCRIBE", channel_name=room)
    await eventually(lambda: name in node.channels[room].subscribers)
    return client


def payloads(client: FakeConnection) -> list[Any]:
    """Return what a client has received, published or caught up with, in order."""
    found: list[Any] = []
    for name, args in client.frames:
        if name == "PUBLISH":
            found.append(args["payload"])
        if name == "SUBSCRIBE":
            found += [each["payload"] for each in args.get("recovered", ())]
    return found


def presence(client: FakeConnection) -> list[tuple[str, str]]:
    return [
        (name, args["user"])
        for name, args in client.frames
        if name in ("SUBSCRIBE", "UNSUBSCRIBE") and "history" not in args
    ]


async def publish(node: Node, payload: int, room: str = "room") -> Any:
    return await node.rest("publish", channel_name=room, payload=str(payload))


async def insist(node: Node, payload: int) -> None:
    """Publish until it is known to have happened, with a key."""
    while True:
        try:
            await node.rest("publish", channel_name="room", payload=str(payload), key=f"k{payload}")
        except Refusal as refusal:
            if refusal.code != "unavailable":
                raise
            await asyncio.sleep(0.2)
        else:
            return


async def converge(*nodes: Node) -> None:
    """Wait until all nodes agree on the channel, and each with what it has itself."""

    def same() -> bool:
        channels = [node.channels.get("room") for node in nodes]
        if not all(channels):
            return False
        views = [
            (list(c.state.items()), sorted(c.subscribers), c.stream and c.stream.position)
            for c in channels
            if c is not None
        ]
        replicas = [node.redis.replicas["room"] for node in nodes]
        return (
            all(view == views[0] for view in views)
            and len({(replica.id, replica.version) for replica in replicas}) == 1
            and all(node.redis.link.is_up and node.redis.inbox.is_up for node in nodes)
        )

    await eventually(same, 30)
    await turns()  # what was published in this turn is sent at its end


async def test_the_users_of_a_killed_node_leave_exactly_once(
    server: RedisServer, make: Make
) -> None:
    one, two = await make(server.url), await make(server.url)
    watcher, twice = await join(one, "watcher"), await join(one, "twice")
    for name in ("alice", "bob", "twice"):
        await join(two, name)
    await join(two, "alone", "other")
    await converge(one, two)
    watcher.took()
    await two.kill()
    await eventually(lambda: len(presence(watcher)) >= 2)
    await asyncio.sleep(2 * LEASE)
    assert sorted(presence(watcher)) == [("UNSUBSCRIBE", "alice"), ("UNSUBSCRIBE", "bob")]
    assert sorted(one.channels["room"].subscribers) == ["twice", "watcher"]
    assert [e["user"] for e in one.reported() if e["event"] == "unsubscribe"].count("alice") == 1
    assert two.redis.node not in one.redis.nodes.known
    assert not one.channels["other"].subscribers, "somebody must destroy it"
    await publish(one, 1)
    assert payloads(twice) == [1]


async def test_redis_that_stops_for_a_while_closes_no_connection(
    server: RedisServer, make: Make
) -> None:
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await publish(one, 0)
    await converge(one, two)
    server.pause()
    began = time.monotonic()
    insisting = [asyncio.ensure_future(insist(node, n)) for n, node in ((1, one), (2, two))]
    with pytest.raises(Exception, match=r"known|kept") as refused:
        await publish(one, 99)
    assert getattr(refused.value, "code", "") == "unavailable"
    assert time.monotonic() - began < 8
    await asyncio.sleep(max(0.0, 10 - (time.monotonic() - began)))
    server.resume()
    await asyncio.gather(*insisting)
    await converge(one, two)
    assert not alice.closed
    assert not bob.closed
    for client in (alice, bob):
        received = payloads(client)
        assert [p for p in received if p == 0] == [0]
        assert sorted(p for p in received if p in (1, 2)) == [1, 2]
        assert presence(client)[-1:] != [("UNSUBSCRIBE", "alice")]
    assert payloads(alice) == payloads(bob)


async def test_redis_that_goes_back_to_an_old_snapshot_starts_new_epochs(
    saving_server: RedisServer, make: Make
) -> None:
    server = saving_server
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await one.rest("state_set_key", channel_name="room", key="k", val="1")
    for number in range(3):
        await publish(one, number)
    assert server.command("SAVE") == b"+OK"
    for number in range(3, 6):
        await publish(two, number)
    await one.rest("state_set_key", channel_name="room", key="k", val="2")
    await converge(one, two)
    stream = one.channels["room"].stream
    assert stream is not None
    before = stream.position
    assert before.offset == 6
    alice.took()
    bob.took()
    server.kill()
    await asyncio.sleep(0.5)
    server.start()
    await converge(one, two)
    await eventually(lambda: one.channels["room"].stream.epoch != before.epoch)  # type: ignore[union-attr]
    await asyncio.sleep(2 * LEASE)
    await converge(one, two)
    for client in (alice, bob):
        assert not client.closed
        gaps = [a for n, a in client.frames if n == "SUBSCRIBE" and "missed" in a]
        assert gaps
        assert gaps[-1]["missed"] is None
        assert gaps[-1]["epoch"] != before.epoch
        assert presence(client) == [], "nobody has left"
    assert one.channels["room"].state == {"k": 2}
    await publish(one, 6)
    await converge(one, two)
    assert payloads(alice) == payloads(bob) == [6]


async def test_redis_that_is_emptied_starts_new_epochs(server: RedisServer, make: Make) -> None:
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await publish(one, 0)
    await converge(one, two)
    before = one.channels["room"].stream.epoch  # type: ignore[union-attr]
    server.command("FLUSHALL")
    await eventually(lambda: one.channels["room"].stream.epoch != before)  # type: ignore[union-attr]
    await converge(one, two)
    await asyncio.sleep(2 * LEASE)
    await converge(one, two)
    assert sorted(one.channels["room"].subscribers) == ["alice", "bob"]
    for client in (alice, bob):
        assert not client.closed
        gaps = [a for n, a in client.frames if n == "SUBSCRIBE" and "missed" in a]
        assert gaps
        assert gaps[-1]["missed"] is None
    await publish(two, 1)
    await converge(one, two)
    assert payloads(alice)[-1] == payloads(bob)[-1] == 1


async def test_slow_redis_makes_callers_wait_within_bounds(
    server: RedisServer, proxy: Proxy, make: Make
) -> None:
    one, two = await make(proxy.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    proxy.delay = 1.0  # in each direction
    began = time.monotonic()
    answers = await asyncio.gather(
        *(publish(one, number) for number in range(5)), return_exceptions=True
    )
    assert time.monotonic() - began < 8
    for answer in answers:
        if isinstance(answer, Exception):
            assert getattr(answer, "code", "") == "unavailable", answer
    proxy.delay = 0.0
    await converge(one, two)
    assert payloads(bob) == payloads(alice)
    assert len(payloads(bob)) == len(set(payloads(bob)))
    done = [n for n, answer in enumerate(answers) if not isinstance(answer, Exception)]
    assert set(done) <= set(payloads(bob)), "nothing acknowledged that was not stored"


async def test_a_node_cut_off_beyond_its_lease_leaves_no_ghosts_and_no_doubles(
    server: RedisServer, proxy: Proxy, make: Make
) -> None:
    one, two = await make(server.url), await make(proxy.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await publish(one, 0)
    await converge(one, two)
    alice.took()
    proxy.cut()
    await eventually(lambda: ("UNSUBSCRIBE", "bob") in presence(alice))
    await publish(one, 1)
    proxy.heal()
    await converge(one, two)
    await eventually(lambda: "bob" in one.channels["room"].subscribers)
    await asyncio.sleep(2 * LEASE)
    assert presence(alice) == [("UNSUBSCRIBE", "bob"), ("SUBSCRIBE", "bob")]
    assert not bob.closed
    assert payloads(bob) == [0, 1], "what it missed comes from the stream"
    await publish(two, 2)
    await converge(one, two)
    assert payloads(bob) == [0, 1, 2]
    assert payloads(alice) == [1, 2]


@pytest.mark.parametrize("busy", [True, False])
async def test_a_killed_inbox_connection_is_noticed_and_repaired(
    server: RedisServer, proxy: Proxy, make: Make, busy: bool
) -> None:
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    # What is published while nobody listens is lost to both.
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub").startswith(b":")
    await publish(one, 1)
    await publish(two, 2)
    await one.rest("state_set_key", channel_name="room", key="k", val="1")
    if busy:
        for number in range(3, 20):
            await publish(one, number)
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await converge(one, two)
    assert time.monotonic() - began < 4
    assert payloads(alice) == payloads(bob)
    assert len(payloads(bob)) == (19 if busy else 2)
    assert two.channels["room"].state == {"k": 1}


async def test_a_node_without_heartbeats_registers_anew(server: RedisServer, make: Make) -> None:
    """As a process that was stopped for longer than its lease."""
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    alice.took()
    beating = two.redis._tasks.pop()
    beating.cancel()
    await eventually(lambda: ("UNSUBSCRIBE", "bob") in presence(alice))
    await publish(one, 1)
    await publish(two, 2)  # it finds out by this
    two.redis._tasks.append(asyncio.ensure_future(two.redis.nodes.beat()))
    await converge(one, two)
    await eventually(lambda: "bob" in one.channels["room"].subscribers)
    assert presence(alice) == [("UNSUBSCRIBE", "bob"), ("SUBSCRIBE", "bob")]
    assert payloads(alice) == payloads(bob) == [1, 2]
    assert not bob.closed


async def test_what_was_done_before_the_answer_was_lost_is_done_once(
    server: RedisServer, proxy: Proxy, make: Make
) -> None:
    one, two = await make(proxy.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    proxy.mute = True
    published = [asyncio.ensure_future(publish(one, number)) for number in range(5)]
    await eventually(lambda: len(payloads(bob)) == 5)
    assert payloads(alice) == []
    proxy.mute = False
    proxy.drop()
    answers = await asyncio.gather(*published)
    assert [answer["offset"] for answer in answers] == [1, 2, 3, 4, 5]
    await converge(one, two)
    assert payloads(alice) == payloads(bob) == [0, 1, 2, 3, 4]


async def test_two_nodes_create_destroy_and_join_at_once(server: RedisServer, make: Make) -> None:
    nodes = [await make(server.url), await make(server.url)]
    clients = [(node, await node.connect(f"u{n}")) for n in range(4) for node in nodes[n % 2 :][:1]]
    for _ in range(15):
        await asyncio.gather(
            *(c.receive('[1,"SUBSCRIBE",{"channel_name":"room"}]\r\n') for _, c in clients)
        )
        await asyncio.sleep(0.005)
        await asyncio.gather(
            nodes[0].rest("destroy_channel", channel_name="room"),
            *(c.receive('[2,"UNSUBSCRIBE",{"channel_name":"room"}]\r\n') for _, c in clients[1:]),
            return_exceptions=True,
        )
    for node in nodes * 3:
        await node.settle()
    for node, client in clients:
        await node.send(client, "SUBSCRIBE", channel_name="room")
    await converge(*nodes)
    for node in nodes:
        assert sorted(node.channels["room"].subscribers) == ["u0", "u1", "u2", "u3"]
        node.check()


# ---- an inbox, a process and a network that stop ------------------------------


@pytest.mark.parametrize("busy", [True, False])
async def test_an_inbox_that_overruns_its_buffer_is_noticed_and_repaired(
    server: RedisServer, proxy: Proxy, make: Make, busy: bool
) -> None:
    """If nothing follows, the node does not even learn that Redis has closed the connection."""
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 0 0")
    one, two = await make(server.url), await make(proxy.url)
    for node in (one, two):
        node.site.answers["create_channel"]["history_size"] = 500
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    proxy.choke()
    number = 0
    while server.command("PUBSUB", "CHANNELS", f"*i:{two.redis.node}") == b"*1":
        assert number < 140, "the buffers of the kernel have room for everything"
        payload = json.dumps([number, "x" * 50_000])
        await one.rest("publish", channel_name="room", payload=payload)
        number += 1
    assert number
    await one.rest("state_set_key", channel_name="room", key="k", val="1")
    if busy:
        proxy.release()
        for last in range(number, number + 20):
            await one.rest("publish", channel_name="room", payload=json.dumps([last, ""]))
        number += 20
    await converge(one, two)
    assert two.redis.figures["inbox_reconnects"] == 1
    assert two.channels["room"].state == {"k": 1}
    for client in (alice, bob):
        assert [payload[0] for payload in payloads(client)] == list(range(number))
        assert not client.closed


@asynccontextmanager
async def another_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Run an event loop in its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()


async def test_a_paused_node_comes_back(server: RedisServer, make: Make) -> None:
    """Its loop stands still for longer than its lease, as that of a process after SIGSTOP."""
    one = await make(server.url)
    alice = await join(one, "alice")
    async with another_loop() as loop:

        def there(work: Any) -> asyncio.Future[Any]:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

        two = await there(new_node(server.url))
        bob = await there(join(two, "bob"))
        await publish(one, 0)
        await eventually(lambda: payloads(bob) == [0])
        alice.took()
        stopped, goes_on = threading.Event(), threading.Event()
        loop.call_soon_threadsafe(lambda: (stopped.set(), goes_on.wait(60)))
        await eventually(stopped.is_set)
        # What its clients do waits for it, as in the buffers of sockets.
        waiting = [there(publish(two, 2)), there(join(two, "carol"))]
        await eventually(lambda: presence(alice) == [("UNSUBSCRIBE", "bob")])
        await publish(one, 1)
        goes_on.set()
        await asyncio.gather(*waiting)
        everybody = ["alice", "bob", "carol"]
        for node in (one, two):
            await eventually(lambda n=node: sorted(n.channels["room"].subscribers) == everybody)  # type: ignore[misc]
        await asyncio.sleep(2 * LEASE)
        assert presence(alice)[:1] == [("UNSUBSCRIBE", "bob")]
        assert sorted(presence(alice)[1:]) == [("SUBSCRIBE", "bob"), ("SUBSCRIBE", "carol")]
        assert payloads(alice) == payloads(bob)[1:]
        assert sorted(payloads(alice)) == [1, 2]
        assert not bob.closed
        await there(two.stop())
    await eventually(lambda: sorted(one.channels["room"].subscribers) == ["alice"])


@pytest.mark.parametrize("silence", [5.0, 0.7])
async def test_a_network_that_delivers_after_the_lease_what_it_was_given_before(
    server: RedisServer, proxy: Proxy, make: Make, silence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With little patience, the node connects again, and old commands arrive as well."""
    monkeypatch.setattr(link, "SILENCE_SECONDS", silence)
    one, two = await make(server.url), await make(proxy.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await publish(one, 0)
    await converge(one, two)
    alice.took()
    proxy.passes.clear()
    publishing = [asyncio.ensure_future(insist(two, n)) for n in (2, 3)]
    await eventually(lambda: ("UNSUBSCRIBE", "bob") in presence(alice))
    await publish(one, 1)
    proxy.passes.set()
    await asyncio.gather(*publishing)
    await converge(one, two)
    await eventually(lambda: "bob" in one.channels["room"].subscribers)
    await asyncio.sleep(2 * LEASE)
    await converge(one, two)
    assert presence(alice) == [("UNSUBSCRIBE", "bob"), ("SUBSCRIBE", "bob")]
    assert payloads(bob)[1:] == payloads(alice)
    assert sorted(payloads(alice)) == [1, 2, 3]
    assert not bob.closed


async def test_a_key_that_timed_out_here_is_known_there(
    server: RedisServer, proxy: Proxy, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script has run, but its answer did not come in time."""
    monkeypatch.setattr(link, "SILENCE_SECONDS", 0.7)
    one, two = await make(proxy.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await converge(one, two)
    proxy.mute = True
    call = {"channel_name": "room", "payload": "1", "key": "order-7"}
    with pytest.raises(Refusal) as refused:
        await one.rest("publish", **call)
    assert refused.value.code == "unavailable"
    assert payloads(bob) == [1]
    answer = await two.rest("publish", **call)
    assert answer["offset"] == 1
    proxy.mute = False
    await converge(one, two)
    assert (await one.rest("publish", **call))["offset"] == 1
    await publish(one, 2)
    await converge(one, two)
    assert payloads(alice) == payloads(bob) == [1, 2]


async def test_nodes_whose_clocks_differ_go_by_that_of_redis(
    server: RedisServer, make: Make
) -> None:
    ahead = await make(server.url, clock=lambda: time.time() + 7200)
    behind = await make(server.url, clock=lambda: time.time() - 7200)
    for node in (ahead, behind):
        node.site.answers["create_channel"] |= {"history_duration": 600}
    alice, bob = await join(ahead, "alice"), await join(behind, "bob")
    for number in range(4):
        await publish((ahead, behind)[number % 2], number)
    await converge(ahead, behind)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    for client in (alice, bob):
        assert payloads(client) == [0, 1, 2, 3]
        for name, args in client.frames:
            if name == "PUBLISH":
                made = datetime.fromisoformat(args["datetime"].rstrip("Z")).replace(tzinfo=None)
                assert abs((now - made).total_seconds()) < 300
    for node in (ahead, behind):
        await node.server.channels.publications.expire(node.server.runtime.clock())
        late = await join(node, f"late{node.redis.node}")
        snapshot = next(a for n, a in late.frames if n == "SUBSCRIBE" and "history" in a)
        shown = [entry[1]["payload"] for entry in snapshot["history"] if entry[0] == "PUBLISH"]
        assert shown == [0, 1, 2, 3]
        assert abs(node.server.metrics.started - time.time()) < 300
    await asyncio.sleep(1.5 * LEASE)
    assert all(known.alive for known in ahead.redis.nodes.known.values())
    assert len(ahead.channels["room"].subscribers) == 4


async def test_a_full_redis_refuses_what_it_cannot_store(
    server: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases cannot be renewed either, and what waits for one must not pile up."""
    monkeypatch.setattr(nodes, "WAIT_SECONDS", 0.1)
    one, two = await make(server.url), await make(server.url)
    alice, bob = await join(one, "alice"), await join(two, "bob")
    await publish(one, 0)
    await converge(one, two)
    server.command("DEL", f"{one.redis.address.prefix}n:{one.redis.node}")
    server.command("CONFIG", "SET", "maxmemory", "1")
    began = time.monotonic()
    for node in (one, two, one):
        with pytest.raises(Refusal) as refused:
            await publish(node, 1)
        assert refused.value.code == "unavailable"
    assert time.monotonic() - began < 4.5, "nobody waits as for a Redis that does not answer"
    assert not one.redis.parking._parked
    server.command("CONFIG", "SET", "maxmemory", "0")
    await insist(one, 2)
    await converge(one, two)
    assert payloads(alice) == payloads(bob) == [0, 2]
    assert not alice.closed
    assert not bob.closed


# ---- what is wrong from the start --------------------------------------------


async def test_a_wrong_address_password_or_version_is_one_sentence(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "secret")
    with pytest.raises(Unusable, match="password"):
        await Node(server.url).start()
    with pytest.raises(Unusable, match="password") as wrong:
        await Node(server.url.replace("redis://", "redis://:wr0ng@")).start()
    assert "wr0ng" not in str(wrong.value)
    with pytest.raises(Unusable, match="cannot be reached"):
        await Node("redis://127.0.0.1:1/0").start()
    connection = await open_connection(parse(server.url.replace("redis://", "redis://:secret@")))
    await connection.disconnect(nowait=True)
