"""The clock of Redis, as a node keeps it between two readings."""

from __future__ import annotations

import pytest

from djhookbox.server.engine.redis.clock import SharedClock


class Elapsed:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def told(seconds: float) -> list[bytes]:
    whole = int(seconds)
    return [b"%d" % whole, b"%d" % round((seconds - whole) * 1e6)]


@pytest.fixture
def elapsed() -> Elapsed:
    return Elapsed()


def test_until_a_reading_it_is_the_clock_of_the_machine(elapsed: Elapsed) -> None:
    clock = SharedClock(elapsed)
    clock.fallback = lambda: 7.0
    assert clock() == 7.0


def test_it_continues_from_the_middle_of_the_round_trip(elapsed: Elapsed) -> None:
    clock = SharedClock(elapsed)
    clock.read(told(1000.5), asked=48.0)
    assert clock() == pytest.approx(1001.5)
    elapsed.now += 10
    assert clock() == pytest.approx(1011.5)


def test_a_slow_reading_changes_only_what_it_contradicts(elapsed: Elapsed) -> None:
    clock = SharedClock(elapsed)
    clock.read(told(1000), asked=50.0)
    elapsed.now = 60
    clock.read(told(1003), asked=52.0)  # any time from 1003 to 1011 is possible
    assert clock() == pytest.approx(1010)
    clock.read(told(1012), asked=60.0)  # Redis was set
    assert clock() == pytest.approx(1012)
    clock.read(told(1000), asked=59.0)
    assert clock() == pytest.approx(1001)
