"""Counters and rates."""

from __future__ import annotations

from djhookbox.server.metrics import WINDOW, Metrics


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
