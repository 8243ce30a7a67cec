"""Durable channels on two nodes: each pulls for itself, and nothing is lost if one dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from djhookbox.server.channels import durable as module
from djhookbox.wire import capabilities

from ..redis_server import RedisServer
from .nodes import Node, eventually
from .rig import FakeConnection


class Outbox:
    """Stands for the tables of a site: what it has numbered, and what it has revoked."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.revocations: list[dict[str, Any]] = []

    def publish(self, payload: object) -> None:
        number = len(self.entries) + 1
        self.entries.append({
            "number": number, "offset": number, "channel": "room", "epoch": "e",
            "payload": json.dumps(payload), "at": 1.0,
        })  # fmt: skip

    def revoke(self, user: str) -> None:
        key = f"key {len(self.revocations)}"
        self.revocations.append({"key": key, "code": 4000, "reason": "out", "users": [user]})

    def answer(self, form: Mapping[str, str]) -> dict[str, Any]:
        last, revoked = len(self.entries), len(self.revocations)
        has = int(form.get("number", "0"))
        seen = json.loads(form["revoked"])["number"]
        over = not form.get("incarnation")
        streams = [
            {"channel": each["channel"], "epoch": "e", "offset": last, "entries": self.entries}
            for each in json.loads(form.get("streams", "[]"))
        ]
        return {
            "incarnation": "i", "number": last, "token": f"t{last}", "over": over, "as_of": last,
            "entries": [] if over else self.entries[has:], "streams": streams,
            "revocations": {
                "number": revoked, "token": f"r{revoked}", "entries": self.revocations[seen:],
            },
        }  # fmt: skip


class Pair:
    """Two nodes that pull from one site, and do not look by themselves."""

    def __init__(self, url: str) -> None:
        self.outbox = Outbox()
        self.nodes = (Node(url), Node(url))
        self.tasks: dict[Node, asyncio.Task[None]] = {}

    async def start(self) -> None:
        for node in self.nodes:
            node.site.accepted = frozenset({*node.site.accepted, capabilities.OUTBOX})
            node.site.answers["outbox"] = self.outbox.answer
            node.site.answers["create_channel"] = {"durable": True, "history_size": 0}
            await node.start()
            self.tasks[node] = asyncio.ensure_future(node.server.channels.durable.run())
        for node in self.nodes:
            await node.redis.nodes.beat_once()
            await eventually(lambda node=node: node.site.took("outbox"))

    async def kill(self, node: Node) -> None:
        self.tasks[node].cancel()
        await asyncio.gather(self.tasks.pop(node), return_exceptions=True)
        await node.kill()

    async def stop(self) -> None:
        for node in list(self.tasks):
            self.tasks[node].cancel()
            await asyncio.gather(self.tasks.pop(node), return_exceptions=True)
            await node.stop()


@pytest.fixture
async def pair(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(module, "IDLE_SECONDS", 3600.0)
    pair = Pair(redis.url)
    await pair.start()
    yield pair
    await pair.stop()


async def enter(node: Node, name: str, **args: Any) -> FakeConnection:
    client = await node.connect(name)
    await node.send(client, "SUBSCRIBE", channel_name="room", **args)
    await eventually(lambda: any(found == "SUBSCRIBE" for found, _ in client.frames))
    return client


def received(client: FakeConnection) -> list[tuple[Any, int]]:
    return [(a["payload"], a["offset"]) for name, a in client.frames if name == "PUBLISH"]


async def test_both_deliver_when_one_is_poked(pair: Pair) -> None:
    one, two = pair.nodes
    alice, bob = await enter(one, "alice"), await enter(two, "bob")
    for number in range(1, 6):
        pair.outbox.publish(number)
        await pair.nodes[number % 2].rest("poke")
        await eventually(lambda n=number: all(len(received(c)) == n for c in (alice, bob)))
    assert received(alice) == received(bob) == [(n, n) for n in range(1, 6)]


async def test_a_node_that_dies_is_not_needed(pair: Pair) -> None:
    one, two = pair.nodes
    alice, bob = await enter(one, "alice"), await enter(two, "bob")
    pair.outbox.publish(1)
    await one.rest("poke")
    await eventually(lambda: received(alice) and received(bob))
    await pair.kill(one)
    for number in (2, 3):
        pair.outbox.publish(number)
    await two.rest("poke")
    await eventually(lambda: len(received(bob)) == 3)
    back = await enter(two, "alice", since="e:1")
    pair.outbox.publish(4)
    await two.rest("poke")
    await eventually(lambda: all(received(c)[-1:] == [(4, 4)] for c in (bob, back)))
    assert received(bob) == [(n, n) for n in range(1, 5)]
    (snapshot,) = [args for name, args in back.frames if "recovered" in args]
    missed = [(entry["payload"], entry["offset"]) for entry in snapshot["recovered"]]
    assert missed + received(back) == [(n, n) for n in range(2, 5)], "once and in order"
    assert snapshot["missed"] == 0


async def test_revocations_reach_the_connections_of_both(pair: Pair) -> None:
    one, two = pair.nodes
    clients = [await node.connect("alice") for node in (one, two)]
    pair.outbox.revoke("alice")
    record = json.dumps(pair.outbox.revocations)
    answer = await one.rest("revoke", revocations=record)
    assert answer["disconnected"] == 1, "the other node has pulled it"
    await eventually(lambda: all(client.end for client in clients))
    assert [client.end.code for client in clients if client.end] == [4000, 4000]
    again = await two.connect("alice")
    pair.outbox.publish(1)
    await one.rest("poke")
    await eventually(lambda: two.site.took("outbox"))
    await two.settle()
    assert not again.end, "each node carries it out once"
