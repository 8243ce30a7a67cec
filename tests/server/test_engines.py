"""What every engine must do: each test runs against all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from djhookbox.server.core.log import LogState, Position, Publication
from djhookbox.server.engine.base import Engine
from djhookbox.server.engine.memory import MemoryEngine

from .engines import FarEngine

#: A new engine is tested by adding its maker.
ENGINES: list[Callable[..., Engine]] = [MemoryEngine, FarEngine]


@pytest.fixture(params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine(max_logs=3, max_publications=6)


class Writer:
    """Numbers publications as the core does."""

    def __init__(self, engine: Engine, channel: str, size: int = 10, duration: float = 0) -> None:
        self.engine = engine
        self.channel = channel
        self.bounds = {"size": size, "duration": duration}
        self.state = LogState("")

    async def open(self, now: float = 0) -> Writer:
        self.state = await self.engine.load(self.channel, now)
        return self

    async def write(self, *times: float) -> None:
        for at in times:
            offset = self.state.offset + 1
            publication = Publication(offset, at, {"payload": at})
            await self.engine.append(
                self.channel,
                self.state.epoch,
                publication,
                **self.bounds,  # type: ignore[arg-type]
            )
            self.state = LogState(self.state.epoch, offset)

    async def kept(self, now: float) -> list[int]:
        """Return the offsets of what is kept."""
        state = await self.engine.load(self.channel, now)
        assert state.epoch == self.state.epoch
        assert state.offset == self.state.offset
        offsets = [publication.offset for publication in state.publications]
        assert offsets == list(range(state.offset + 1 - len(offsets), state.offset + 1))
        return offsets


async def test_a_log_begins_empty_and_stays_itself(engine: Engine) -> None:
    first = await engine.load("a", 0)
    assert (first.offset, first.publications) == (0, ())
    assert await engine.load("a", 1) == first
    assert await engine.position("a", 1) == Position(first.epoch, 0)
    other = await engine.position("b", 1)
    assert other.epoch != first.epoch
    assert (await engine.load("b", 2)).epoch == other.epoch


async def test_publications_come_back_oldest_first(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2, 3)
    state = await engine.load("a", 4)
    assert [(p.offset, p.at, p.data["payload"]) for p in state.publications] == [
        (1, 1, 1), (2, 2, 2), (3, 3, 3),
    ]  # fmt: skip
    assert await engine.position("a", 4) == Position(state.epoch, 3)


async def test_only_so_many_are_kept(engine: Engine) -> None:
    writer = await Writer(engine, "a", size=2).open()
    await writer.write(1, 2, 3, 4, 5)
    assert await writer.kept(5) == [4, 5]


async def test_they_expire_and_the_position_stays(engine: Engine) -> None:
    writer = await Writer(engine, "a", duration=100).open()
    await writer.write(0, 50, 90)
    assert await writer.kept(120) == [2, 3]
    await engine.expire(500)
    assert await writer.kept(500) == []
    await writer.write(501)
    assert await writer.kept(502) == [4]


async def test_without_a_duration_they_linger_when_the_channel_is_gone(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2)
    await engine.expire(10_000)
    assert await writer.kept(10_000) == [1, 2]
    await engine.release("a", 10_000, 300)
    await engine.expire(10_299)
    assert await writer.kept(10_299) == [1, 2]
    await engine.release("a", 10_300, 300)
    await engine.expire(10_601)
    assert await writer.kept(10_601) == []


async def test_a_publication_that_nobody_saw_is_replaced(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2)
    before = writer.state
    await writer.write(3)
    writer.state = before  # that call failed, or so it seemed
    await writer.write(4)
    state = await engine.load("a", 5)
    assert [(p.offset, p.at) for p in state.publications] == [(1, 1), (2, 2), (3, 4)]


async def test_another_epoch_begins_anew(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2)
    writer.state = LogState("other")
    await writer.write(3)
    assert await writer.kept(4) == [1]


async def test_a_log_is_forgotten(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    await engine.forget("a", "not this epoch")
    assert await writer.kept(2) == [1]
    await engine.forget("a", writer.state.epoch)
    await engine.forget("nothing")
    state = await engine.load("a", 2)
    assert state.epoch != writer.state.epoch
    assert (state.offset, state.publications) == (0, ())
    await engine.forget("a")
    assert (await engine.load("a", 2)).epoch != state.epoch


async def test_logs_are_bounded_in_number(engine: Engine) -> None:
    writers = {name: await Writer(engine, name).open() for name in ("a", "b", "c")}
    await writers["a"].write(1)
    await engine.load("d", 1)
    assert (await engine.load("a", 1)).epoch == writers["a"].state.epoch
    assert (await engine.load("b", 1)).epoch != writers["b"].state.epoch


async def test_a_live_channel_whose_log_had_to_go_is_numbered_on(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2)
    for name in ("b", "c", "d"):
        await engine.load(name, 3)
    await writer.write(4)
    assert await writer.kept(5) == [3]


async def test_publications_are_bounded_in_all(engine: Engine) -> None:
    one, two = await Writer(engine, "a").open(), await Writer(engine, "b").open()
    await one.write(1, 2, 3, 4)
    await two.write(1, 2, 3)
    assert await one.kept(4) == [2, 3, 4]
    await one.write(5)  # the one written to longest ago loses
    assert await two.kept(5) == [2, 3]
    assert await one.kept(5) == [2, 3, 4, 5]
