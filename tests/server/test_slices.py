"""Slices of a large audience: who gets what, in which message."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from djhookbox.server.channels import slices
from djhookbox.server.channels.slices import SLICE, SLICE_BYTES, FanOut, most
from djhookbox.server.core.effects import Made
from djhookbox.server.core.model import User


class Client:
    """Something that can be in an audience."""

    def __init__(self, name: int) -> None:
        self.id = str(name)
        self.user: User | None = None
        self.apart = False
        self.got: list[bytes] = []
        self.messages = 0

    def get(self, frames: Sequence[bytes]) -> None:
        self.got += frames
        self.messages += bool(frames)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 3)


def serve(fan_out: FanOut) -> int:
    """Serve one slice; return how many connections it had."""
    clients, frames = fan_out.take()
    for client in clients:
        assert isinstance(client, Client)
        client.get(frames)
    return len(clients)


def finish(fan_out: FanOut) -> None:
    for _ in range(1000):
        if fan_out.is_done:
            return
        serve(fan_out)
    raise AssertionError("the fan-out never ends")


def test_a_frame_makes_one_round() -> None:
    clients = [Client(number) for number in range(8)]
    fan_out = FanOut([b"1"], clients)
    assert [serve(fan_out) for _ in range(3)] == [3, 3, 2]
    assert fan_out.is_done
    assert [client.got for client in clients] == [[b"1"]] * 8


def test_frames_join_for_every_slice_until_it_is_closed() -> None:
    clients = [Client(number) for number in range(9)]
    fan_out = FanOut([b"0"], clients)
    fan_out.is_open = True
    for number in range(1, 7):
        serve(fan_out)
        fan_out.add(b"%d" % number, None)
    fan_out.is_open = False
    finish(fan_out)
    assert [client.got for client in clients] == [[b"%d" % number for number in range(7)]] * 9
    assert {client.messages for client in clients} == {3}


def test_the_lag_is_that_of_the_slice_furthest_behind() -> None:
    clients = [Client(number) for number in range(6)]
    fan_out = FanOut([b"abc"], clients)
    fan_out.is_open = True
    lags = [fan_out.lag]
    for frame in (b"de", b"", b""):
        serve(fan_out)
        if frame:
            fan_out.add(frame, None)
        lags.append(fan_out.lag)
    assert lags == [3, 5, 2, 0]
    assert fan_out.is_done


def test_slices_that_lack_the_same_share_a_message() -> None:
    fan_out = FanOut([b"a"], [Client(number) for number in range(7)])
    first = fan_out.packet(fan_out.take()[1])
    assert fan_out.packet(fan_out.take()[1]) is first
    fan_out.add(b"b", None)
    last = fan_out.packet(fan_out.take()[1])
    assert (first.data, last.data) == (b"a", b"ab")


def test_a_large_message_has_small_slices() -> None:
    assert [most(size) for size in (0, 1, SLICE_BYTES // 2, 2 * SLICE_BYTES)] == [3, 3, 2, 1]
    fan_out = FanOut([b"x" * (SLICE_BYTES // 2)], [Client(number) for number in range(4)])
    assert [serve(fan_out), serve(fan_out)] == [2, 2]
    assert slices.MAX_JOINED * SLICE <= SLICE_BYTES


def test_a_publication_has_arrived_when_everybody_has_it() -> None:
    made = [Made(float(number)) for number in range(3)]
    fan_out = FanOut([b"0"], [Client(number) for number in range(6)], made=made[:1])
    fan_out.is_open = True
    arrived = []
    for each in (made[1], made[2], None, None):
        serve(fan_out)
        if each is not None:
            fan_out.add(b"1", each)
        arrived.append(fan_out.arrived())
    assert arrived == [[], made[:1], made[1:2], made[2:]]


@pytest.mark.parametrize("seed", range(20))
def test_everybody_gets_everything_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    clients = [Client(number) for number in range(chance.randrange(4, 40))]
    fan_out = FanOut([b"0"], clients)
    fan_out.is_open = True
    sent = [b"0"]
    largest = 0
    for number in range(1, 200):
        what = chance.random()
        if what < 0.4:
            largest = max(largest, serve(fan_out))
        elif what < 0.7:
            one = chance.choice(clients)
            one.get(fan_out.take_one(one))
            assert one.got == sent, "a connection served alone has everything then"
        elif fan_out.is_open:
            sent.append(b"%d" % number)
            fan_out.add(sent[-1], None)
        if number == 150:
            fan_out.is_open = False
    finish(fan_out)
    assert [client.got for client in clients] == [sent] * len(clients)
    assert (fan_out.lag, largest) == (0, 3)
