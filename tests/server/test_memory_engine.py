"""The engine that keeps everything in this process."""

from __future__ import annotations

from typing import Any

import pytest

from djhookbox.server.engine.base import Engine
from djhookbox.server.engine.memory import MemoryEngine


@pytest.fixture
def engine() -> Engine:
    return MemoryEngine(max_logs=3)


async def payloads(engine: Engine, channel: str, now: float, count: int = 100) -> list[Any]:
    return [p.data["payload"] for p in await engine.last(channel, count, now)]


async def append(
    engine: Engine, channel: str, at: float, payload: Any, size: int = 10, duration: float = 100
) -> int:
    return await engine.append(channel, at, {"payload": payload}, size=size, duration=duration)


async def test_offsets_grow_without_holes(engine: Engine) -> None:
    assert [await append(engine, "a", n, n) for n in range(3)] == [1, 2, 3]
    assert await append(engine, "b", 0, 0) == 1
    assert [p.offset for p in await engine.last("a", 2, 3)] == [2, 3]


async def test_the_newest_are_kept_oldest_first(engine: Engine) -> None:
    for number in range(5):
        await append(engine, "a", number, number, size=3)
    assert await payloads(engine, "a", 5) == [2, 3, 4]
    assert await payloads(engine, "a", 5, count=2) == [3, 4]
    assert await payloads(engine, "a", 5, count=0) == []
    assert await payloads(engine, "nothing", 5) == []


async def test_they_expire(engine: Engine) -> None:
    for at in (0, 50, 90):
        await append(engine, "a", at, at, duration=100)
    assert await payloads(engine, "a", 120) == [50, 90]
    await engine.expire(500)
    assert await payloads(engine, "a", 120) == []
    assert await append(engine, "a", 600, 0) == 1  # a new epoch


async def test_logs_are_bounded_in_number(engine: Engine) -> None:
    for name in ("a", "b", "c", "a", "d"):
        await append(engine, name, 0, name)
    assert await payloads(engine, "b", 1) == []
    assert await payloads(engine, "a", 1) == ["a", "a"]
