"""Clients that have not connected: how many, for how long, and how many from one address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import pytest

from djhookbox.server.clients.unconnected import Unconnected

from ..stand_ins.waiting import until


class Room:
    """The room, and who has been sent away from it."""

    def __init__(self, most: int = 100, per_address: int = 100, seconds: float = 60.0) -> None:
        self.gone: list[str] = []
        self.room = Unconnected(most, per_address, seconds, lambda address: address == "10.0.0.1")

    def add(self, name: str, address: str = "192.0.2.1", *, timed: bool = False) -> None:
        self.room.add(name, address, partial(self.gone.append, name), timed=timed)


async def test_the_oldest_makes_room_for_a_newcomer() -> None:
    room = Room(most=3)
    for name in "abcde":
        room.add(name)
    assert room.gone == ["a", "b"]
    assert len(room.room) == 3
    room.room.remove("c")
    room.add("f")
    assert room.gone == ["a", "b"]
    while room.room.drop_oldest():
        pass
    assert room.gone == ["a", "b", "d", "e", "f"]
    assert room.room._by_network == {}


@pytest.mark.parametrize(
    ("addresses", "gone"),
    [
        (["192.0.2.1"] * 3 + ["192.0.2.2"], ["0"]),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], []),
        # One client has as many addresses as it likes in its network of 64 bits.
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"], ["0"]),
        (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], ["0"]),
        (["10.0.0.1"] * 4, []),  # a proxy that does not tell for whom
        (["", "", "", "unix"], []),
    ],
)
async def test_a_bound_per_address(addresses: list[str], gone: list[str]) -> None:
    room = Room(per_address=2)
    for number, address in enumerate(addresses):
        room.add(str(number), address)
    assert room.gone == gone


async def test_nobody_else_has_to_go_for_an_address() -> None:
    room = Room(most=10, per_address=2)
    room.add("visitor", "192.0.2.9")
    for number in range(50):
        room.add(str(number))
    assert "visitor" not in room.gone
    assert len(room.room) == 3


async def test_time_is_short() -> None:
    room = Room(seconds=0.05)
    room.add("slow", timed=True)
    room.add("patient")
    room.add("quick", timed=True)
    room.room.remove("quick")
    await until(lambda: room.gone == ["slow"])
    await asyncio.sleep(0.1)
    assert room.gone == ["slow"]


async def test_each_has_its_own_time_on_one_timer() -> None:
    room = Room(seconds=0.05)
    for name in "abc":
        room.add(name, timed=True)
        await asyncio.sleep(0.02)
    room.add("again", timed=True)
    await until(lambda: room.gone == ["a", "b", "c", "again"])
    room.add("later", timed=True)
    await until(lambda: room.gone[-1] == "later")
    assert room.room._deadlines == {}


async def test_who_is_kept_has_no_time_limit() -> None:
    room = Room(seconds=0.02)
    room.add("kept", timed=True)
    room.room.keep("kept")
    room.add("timed", timed=True)
    await until(lambda: room.gone == ["timed"])
    assert len(room.room) == 1


@pytest.mark.parametrize(("stays", "left"), [(True, 1), (False, 0)])
async def test_the_site_may_take_its_time(stays: bool, left: int) -> None:
    room = Room(most=1, seconds=0.05)
    room.add("asking", timed=True)
    with room.room.asking("asking", lambda: stays):
        room.add("other")
        await asyncio.sleep(0.1)
        assert room.gone == []
        room.room.remove("other")
    assert len(room.room) == left
    await until(lambda: room.gone == ["asking"] * left)


async def test_who_is_unknown_is_not_added() -> None:
    room = Room()
    with room.room.asking("stranger", lambda: True):
        pass
    assert len(room.room) == 0


async def test_a_failure_returns_to_the_room() -> None:
    room = Room()
    room.add("asking")
    with pytest.raises(ValueError), room.room.asking("asking", lambda: True):
        raise ValueError
    assert len(room.room) == 1


async def test_a_flood_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(most=2)
    with caplog.at_level(logging.WARNING, logger="djhookbox.server"):
        for number in range(1000):
            room.add(str(number))
    (record,) = caplog.records
    assert "HOOKBOX_MAX_UNCONNECTED" in record.getMessage()


async def test_dropping_may_remove() -> None:
    """As a connection does that is closed."""
    room = Unconnected(1, 1, 60.0)
    gone: list[str] = []

    def drop(name: str) -> Callable[[], None]:
        return lambda: (room.remove(name), gone.append(name))[0] and None

    room.add("a", "", drop("a"))
    room.add("b", "", drop("b"))
    assert gone == ["a"]
    assert len(room) == 1
