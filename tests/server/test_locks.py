"""Locks by name."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.channels.locks import KeyedLocks

from .rig import turns


async def test_one_at_a_time_for_each_key_and_others_meanwhile() -> None:
    locks = KeyedLocks()
    inside: list[str] = []
    go = asyncio.Event()

    async def use(key: str, label: str) -> None:
        async with locks.hold(key):
            inside.append(label)
            await go.wait()

    tasks = [asyncio.create_task(use(*pair)) for pair in (("a", "a1"), ("a", "a2"), ("b", "b1"))]
    await turns()
    assert inside == ["a1", "b1"]
    go.set()
    await asyncio.gather(*tasks)
    assert inside == ["a1", "b1", "a2"]
    assert locks._locks == {}


async def test_a_failure_or_a_cancellation_lets_go() -> None:
    locks = KeyedLocks()
    with pytest.raises(RuntimeError):
        async with locks.hold("a"):
            raise RuntimeError
    assert locks._locks == {}

    async def wait() -> None:
        async with locks.hold("a"):
            pass

    async with locks.hold("a"):
        waiting = asyncio.create_task(wait())
        await turns()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert locks._locks == {}
    async with locks.hold("a"):
        assert len(locks._locks) == 1
