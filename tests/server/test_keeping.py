"""How much memory histories may use."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from djhookbox.server.core.changes import Create, Destroy, Publish
from djhookbox.server.core.hub import Hub
from djhookbox.server.core.keeping import Shelf, weigh
from djhookbox.server.core.model import Channel
from djhookbox.server.engine.memory import MemoryEngine

from .house import NOW, House


@pytest.mark.parametrize(
    "text",
    ["[" + "[]," * 2000 + "0]", "[" + "{}," * 2000 + "0]", json.dumps(list(range(1000, 3000))),
     json.dumps({str(n): n for n in range(2000)}), json.dumps("x" * 10_000),
     json.dumps(["ü" * 50] * 200), json.dumps([1.5] * 2000), json.dumps("😀" * 5000)],
)  # fmt: skip
def test_a_weight_is_what_a_value_takes_up(text: str) -> None:
    tracemalloc.start()
    try:
        value = json.loads(text)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * taken <= weigh(value) <= 3 * taken + 500


@pytest.fixture
def house() -> House:
    house = House()
    house.hub = Hub(shelf=Shelf(100_000, 300_000))
    return house


def total(house: House) -> int:
    return sum(channel.weight for channel in house.hub.channels.values())


def test_one_channel_is_bounded(house: House) -> None:
    channel = house.channel(history_size=10_000)
    for number in range(100):
        house.publish(channel, [number, "x" * 5000])
        assert channel.weight <= 100_000
    assert 5 < len(channel.history) < 20
    assert channel.history[-1].data["payload"][0] == 99, "the newest stay"
    assert channel.stream is not None
    numbers = [each.offset for each in channel.stream.publications]
    assert numbers == list(range(101 - len(numbers), 101)), "without holes"


def test_what_is_too_large_alone_is_not_kept(house: House) -> None:
    channel = house.channel(history_size=10)
    house.publish(channel, "x" * 200_000)
    assert (len(channel.history), channel.weight) == (0, 0)
    house.publish(channel, 1)
    assert len(channel.history) == 1


def test_all_channels_are_bounded_together(house: House) -> None:
    quiet = house.channel("quiet", history_size=100)
    house.publish(quiet, "x" * 30_000)
    busy = [house.channel(f"busy{number}", history_size=100) for number in range(20)]
    for _ in range(5):
        for channel in busy:
            house.publish(channel, "x" * 10_000)
            assert total(house) <= 300_000
    assert total(house) > 200_000
    assert not quiet.history, "who is published to longest ago loses first"
    assert busy[-1].history


def test_who_is_published_to_again_keeps_its_history(house: House) -> None:
    first, second, third, last = (house.channel(name, history_size=100) for name in "abcd")
    for channel in (first, second, third, first, last):
        house.publish(channel, "x" * (15_000 if channel is first else 35_000))
    house.publish(last, "x" * 10_000)
    assert house.hub.shelf.total == total(house) <= 300_000
    house.publish(third, "x" * 10_000)
    assert [len(each.history) for each in (first, second, third, last)] == [2, 0, 2, 2]
    house.hub.destroy_channel(first, NOW)
    assert house.hub.shelf.total == total(house)


def weight_of(channel: Channel) -> int:
    stream = channel.stream
    assert stream is not None
    assert stream.weight == sum(each.weight for each in stream.publications)
    return stream.weight + sum(entry.weight for entry in channel.history)


def test_weights_are_right_whatever_happens(house: House) -> None:
    channel = house.channel(history_size=5, history_duration=10, presenceful=True)
    for number in range(8):
        house.publish(channel, "x" * 100 * number)
        assert channel.weight == weight_of(channel)
    house.subscribe(house.connect("alice"), channel)
    assert channel.weight == weight_of(channel)
    house.set_options(channel, {"history": [["PUBLISH", {"payload": [1]}]]})
    assert channel.weight == weight_of(channel)
    house.set_options(channel, {"history_size": 2})
    assert channel.weight == weight_of(channel)
    channel.trim(NOW + 100)
    assert channel.weight == weight_of(channel) == 0
    house.publish(channel, 1)
    house.set_options(channel, {"history_size": 0})
    assert channel.weight == 0
    house.hub.destroy_channel(channel, NOW)
    assert house.hub.shelf.total == 0


@pytest.mark.parametrize("recovery", [0, 60])
async def test_the_engine_is_bounded_too(recovery: float) -> None:
    engine = MemoryEngine(max_stream_bytes=10_000, max_bytes=30_000, recovery=recovery)
    options = Create({"history_size": 100}, NOW)
    for name in "abcdefgh":
        engine.propose(name, options)
    for _ in range(29):
        engine.propose("a", Publish({"payload": "x" * 1000}, NOW))
        assert engine._weight <= 10_000, "there is only one stream yet"
    for _ in range(29):
        for name in "abcdefgh":
            engine.propose(name, Publish({"payload": "x" * 1000}, NOW))
            assert engine._weight <= 30_000
    kept: dict[str, Any] = {name: engine.propose(name, options).stream for name in "abcdefgh"}
    assert sum(len(stream.publications) for stream in kept.values()) > 10
    assert all(len(stream.publications) <= 5 for stream in kept.values())
    assert kept["h"].publications[-1].offset == 29
    for name in "abcdefgh":
        engine.propose(name, Destroy(NOW))
        await engine.forget(name, NOW)
    assert (engine._weight, engine._count) == (0, 0)
