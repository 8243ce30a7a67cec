"""What the process says is wrong, with figures and since when."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.problems import EVERY, NAMES, RECENT, Problems


class Case:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.server = Server(ServerConfig(max_connections=10, max_events=100), clock=self.clock)
        self.problems: Problems = self.server.service.problems
        self.metrics = self.server.metrics

    def clock(self) -> float:
        return self.now

    def after(self, seconds: float = EVERY) -> dict[str, tuple[float, float | None, float | None]]:
        self.now += seconds
        self.problems.look(self.now)
        names = [one.name for one in self.problems.found]
        assert names == [name for name in NAMES if name in names]
        return {one.name: (one.value, one.limit, one.since) for one in self.problems.found}


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr("djhookbox.server.usage.files", lambda: (10, 100))
    monkeypatch.setattr("djhookbox.server.usage.memory", lambda: (None, None))
    return Case()


async def test_a_quiet_process_has_none(case: Case) -> None:
    assert case.after() == {}
    assert case.after(RECENT) == {}


async def test_failures_are_counted_for_ten_minutes(case: Case) -> None:
    case.after()
    case.metrics.webhooks_total, case.metrics.webhooks_failed = 20, 3
    assert case.after() == {"webhooks_failed": (3, 20, 1_010.0)}
    case.metrics.webhooks_total += 80
    assert case.after(60) == {"webhooks_failed": (3, 100, 1_010.0)}
    case.metrics.webhooks_failed += 1
    case.metrics.webhooks_total += 1
    assert case.after(RECENT - 30)["webhooks_failed"][0] == 1, "the three are long ago"
    assert case.after(2 * RECENT) == {}


async def test_a_site_that_fails_is_named_with_its_time(case: Case) -> None:
    case.metrics.webhook("connect", "failed", 0.1, time.monotonic() - 30)
    value, limit, since = case.after()["site_failing"]
    assert 29 < value < 60
    assert limit is None
    assert since == pytest.approx(case.now - value, abs=1)
    case.metrics.webhook("connect", "refused", 0.1, time.monotonic())
    assert case.after() == {}


async def test_what_was_lost_is_said(case: Case) -> None:
    case.after()
    case.metrics.dropped_slow, case.metrics.events_dropped, case.metrics.gaps = 1, 2, 3
    assert case.after() == {
        "too_slow": (1, None, 1_010.0), "events_lost": (2, None, 1_010.0),
        "gaps": (3, None, 1_010.0),
    }  # fmt: skip


async def test_a_state_lasts_since_it_began(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(count: int) -> None:
        events = case.server.runtime.events
        monkeypatch.setattr(type(events), "waiting", count)

    waiting(10)
    assert case.after() == {}, "a tenth is usual"
    waiting(11)
    assert case.after() == {"events_waiting": (11, 100, 1_010.0)}
    waiting(60)
    assert case.after() == {"events_waiting": (60, 100, 1_010.0)}
    waiting(0)
    assert case.after() == {}
    waiting(12)
    assert case.after() == {"events_waiting": (12, 100, 1_025.0)}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("loop_late", lambda case: setattr(case.metrics, "loop_lag", 0.5)),
        ("webhooks_slow", lambda case: case.metrics.webhook_seconds.extend([2.0] * 9)),
        ("unsent", lambda case: setattr(case.server.clients.handshakes.unsent, "_estimate", 10**9)),
    ],
)
async def test_states(case: Case, name: str, cause: Callable[[Case], None]) -> None:
    cause(case)
    assert list(case.after()) == [name]


async def test_limits_are_compared(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("djhookbox.server.usage.files", lambda: (91, 100))
    assert case.after() == {"files": (91, 100, 1_005.0)}
    monkeypatch.setattr("djhookbox.server.usage.files", lambda: (None, None))
    assert case.after() == {}
    monkeypatch.setattr("djhookbox.server.usage.memory", lambda: (950, 1000))
    assert case.after() == {"memory": (950, 1000, case.now)}
    monkeypatch.setattr("djhookbox.server.usage.memory", lambda: (None, None))
    connections = case.server.runtime.connections
    monkeypatch.setattr(type(connections), "__len__", lambda self: 10)
    assert case.after()["connections"][:2] == (10, 10)


async def test_it_looks_only_now_and_then(case: Case) -> None:
    case.after()
    case.metrics.gaps = 1
    assert case.after(EVERY / 2) == {}
    assert "gaps" in case.after(EVERY / 2)
