"""Keys of publications: what is done once, what is done again, what is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.channels.keys import Keys

from .rig import Rig


class Work:
    def __init__(self) -> None:
        self.done = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.done += 1
        return self.done


async def test_the_same_key_is_done_once_also_while_it_is_done() -> None:
    now = 0.0
    keys: Keys[int] = Keys(lambda: now)
    work = Work()
    work.gate.clear()
    first = asyncio.ensure_future(keys.once("a", "k", work))
    second = asyncio.ensure_future(keys.once("a", "k", work))
    await asyncio.sleep(0)
    work.gate.set()
    assert (await first, await second) == (1, 1)
    assert await keys.once("b", "k", work) == 2
    now = 299.0
    assert await keys.once("a", "k", work) == 1
    now = 301.0
    assert await keys.once("a", "k", work) == 3


async def test_what_failed_is_done_again() -> None:
    keys: Keys[int] = Keys(lambda: 0.0)
    work = Work()
    work.error = OSError("no")
    with pytest.raises(OSError, match="no"):
        await keys.once("a", "k", work)
    work.error = None
    assert await keys.once("a", "k", work) == 1


async def test_only_so_many_are_remembered() -> None:
    keys: Keys[int] = Keys(lambda: 0.0, most=3)
    work = Work()
    for key in "abcd":
        await keys.once("a", key, work)
    assert await keys.once("a", "d", work) == 4
    assert await keys.once("a", "a", work) == 5


async def test_publishing_with_a_key(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False, "history_size": 3}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    answers = [
        await rig.rest("publish", channel_name="room", payload="1", key="k") for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["offset"] == 1
    assert await rig.rest("publish", channel_name="room", payload="2", key="l") != answers[0]
    await asyncio.sleep(0.01)
    assert [args["payload"] for name, args in alice.took() if name == "PUBLISH"] == [1, 2]
