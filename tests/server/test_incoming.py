"""What frames use in memory while they are handled."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from djhookbox.server.budget import HANDLED, Incoming
from djhookbox.server.connection import MIN_WAITING

from .rig import Rig, turns

LARGE = 10 * MIN_WAITING


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(max_incoming=4 * HANDLED * LARGE)
    rig.site.answers["create_channel"] = {"moderated": True}
    return rig


async def test_large_frames_are_handled_one_after_the_other(rig: Rig) -> None:
    """However many clients send them at once while the site takes its time."""
    clients = [await rig.connect(f"user{number}") for number in range(12)]
    for client in clients:
        await rig.subscribe_and_forget(client)
    held = rig.site.hold("publish")
    rig.site.took()
    payload = json.dumps("x" * (LARGE - 100))
    for client in clients:
        await client.receive(
            json.dumps([1, "PUBLISH", {"channel_name": "room", "payload": payload}]) + "\r\n"
        )
    await turns()
    assert len(rig.site.took("publish")) == 4
    # Small frames are not delayed by them.
    small = await rig.connect("small")
    await rig.send(small, "PUBLISH", channel_name="room", payload="1")
    assert len(rig.site.took("publish")) == 1
    # Whoever goes makes room, also while waiting for a turn.
    for client in clients[3:6]:
        await rig.leave(client)
    held.set()
    await turns(500)
    assert rig.server.clients.handshakes.incoming.used == 0
    assert rig.server.clients.handshakes.incoming._handled == 0
    await rig.send(small, "PUBLISH", channel_name="room", payload=payload)
    assert rig.site.took("publish")
    rig.check()


@pytest.mark.parametrize("name", ["PUBLISH", "MESSAGE"])
async def test_the_value_is_not_kept_while_the_site_decides(rig: Rig, name: str) -> None:
    alice = await rig.connect("alice")
    bob = await rig.connect("bob")
    for client in (alice, bob):
        await rig.subscribe_and_forget(client)
    held = rig.site.hold(name.lower())
    payload = [[[f"only in {name}", 1.5], {"é": None}, "\ud800"]]
    target = {"channel_name": "room"} if name == "PUBLISH" else {"name": "bob"}
    await rig.send(alice, name, payload=json.dumps(payload), **target)
    kept = [found for found in gc.get_objects() if isinstance(found, list) and found == payload[0]]
    assert kept == [payload[0]]
    bob.took()
    held.set()
    await turns()
    (received,) = [args for frame, args in bob.took() if frame == name]
    assert received["payload"] == payload


async def test_turns() -> None:
    rnd = random.Random(5)
    limit = 10 * HANDLED
    incoming = Incoming(limit)
    active: list[int] = []
    begun: list[int] = []

    async def handle(number: int, size: int) -> None:
        await incoming.begin(size)
        begun.append(number)
        active.append(size)
        assert len(active) == 1 or sum(active) * HANDLED <= limit
        try:
            for _ in range(rnd.randrange(5)):
                await asyncio.sleep(0)
        finally:
            active.remove(size)
            incoming.end(size)

    tasks = [asyncio.create_task(handle(n, rnd.randrange(1, 15))) for n in range(300)]
    for _ in range(40):
        await asyncio.sleep(0)
        rnd.choice(tasks).cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    assert begun == sorted(begun), "in order"
    assert len(begun) > 200
    assert incoming._handled == 0
    assert not incoming._turns
