"""Frames are handled in order, whatever arrives, even if clients leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from djhookbox.server import connection as module
from djhookbox.server.budget import Incoming
from djhookbox.server.connection import (
    BUSY,
    MAX_WAITING,
    MIN_WAITING,
    RATE_WINDOW,
    Connection,
    Handshake,
)
from djhookbox.server.protocol.rtjp import BadFrame
from djhookbox.server.unsent import Unsent
from djhookbox.wire.closing import BY_SITE, NORMAL, Disconnect

from .rig import FakeConnection, turns


class Handled:
    """Notes the frames that are handled; `gate` holds them up."""

    def __init__(self) -> None:
        self.ids: list[int | None] = []
        self.running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.ends: list[Disconnect] = []

    async def handle(self, connection: Connection, frame: Any) -> None:
        assert not self.running, "one after the other"
        self.running += 1
        await self.gate.wait()
        self.running -= 1
        self.ids.append(frame.id)


def make(handled: Handled, rate: int = 1_000_000, budget: Incoming | None = None) -> FakeConnection:
    return FakeConnection(
        handshake=Handshake(),
        handle=handled.handle,
        on_end=lambda connection, disconnect: handled.ends.append(disconnect),
        max_frame_size=1000,
        frames_per_second=rate,
        incoming=budget or Incoming(10_000_000),
        all_unsent=Unsent(100_000_000),
    )


def frames(numbers: range) -> str:
    return "".join(f'[{number},"A",{{}}]\r\n' for number in numbers)


async def test_ten_thousand_frames_in_one_write() -> None:
    handled = Handled()
    client = make(handled)
    await asyncio.wait_for(client.receive(frames(range(10_000))), 30)
    while client._busy is not None:
        await asyncio.sleep(0)
    assert handled.ids == list(range(10_000))
    assert client._waiting is None
    assert not client.paused


async def test_what_waits_is_bounded() -> None:
    handled = Handled()
    handled.gate.clear()
    client = make(handled)
    reading = asyncio.create_task(client.receive(frames(range(5000))))
    await turns()
    assert client._waiting is not None
    assert len(client._waiting) <= MAX_WAITING
    assert client.paused
    assert not reading.done()
    handled.gate.set()
    await asyncio.wait_for(reading, 30)
    await turns(2000)
    assert handled.ids == list(range(5000))


async def test_what_waits_is_bounded_in_bytes() -> None:
    handled = Handled()
    handled.gate.clear()
    budget = Incoming(1_000_000)
    client = make(handled, budget=budget)
    text = "x" * 900
    sent = "".join(f'[{n},"A",{{"t":"{text}"}}]\r\n' for n in range(50))
    reading = asyncio.create_task(client.receive(sent))
    await turns()
    assert client._waiting is not None
    assert len(client._waiting) <= 5, "four frames of the largest size"
    assert client.paused
    assert 3000 < budget.used < 6000
    handled.gate.set()
    await asyncio.wait_for(reading, 30)
    await turns(2000)
    assert handled.ids == list(range(50))
    assert budget.used == 0


async def test_characters_count_as_the_bytes_that_they_take_up() -> None:
    handled = Handled()
    handled.gate.clear()
    budget = Incoming(1_000_000)
    client = make(handled, budget=budget)
    await client.receive('[1,"A",{"t":"' + "😀" * 200 + '"}]\r\n')
    assert budget.used > 800
    client.lost(NORMAL)
    assert budget.used == 0
    handled.gate.set()
    await turns()
    assert budget.used == 0


async def test_all_connections_share_what_may_wait() -> None:
    budget = Incoming(3000)
    gate = asyncio.Event()
    refused: list[BadFrame] = []

    async def stuck(connection: Connection, frame: Any) -> None:
        if isinstance(frame, BadFrame):
            refused.append(frame)
        else:
            await gate.wait()

    greedy = [make(Handled(), budget=budget) for _ in range(4)]
    sent = "".join(f'[{n},"A",{{"t":"{"x" * 900}"}}]\r\n' for n in range(40))
    for each in greedy:
        each._handle = stuck
    reading = [asyncio.create_task(each.receive(sent)) for each in greedy]
    await turns()
    assert budget.used < 3000 + 5 * MIN_WAITING, "what is shared, and a little for each"
    assert refused
    assert {frame.code for frame in refused} == {"unavailable"}
    fine = Handled()
    other = make(fine, budget=budget)
    await other.receive('[1,"A",{}]\r\n[2,"A",{"t":"' + "x" * 900 + '"}]\r\n')
    await turns()
    assert fine.ids == [1, 2], "small frames go on"
    for each in greedy:
        each.lost(NORMAL)
    gate.set()
    await asyncio.gather(*reading)
    await turns()
    assert budget.used == 0


async def test_what_cannot_wait_is_refused_with_its_id() -> None:
    budget = Incoming(100)
    handled = Handled()
    handled.gate.clear()
    client = FakeConnection(
        handshake=Handshake(),
        handle=handled.handle,
        on_end=lambda *_: None,
        max_frame_size=100_000,
        frames_per_second=1000,
        incoming=budget,
        all_unsent=Unsent(1),
    )
    frames_: list[Any] = []

    async def handle(connection: Connection, frame: Any) -> None:
        frames_.append(frame)

    client._handle = handle
    budget.take(100)
    await client.receive('[7,"PUBLISH",{"payload":"' + "x" * 5000 + '"}]\r\n[8,"A",{}]\r\n')
    await turns()
    refused, small = frames_
    assert (refused.id, refused.code, refused.problem) == (7, "unavailable", BUSY)
    assert small.id == 8
    assert budget.used == 100


async def test_a_client_that_goes_releases_its_reader_and_its_frames() -> None:
    handled = Handled()
    handled.gate.clear()
    client = make(handled)
    reading = asyncio.create_task(client.receive(frames(range(5000))))
    await turns()
    client.lost(NORMAL)
    await asyncio.wait_for(reading, 5)
    handled.gate.set()
    await turns()
    assert handled.ids == [0]
    assert client._waiting is None
    assert client._busy is None
    await client.receive(frames(range(3)))
    await turns()
    assert handled.ids == [0]


async def test_an_end_is_told_once() -> None:
    handled = Handled()
    client = make(handled)
    client.close(BY_SITE)
    client.close(NORMAL)
    client.lost(NORMAL)
    assert handled.ends == [BY_SITE]
    assert client.end is BY_SITE


async def test_the_first_frame_is_begun_before_reading_goes_on() -> None:
    handled = Handled()
    client = make(handled)
    await client.receive(frames(range(1)))
    client.lost(NORMAL)
    assert handled.ids == [0]


async def test_a_frame_may_come_in_pieces() -> None:
    handled = Handled()
    client = make(handled)
    for character in frames(range(3)):
        await client.receive(character)
    await turns()
    assert handled.ids == [0, 1, 2]


async def test_a_flood_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal clock
        if seconds:
            naps.append(seconds)
            clock += seconds

    monkeypatch.setattr(module.time, "time", lambda: clock)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    handled = Handled()
    client = make(handled, rate=10)
    burst = 10 * RATE_WINDOW
    await client.receive(frames(range(burst + 50)))
    while client._busy is not None:
        await asyncio.wait({client._busy})
    assert len(handled.ids) == burst + 50
    assert sum(naps) == pytest.approx(5.0, abs=0.2)  # the burst is free, the rest is 10 a second
    clock += 3600  # a rest fills the bucket, but not beyond its size
    naps.clear()
    await client.receive(frames(range(burst + 60)))
    while client._busy is not None:
        await asyncio.wait({client._busy})
    assert 4 < sum(naps) < 8


def test_ids_are_32_hex_digits() -> None:
    one, two = make_without_a_loop(), make_without_a_loop()
    assert one.id != two.id
    assert len(one.id) == 32
    int(one.id, 16)


def make_without_a_loop() -> Connection:
    return Connection(
        Handshake(), lambda *_: None, lambda *_: None,  # type: ignore[arg-type, return-value]
        max_frame_size=1, frames_per_second=1, incoming=Incoming(1), all_unsent=Unsent(100_000_000),
    )  # fmt: skip
