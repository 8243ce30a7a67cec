"""Counters and rates."""

from __future__ import annotations

from djhookbox.server.metrics import STEP, WINDOW, Metrics


def test_rates_are_those_of_the_latest_seconds() -> None:
    metrics = Metrics(0.0)
    assert metrics.rates() == (0.0, 0.0)
    for second in range(1, 31):
        metrics.messages_in += 2
        metrics.messages_out += 100 if second > 20 else 0
        metrics.sample(float(second))
    assert metrics.rates(10) == (2.0, 100.0)
    assert metrics.rates(30) == (2.0, 1000 / 30)


def test_samples_are_bounded() -> None:
    metrics = Metrics(0.0)
    for second in range(2 * WINDOW):
        metrics.sample(float(second))
    assert len(metrics._samples) == WINDOW


def test_percentiles() -> None:
    metrics = Metrics(0.0)
    assert metrics.webhook_percentile(0.95) is None
    metrics.webhook_seconds.extend([0.3, 0.1, 0.2])
    assert metrics.webhook_percentile(0.0) == 0.1
    assert metrics.webhook_percentile(0.5) == 0.2
    assert metrics.webhook_percentile(1.0) == 0.3


def test_a_series_goes_from_the_oldest_point_to_now() -> None:
    metrics = Metrics(0.0)
    assert metrics.series() == ([], [])
    for second in range(1, 4 * STEP + 1):
        metrics.messages_in += second > 2 * STEP
        metrics.messages_out += 5 * (second > 3 * STEP)
        metrics.sample(float(second))
    assert metrics.series() == ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0])


def test_a_series_covers_the_window_and_no_more() -> None:
    metrics = Metrics(0.0)
    for second in range(3 * WINDOW):
        metrics.sample(float(second))
    incoming, outgoing = metrics.series()
    assert len(incoming) == len(outgoing) == WINDOW // STEP - 1


def test_a_clock_that_was_set_back_divides_by_nothing() -> None:
    metrics = Metrics(100.0)
    for _ in range(3 * STEP):
        metrics.sample(50.0)
    assert metrics.series()[0][-1] == 0.0
