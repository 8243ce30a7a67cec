"""What every engine must do: each test runs against all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from djhookbox.server.core.changes import (
    Accepted,
    Change,
    Create,
    Destroy,
    Publish,
    Reload,
    SetOptions,
    SetState,
)
from djhookbox.server.core.stream import Position, Publication, StreamState
from djhookbox.server.engine.base import Engine, EngineError, NotOpen
from djhookbox.server.engine.memory import MemoryEngine
from djhookbox.server.engine.redis.engine import RedisEngine
from djhookbox.wire.engines import parse

from .engines import FarEngine, MoodyEngine

#: A new engine is tested by adding its maker.
ENGINES: list[Callable[..., Engine]] = [MemoryEngine, FarEngine, MoodyEngine]


Make = Callable[..., Awaitable[Engine]]


@pytest.fixture(params=[*ENGINES, RedisEngine])
async def make_engine(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    made: list[RedisEngine] = []

    async def make(recovery: float = 0, **bounds: int) -> Engine:
        if request.param is not RedisEngine:
            return request.param(recovery=recovery, **bounds)  # type: ignore[no-any-return]
        url = request.getfixturevalue("redis").url
        made.append(RedisEngine(parse(url), recovery=recovery))
        await made[-1].start()
        return made[-1]

    yield make
    for engine in made:
        await engine.stop()


@pytest.fixture
async def engine(make_engine: Make) -> Engine:
    return await make_engine(max_streams=3, max_publications=6)


@pytest.fixture(params=ENGINES)
def make_bounded(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Return a maker of engines that limit their own memory; the keys of Redis expire instead."""
    made: Callable[..., Engine] = request.param
    return made


async def propose(engine: Engine, channel: str, change: Change) -> Accepted:
    answer = engine.propose(channel, change)
    accepted = answer if isinstance(answer, Accepted) else await answer
    if isinstance(engine, RedisEngine):  # the server reports what it has applied
        engine.applied(channel, accepted.version)
    return accepted


class Writer:
    """Does with a channel what the server does, and looks at the answers."""

    def __init__(self, engine: Engine, channel: str, size: int = 10, duration: float = 0) -> None:
        self.engine = engine
        self.channel = channel
        self.given = {"history_size": size, "history_duration": duration}
        self.version = 0
        self.epoch = ""
        self.offset = 0

    async def propose(self, change: Change) -> Accepted:
        accepted = await propose(self.engine, self.channel, change)
        assert accepted.version > self.version
        self.version = accepted.version
        return accepted

    async def stream(self, now: float = 0) -> StreamState:
        """Open the channel, as a server does whose predecessor had it open, and look."""
        stream = (await self.propose(Create(self.given, now))).stream
        assert stream is not None
        offsets = [publication.offset for publication in stream.publications]
        assert offsets == list(range(stream.offset + 1 - len(offsets), stream.offset + 1))
        return stream

    async def open(self, now: float = 0) -> Writer:
        stream = await self.stream(now)
        self.epoch, self.offset = stream.epoch, stream.offset
        return self

    async def write(self, *times: float) -> None:
        for at in times:
            data = {"payload": at}
            publication = (await self.propose(Publish(data, at))).publication
            assert publication is not None
            self.offset += 1
            assert (publication.offset, publication.at) == (self.offset, at)
            assert publication.data is data
            assert publication.weight > 0

    async def close(self, now: float, linger: float = 300, left: float = 0) -> None:
        await self.propose(Destroy(now, linger, left=left))

    async def kept(self, now: float) -> list[int]:
        """Return the offsets of what is kept."""
        stream = await self.stream(now)
        assert (stream.epoch, stream.offset) == (self.epoch, self.offset)
        return [publication.offset for publication in stream.publications]


async def test_a_stream_begins_empty_and_stays_itself(engine: Engine) -> None:
    assert (await engine.position("b", 1)) == (await engine.position("b", 1))
    writer = await Writer(engine, "a").open()
    assert await writer.kept(1) == []
    assert await engine.position("a", 1) == Position(writer.epoch, 0)
    other = await engine.position("b", 1)
    assert other is not None
    assert other.epoch != writer.epoch
    assert (await Writer(engine, "b").stream(2)).epoch == other.epoch


async def test_every_change_has_a_greater_version(engine: Engine) -> None:
    one, two = await Writer(engine, "a").open(), Writer(engine, "b", size=0)
    assert (await two.propose(Create({}, 0))).stream is None
    await one.write(1)
    for writer in (one, two):
        for change in (SetState({"k": 1}), SetOptions({"reflective": False}, 2)):
            accepted = await writer.propose(change)
            assert accepted == Accepted(accepted.version)
    assert (await two.propose(Publish({"payload": 1}, 3))).publication is None
    await one.write(4)
    for writer in (one, two):
        await writer.close(5)
        await writer.propose(Create({}, 6))  # the version goes on, whoever has the name


@pytest.mark.parametrize(
    "change", [Publish({"payload": 1}, 0), SetOptions({}, 0), SetState({}), Destroy(0)]
)
async def test_a_channel_that_is_not_open_cannot_change(engine: Engine, change: Change) -> None:
    with pytest.raises(NotOpen):
        await propose(engine, "a", change)
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    await writer.close(2)
    with pytest.raises(NotOpen):
        await propose(engine, "a", change)
    assert await writer.kept(2) == [1]


async def test_publications_come_back_oldest_first(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2, 3)
    await writer.close(3)
    assert await engine.position("a", 4) == Position(writer.epoch, 3)
    stream = await writer.stream(4)
    assert [(p.offset, p.at, p.data["payload"]) for p in stream.publications] == [
        (1, 1, 1), (2, 2, 2), (3, 3, 3),
    ]  # fmt: skip
    await writer.write(5)


async def test_only_so_many_are_kept(engine: Engine) -> None:
    writer = await Writer(engine, "a", size=2).open()
    await writer.write(1, 2, 3, 4, 5)
    assert await writer.kept(5) == [4, 5]
    await writer.propose(SetOptions({"history_size": 1}, 5))
    writer.given["history_size"] = 10
    assert await writer.kept(5) == [5]


async def test_they_expire_and_the_position_stays(engine: Engine) -> None:
    writer = await Writer(engine, "a", duration=100).open()
    await writer.write(0, 50, 90)
    assert await writer.kept(120) == [2, 3]
    await writer.close(130)
    await engine.expire(500)
    assert await writer.kept(500) == []
    await writer.write(501)
    assert await writer.kept(502) == [4]
    await writer.propose(SetOptions({"history_duration": 10}, 503))
    writer.given["history_duration"] = 10
    assert await writer.kept(520) == []


async def test_without_a_duration_they_linger_when_the_channel_is_gone(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1, 2)
    await engine.expire(10_000)
    assert await writer.kept(10_000) == [1, 2]
    await writer.close(10_000)
    await engine.expire(10_299)
    assert await writer.kept(10_299) == [1, 2]
    await writer.close(10_300)
    await engine.expire(10_601)
    assert await writer.kept(10_601) == []


async def test_history_switched_off_and_on_begins_another_epoch(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    assert (await writer.propose(SetOptions({"history_size": 0}, 2))).stream is None
    assert await engine.position("a", 2) is None
    assert (await writer.propose(Publish({"payload": 2}, 2))).publication is None
    stream = (await writer.propose(SetOptions({"history_size": 2}, 3))).stream
    assert stream is not None
    assert (stream.offset, stream.publications) == (0, ())
    assert stream.epoch not in ("", writer.epoch)
    writer.epoch, writer.offset = stream.epoch, 0
    await writer.write(4)
    assert await writer.kept(5) == [1]


async def test_a_channel_without_history_leaves_nothing_of_a_former_one(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    await writer.close(2)
    assert (await writer.propose(Create({}, 3))).stream is None
    await writer.close(4)
    stream = await writer.stream(5)
    assert stream.epoch != writer.epoch
    assert stream.publications == ()


async def test_a_stream_is_forgotten_but_not_under_an_open_channel(engine: Engine) -> None:
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    await engine.forget("a", 1)
    assert await writer.kept(2) == [1]
    await writer.close(2)
    assert await engine.forget("a", 2)
    assert await engine.forget("nothing", 2)
    stream = await writer.stream(3)
    assert stream.epoch != writer.epoch
    assert (stream.offset, stream.publications) == (0, ())


async def test_closed_streams_are_bounded_in_number(make_bounded: Callable[..., Engine]) -> None:
    engine = make_bounded(max_streams=3, max_publications=6)
    writers = {name: await Writer(engine, name).open() for name in "abcdef"}
    for writer in writers.values():
        await writer.write(1)
        assert await writer.kept(1) == [1]
    for name in "abcd":
        await writers[name].close(2)
    for name in "bcdef":
        assert await engine.position(name, 3) == Position(writers[name].epoch, 1)
    position = await engine.position("a", 3)
    assert position is not None
    assert position.epoch != writers["a"].epoch
    assert await engine.position("b", 3) != Position(writers["b"].epoch, 1)


async def test_publications_are_bounded_in_all(make_bounded: Callable[..., Engine]) -> None:
    engine = make_bounded(max_streams=3, max_publications=6)
    one, two = await Writer(engine, "a").open(), await Writer(engine, "b").open()
    await one.write(1, 2, 3, 4)
    await two.write(1, 2, 3)
    assert await one.kept(4) == [2, 3, 4]
    await one.write(5)  # the one written to longest ago loses
    assert await two.kept(5) == [2, 3]
    assert await one.kept(5) == [2, 3, 4, 5]
    await two.close(5)
    await one.close(5)
    assert await one.kept(5) == [2, 3, 4, 5]


# ---- recovery, whether or not there is a history -------------------------------------------------


@pytest.fixture
async def recovering(make_engine: Make) -> Engine:
    return await make_engine(max_streams=2, max_publications=6, recovery=60)


async def test_publications_are_kept_for_the_recovery_time(recovering: Engine) -> None:
    writer = await Writer(recovering, "a", size=0).open(1)
    await writer.write(1, 30)
    assert await writer.kept(61) == [1, 2]
    await recovering.expire(62)
    assert await writer.kept(62) == [2]
    await recovering.expire(100)
    assert await writer.kept(100) == []
    assert await recovering.position("a", 100) == Position(writer.epoch, 2)


async def test_a_history_and_the_recovery_time_each_keep_theirs(recovering: Engine) -> None:
    writer = await Writer(recovering, "a", size=1, duration=10).open(1)
    await writer.write(1, 2, 3)
    assert await writer.kept(4) == [1, 2, 3]
    assert await writer.kept(62) == [2, 3]
    lasting = await Writer(recovering, "b", size=1).open(1)
    await lasting.write(1, 2)
    assert await lasting.kept(200) == [2]


async def test_clients_can_return_to_a_closed_channel_for_the_recovery_time(
    recovering: Engine,
) -> None:
    writer = await Writer(recovering, "a", size=0).open(1)
    await writer.write(15)
    await writer.close(20, left=10)
    assert not await recovering.forget("a", 69), "it must be opened and published to"
    assert await writer.kept(69) == [1]
    await writer.write(69)
    await writer.close(69)  # nobody was there
    assert await recovering.forget("a", 71)
    stream = await writer.stream(72)
    assert (stream.epoch != writer.epoch, stream.offset) == (True, 0)


@pytest.mark.parametrize("expires", [True, False])
async def test_nothing_is_left_of_a_channel_after_the_recovery_time(
    recovering: Engine, expires: bool
) -> None:
    writer = await Writer(recovering, "a", size=0).open(1)
    await writer.write(5)
    await writer.close(6, left=5)
    if expires:
        await recovering.expire(65)
    else:
        assert await recovering.forget("a", 65)
    epoch = (await writer.stream(65)).epoch
    assert epoch != writer.epoch
    await writer.close(70)  # without a subscriber
    assert (await writer.stream(71)).epoch not in (epoch, writer.epoch)


async def test_a_cursor_is_kept_for_the_recovery_time(recovering: Engine) -> None:
    brief = await recovering.position("a", 1, history=False)
    lasting = await recovering.position("b", 1)
    assert not await recovering.forget("a", 60)
    await recovering.expire(62)
    assert await recovering.position("a", 62, history=False) != brief
    assert await recovering.position("b", 62) == lasting


async def test_channels_without_a_history_do_not_displace_others(
    make_bounded: Callable[..., Engine],
) -> None:
    recovering = make_bounded(max_streams=2, max_publications=6, recovery=60)
    one, two = await Writer(recovering, "a").open(1), await Writer(recovering, "b", size=0).open(1)
    await one.write(1, 2, 3)
    await two.write(*range(4, 20))
    assert await one.kept(20) == [1, 2, 3]
    assert await two.kept(20) == [14, 15, 16]
    await one.close(20)
    for name in "cdef":
        await (await Writer(recovering, name, size=0).open(20)).close(20, left=20)
    assert await one.kept(20) == [1, 2, 3]


async def test_a_history_switched_off_and_on_changes_nothing(recovering: Engine) -> None:
    writer = await Writer(recovering, "a").open()
    await writer.write(1)
    assert (await writer.propose(SetOptions({"history_size": 0}, 2))).stream is None
    await writer.write(2)
    writer.given["history_size"] = 5
    assert (await writer.propose(SetOptions(writer.given, 3))).stream is None
    assert await writer.kept(5) == [1, 2]


async def test_what_fails_has_not_happened() -> None:
    engine = FarEngine()
    writer = await Writer(engine, "a").open()
    await writer.write(1)
    engine.down = True
    for change in (Publish({"payload": 2}, 2), SetOptions({"history_size": 0}, 2), Destroy(2)):
        with pytest.raises(EngineError):
            await propose(engine, "a", change)
    engine.down = False
    assert await writer.kept(3) == [1]
    await writer.write(4)


# ---- streams that the site numbers ---------------------------------------------------------------


def stored(offset: int, epoch: str = "site") -> Publish:
    data = {"payload": offset}
    return Publish(data, offset, stored=Publication(offset, offset, data), epoch=epoch)


async def test_the_site_numbers_the_publications_of_a_durable_channel() -> None:
    engine = MemoryEngine()
    state = StreamState("site", 4)
    assert (await propose(engine, "a", Create({"durable": True}, 0, state))).stream is state
    assert (await propose(engine, "a", stored(5))).publication == stored(5).stored
    for wrong in (stored(5), stored(7), stored(6, "other")):
        with pytest.raises(EngineError, match="it expects site:6"):
            await propose(engine, "a", wrong)
    await propose(engine, "a", SetOptions({"history_size": 3}, 6))
    await propose(engine, "a", stored(6))
    await propose(engine, "a", Reload(StreamState("next", 0), 7))
    await propose(engine, "a", stored(1, "next"))
    await propose(engine, "a", Destroy(8, 300, left=8))
    kept = (await propose(engine, "a", Create({"history_size": 3}, 8))).stream
    assert kept is not None
    assert kept.epoch != "next"
    assert (kept.offset, kept.publications) == (0, ())


async def test_the_first_publication_begins_the_epoch() -> None:
    engine = MemoryEngine()
    await propose(engine, "a", Create({"durable": True}, 0, StreamState("before", 0)))
    await propose(engine, "a", stored(1))
    with pytest.raises(EngineError, match="it expects site:2"):
        await propose(engine, "a", stored(1, "other"))


@pytest.mark.parametrize("size", [0, 5])
async def test_a_channel_that_is_no_longer_durable_numbers_anew(size: int) -> None:
    engine = MemoryEngine()
    await propose(engine, "a", Create({"durable": True}, 0, StreamState("site", 4)))
    options = {"durable": False, "history_size": size}
    state = (await propose(engine, "a", SetOptions(options, 1))).stream
    assert (state is not None) == bool(size)
    publication = (await propose(engine, "a", Publish({"payload": 1}, 2))).publication
    assert (publication is not None and publication.offset == 1) == bool(size)


# ---- streams that an engine in the process shares ------------------------------------------------


async def test_a_publication_is_kept_once(make_rig: Any) -> None:
    engine = MemoryEngine(recovery=60)
    rig = make_rig(engine=engine)
    await rig.rest("create_channel", channel_name="room")
    for payload in ("1", "2"):
        await rig.rest("publish", channel_name="room", payload=payload)
    stream = rig.channels["room"].stream
    assert stream is engine._open["room"]
    assert [each.data["payload"] for each in stream.publications] == [1, 2]
    assert engine._weight == stream.weight > 0
    assert (rig.channels["room"].weight, rig.hub.shelf.total) == (0, 0), "the engine limits it"


@pytest.mark.parametrize(
    "end", [Reload(StreamState("site"), 3), SetOptions({"history_size": 0}, 3), Destroy(3)]
)
async def test_a_shared_stream_stays_as_it_was_when_the_engine_drops_it(end: Change) -> None:
    engine = MemoryEngine()
    state = (await propose(engine, "a", Create({"history_size": 5}, 0))).stream
    assert state is not None
    assert state.shared is not None
    await propose(engine, "a", Publish({"payload": 1}, 1))
    await propose(engine, "a", Publish({"payload": 2}, 2))
    await propose(engine, "a", end)
    await engine.forget("a", 3)
    assert (engine._count, engine._weight) == (0, 0)
    shared = state.shared
    assert (shared.is_shared, shared.position) == (False, (state.epoch, 2))
    shared.drop_oldest()
    assert [each.offset for each in shared.publications] == [2]
    assert (engine._count, engine._weight) == (0, 0)


async def test_what_the_channel_drops_is_dropped_for_the_engine() -> None:
    engine = MemoryEngine()
    state = (await propose(engine, "a", Create({"history_size": 5}, 0))).stream
    assert state is not None
    assert state.shared is not None
    await propose(engine, "a", Publish({"payload": 1}, 1))
    state.shared.trim(100, size=5, duration=10)
    assert (engine._count, engine._weight, state.shared.weight) == (0, 0, 0)
