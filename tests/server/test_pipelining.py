"""What goes over the connection to Redis: many changes at a time, each packed and sent once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from djhookbox.server.channels import shared
from djhookbox.server.core.announcing import compose
from djhookbox.server.engine.redis.connecting import Replies, ask, open_connection
from djhookbox.server.engine.redis.link import Link, LinkDown, Operation, _failure
from djhookbox.server.engine.redis.packing import Packed, pack, pack_text
from djhookbox.server.refusals import Refusal
from djhookbox.wire.engines import parse

from ..redis_server import RedisServer
from .nodes import Node


@pytest.fixture
async def node(redis: RedisServer) -> AsyncIterator[Node]:
    node = Node(redis.url)
    await node.start()
    node.site.answers["create_channel"] = {"moderated": False, "history_size": 10}
    yield node
    await node.stop()
    node.check()


@pytest.fixture
def under_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return how many operations waited for an answer whenever one was added."""
    found: list[int] = []
    put = Link.put

    def counted(self: Link, operation: Operation) -> None:
        put(self, operation)
        found.append(len(self._waiting) + len(self._sent))

    monkeypatch.setattr(Link, "put", counted)
    return found


def calls(redis: RedisServer) -> int:
    """Return how many scripts Redis has run."""
    import redis as client

    with client.Redis(port=redis.port) as connection:
        stats: Any = connection.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def test_commands_are_packed_as_redis_py_packs_them(redis: RedisServer) -> None:
    connection = await open_connection(parse(redis.url))
    words = ("EVALSHA", "é", b"\x00\xff", 12, 0.25, "", -3)
    packed = pack(("EVALSHA", Packed(2, pack(("é", b"\x00\xff")).data), 12, 0.25, "", -3))
    assert packed.number == len(words)
    assert b"*7\r\n" + packed.data == b"".join(connection.pack_command(*words))
    await connection.disconnect(nowait=True)


def test_texts_are_packed_as_other_arguments() -> None:
    texts = ["", "0", "a b", '{"payload":"\\u00fc"}', "1764280000.25"]
    assert pack_text(texts) == pack(texts)
    with pytest.raises(UnicodeEncodeError):
        pack_text(["ü"])


async def test_replies_are_read_together_and_errors_returned(redis: RedisServer) -> None:
    connection = await open_connection(parse(redis.url))
    commands = [("SET", "a", "1"), ("INCR", "a"), ("LPUSH", "a", "x"), ("GET", "a")]
    for command in commands:
        await connection.send_command(*command)
    replies, found = Replies(connection), []
    while len(found) < len(commands):
        found += await replies.read()
    assert [found[0], found[1], found[3]] == [b"OK", 2, b"2"]
    assert isinstance(found[2], Exception)
    assert "WRONGTYPE" in str(found[2])
    assert await ask(connection, "PING") == b"PONG", "nothing is left over"
    await connection.disconnect(nowait=True)


@pytest.mark.parametrize("kind", ["ReadOnlyError", "MasterDownError", "TryAgainError"])
async def test_a_replica_is_not_a_master_that_refuses(kind: str) -> None:
    """After a failover, whatever the old master refuses is repeated on the new one."""
    from redis import exceptions

    with pytest.raises(LinkDown):
        _failure(getattr(exceptions, kind)("it is not a master"))


async def test_publications_are_under_way_together(node: Node, under_way: list[int]) -> None:
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    client.took()
    under_way.clear()
    each = [{"channel_name": "room", "payload": str(number)} for number in range(30)]
    answer = await node.rest("publish_many", publications=json.dumps(each))
    assert [outcome["delivered"] for outcome in answer["outcomes"]] == [1] * 30
    assert max(under_way) >= 30, "they do not wait for each other"
    await node.settle()
    frames = [args["payload"] for name, args in client.took() if name == "PUBLISH"]
    assert frames == list(range(30))


async def test_publications_to_new_channels_keep_their_order(node: Node) -> None:
    await node.rest("create_channel", channel_name="room", history_size="10")
    each = [
        {"channel_name": name, "payload": str(number), "options": {"history_size": 10}}
        for number in range(4)
        for name in ("room", "new")
    ]
    answer = await node.rest("publish_many", publications=json.dumps(each))
    assert [outcome["delivered"] for outcome in answer["outcomes"]] == [0] * 8
    for name in ("room", "new"):
        entries = node.channels[name].entries(time.time())
        assert [each.data["payload"] for each in entries] == [0, 1, 2, 3]


async def test_each_publication_is_one_script(node: Node, redis: RedisServer) -> None:
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    # The heartbeat runs scripts as well, once a second.
    before, beats = calls(redis), asyncio.get_running_loop().time()
    for _ in range(40):
        await node.rest("publish", channel_name="room", payload="1")
    await node.settle()
    beats = asyncio.get_running_loop().time() - beats
    assert 40 <= calls(redis) - before <= 40 + 2 * beats + 2


async def test_changes_in_flight_need_no_tasks(node: Node) -> None:
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    channel = node.channels["room"]
    before = len(asyncio.all_tasks())
    applied = [
        node.server.channels.proposals.begin(channel, compose(channel, number, None, 1.0, None))
        for number in range(20)
    ]
    assert len(asyncio.all_tasks()) == before
    results = [await node.server.channels.proposals.answer(each) for each in applied]
    assert [result.position.offset for result in results if result.position] == [*range(1, 21)]


async def test_what_must_wait_follows_changes_in_flight(node: Node) -> None:
    """Options that are set after publications apply to none of them."""
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    client.took()
    calls = [
        node.rest("publish", channel_name="room", payload="1"),
        node.rest("set_channel_options", channel_name="room", anonymous="true"),
        node.rest("publish", channel_name="room", payload="2"),
    ]
    await asyncio.gather(*calls)
    await node.settle()
    frames = [(name, "user" in args) for name, args in client.took()]
    assert [frame for frame in frames if frame[0] == "PUBLISH"] == [
        ("PUBLISH", True), ("PUBLISH", False),
    ]  # fmt: skip


async def test_somebody_who_gives_up_does_not_undo_a_change(node: Node) -> None:
    client = await node.connect("alice")
    await node.subscribe_and_forget(client)
    await node.settle()
    client.took()
    task = asyncio.create_task(node.rest("publish", channel_name="room", payload="7"))
    while not node.redis.link._sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await node.settle()
    assert [args["payload"] for name, args in client.took() if name == "PUBLISH"] == [7]


async def test_a_publication_that_must_wait_is_answered_in_time_as_any_other(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.rest("publish", channel_name="room", payload="1")
    gate = asyncio.Event()
    before = node.server.channels.proposals._turns.take(("room",), gate.wait)
    monkeypatch.setattr(shared, "ANSWER_SECONDS", 0.02)
    begun = node.calls.at_once["publish"]({"channel_name": "room", "payload": "2"})
    assert begun is not None
    with pytest.raises(Refusal) as refused:
        await begun  # type: ignore[misc]
    assert refused.value.code == "unavailable"
    gate.set()
    await before
    await node.settle()


async def test_many_publications_make_no_tasks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.rest("publish", channel_name="room", payload="1")
    many = [{"channel_name": "room", "payload": str(number)} for number in range(50)]
    many[7]["payload"] = "["
    loop = asyncio.get_running_loop()
    made: list[object] = []
    create = loop.create_task
    monkeypatch.setattr(loop, "create_task", lambda *a, **k: made.append(a) or create(*a, **k))
    answer = await node.rest("publish_many", publications=json.dumps(many))
    assert [each.get("delivered") for each in answer["outcomes"]] == [0] * 7 + [None] + [0] * 42
    assert len(made) < 10
    (stream,) = [node.channels["room"].stream]
    assert stream is not None
    assert [each.data["payload"] for each in stream.publications][-3:] == [47, 48, 49]
