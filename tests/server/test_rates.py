"""Moving averages."""

from __future__ import annotations

import pytest

from djhookbox.server.core.rates import FADING, Rate


def test_a_steady_rate_is_found_and_fades_when_it_stops() -> None:
    rate = Rate()
    assert rate.per_second(1000.0) == 0.0
    now = 1000.0
    for _ in range(1000):
        now += 0.1
        rate.add(now)
    assert rate.per_second(now) == pytest.approx(10, rel=0.02)
    assert rate.per_second(now + FADING) == pytest.approx(10 / 2.718, rel=0.02)
    assert rate.per_second(now + 100 * FADING) < 0.001


def test_a_clock_that_was_set_back_changes_nothing() -> None:
    rate = Rate()
    rate.add(1000.0)
    assert rate.per_second(10.0) == rate.per_second(1000.0)
