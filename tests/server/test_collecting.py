"""When the server collects its garbage, and when it does not."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from djhookbox.server.collecting import GROWTH, IDLE_SECONDS, PAUSE_SECONDS, THRESHOLDS, Collecting


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    found: list[str] = []
    for name in ("freeze", "unfreeze", "collect"):
        monkeypatch.setattr(gc, name, lambda name=name: found.append(name))
    return found


def test_nothing_is_frozen_without_growth(calls: list[str]) -> None:
    collecting = Collecting()
    for second in range(1000):
        collecting.look(second, GROWTH - 1, 0)
    collecting.stop()
    assert calls == []


def test_growth_is_frozen_once(calls: list[str]) -> None:
    collecting = Collecting()
    for second, connections in enumerate([100, GROWTH, GROWTH + 1, 2 * GROWTH, 2 * GROWTH]):
        collecting.look(second, connections, second)
    assert calls == ["freeze", "freeze"]
    collecting.stop()
    assert calls == ["freeze", "freeze", "unfreeze"]


def test_everything_is_collected_when_nothing_happens(calls: list[str]) -> None:
    collecting = Collecting()
    collecting.look(0, GROWTH, 1)
    calls.clear()
    collecting.look(IDLE_SECONDS - 1, GROWTH, 1)
    assert calls == []
    collecting.look(IDLE_SECONDS, GROWTH, 1)
    assert calls == ["unfreeze", "collect", "freeze"]
    collecting.look(PAUSE_SECONDS * 2, GROWTH, 1)
    assert len(calls) == 3, "the number of connections has not changed"


def test_nothing_is_collected_while_the_server_is_busy_or_has_just_collected(
    calls: list[str],
) -> None:
    collecting = Collecting()
    collecting.look(0, GROWTH, 0)
    calls.clear()
    for second in range(1, 100):
        collecting.look(second, GROWTH, second)
    assert calls == []
    collecting.look(200, GROWTH, 99)
    assert len(calls) == 3
    collecting.look(400, 10, 99)
    assert len(calls) == 3
    collecting.look(200 + PAUSE_SECONDS, 10, 99)
    assert len(calls) == 6, "what has gone is released"


def test_young_objects_are_collected_less_often_until_the_server_stops() -> None:
    before = gc.get_threshold()
    collecting = Collecting()
    collecting.start()
    assert gc.get_threshold() == THRESHOLDS
    collecting.stop()
    assert gc.get_threshold() == before
