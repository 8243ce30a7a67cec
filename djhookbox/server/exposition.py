"""The metrics in the text format of Prometheus, through the optional prometheus_client."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from . import usage
from .budget import Incoming
from .metrics import ENGINE_BUCKETS, Histogram
from .runtime import Runtime
from .unsent import Unsent

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Missing(RuntimeError):
    """The package prometheus_client is not installed."""

    def __str__(self) -> str:
        return "Install prometheus_client: pip install 'django-hookbox[prometheus]'"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the metrics are read from.

    Attributes:
        outbox_lag: Seconds since the site's outbox was last found to be empty, if it has one.

    """

    runtime: Runtime
    outbox_lag: float | None
    unsent: Unsent
    incoming: Incoming
    engine: str


def exposition(facts: Facts) -> tuple[bytes, str]:
    """Return the metrics and their content type.

    Raises:
        Missing: If prometheus_client is not installed.

    """
    try:
        from prometheus_client import CollectorRegistry, exposition
    except ImportError:
        raise Missing from None
    registry = CollectorRegistry()
    registry.register(_process())
    registry.register(_Collector(facts))
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST


def _nodes(runtime: Runtime) -> int:
    """Return how many processes share their channels, 1 without Redis."""
    if runtime.shared is None:
        return 1
    return sum(node.alive for node in runtime.shared.nodes.known.values())


def _engine_up(runtime: Runtime) -> float | None:
    """Return whether Redis answers, or None without Redis."""
    return None if runtime.shared is None else float(runtime.shared.link.is_up)


@cache
def _process() -> Any:
    from prometheus_client import ProcessCollector

    return ProcessCollector(registry=None)


class _Collector:
    """Read the metrics at each scrape: counting costs the server nothing else."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def describe(self) -> list[Metric]:
        """Return no names: the registry need not look for duplicates."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        facts, runtime = self._facts, self._facts.runtime
        metrics, config = runtime.metrics, runtime.config
        info = GaugeMetricFamily(
            "djhookbox_info", "The version and the engine.", labels=["version", "engine"]
        )
        info.add_metric([config.version, facts.engine], 1)
        yield info
        transports = Counter(one.transport for one in runtime.connections)
        connections = GaugeMetricFamily(
            "djhookbox_connections", "Open connections.", labels=["transport"]
        )
        for transport in sorted({"websocket", "csp", *transports}):
            connections.add_metric([transport], transports[transport])
        yield connections
        failing = metrics.failing_since
        for name, text, value in (
            ("connections_limit", "Connections that are accepted.", config.max_connections),
            ("users", "Connected users.", len(runtime.hub.users)),
            ("channels", "Live channels.", len(runtime.hub.channels)),
            ("events_waiting", "Events that the site has not accepted.", runtime.events.waiting),
            ("events_limit", "Events that are kept.", config.max_events),
            ("webhooks_waiting", "Webhooks that wait for their turn.", runtime.webhooks.waiting),
            ("webhooks_in_flight", "Webhooks in progress.", metrics.webhooks_in_flight),
            ("slow_clients", "Clients that have not read everything.", facts.unsent.clients),
            ("unsent_bytes", "Bytes that wait for clients.", facts.unsent.total),
            ("unsent_bytes_limit", "Bytes that may wait for clients.", config.max_unsent_total),
            ("event_loop_lag_seconds", "How late the event loop was.", metrics.loop_lag),
            ("draining", "1 while the process stops.", float(runtime.connections.stopping)),
            (
                "site_failing_seconds",
                "For how long all webhooks have failed.",
                0.0 if failing is None else time.monotonic() - failing,
            ),
            ("nodes", "Processes that share their channels.", _nodes(runtime)),
            ("engine_up", "1 while Redis answers.", _engine_up(runtime)),
            ("memory_limit_bytes", "Memory that the process may use.", usage.memory_limit()),
            ("outbox_lag_seconds", "Time since the outbox was empty.", facts.outbox_lag),
            ("start_time_seconds", "When the process started.", metrics.started),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"djhookbox_{name}", text, value=value)

    def _counters(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        metrics = self._facts.runtime.metrics
        for name, text, value in (
            ("messages_received", "Messages from clients and code.", metrics.messages_in),
            ("messages_sent", "Messages written to clients.", metrics.messages_out),
            ("sent_bytes", "Bytes written to clients.", metrics.bytes_out),
            ("received_bytes", "Bytes of frames from clients.", self._facts.incoming.received),
            ("connections_opened", "Connections opened.", metrics.connections_total),
            ("connections_refused", "Connections refused.", metrics.refused_total),
            ("connections_dropped_slow", "Clients that did not read.", metrics.dropped_slow),
            ("webhook_failures", "Questions without a usable answer.", metrics.webhooks_failed),
            ("events_dropped", "Events that the site will not get.", metrics.events_dropped),
            ("recovered_publications", "Publications sent again.", metrics.recovered),
            ("recovery_gaps", "Recoveries that missed something.", metrics.gaps),
            ("publish_clocks_ahead", "Publications from the future.", metrics.clocks_ahead),
        ):
            yield CounterMetricFamily(f"djhookbox_{name}", text, value=value)
        closed = CounterMetricFamily(
            "djhookbox_connections_closed", "Connections that ended.", labels=["code"]
        )
        for code, count in sorted(metrics.closed.items()):
            closed.add_metric([str(code)], count)
        yield closed
        refusals = CounterMetricFamily(
            "djhookbox_refusals", "What the site refused.", labels=["webhook"]
        )
        for name, count in sorted(metrics.refusals.items()):
            refusals.add_metric([name], count)
        yield refusals
        engine = CounterMetricFamily(
            "djhookbox_engine_events", "What happened between the process and Redis.",
            labels=["event"],
        )  # fmt: skip
        if (shared := self._facts.runtime.shared) is not None:
            for event, count in shared.figures.items():
                engine.add_metric([event], count)
        yield engine

    def _histograms(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        metrics = self._facts.runtime.metrics
        webhooks = HistogramMetricFamily(
            "djhookbox_webhook_seconds", "Duration of webhooks.", labels=["webhook", "outcome"]
        )
        for labels, histogram in sorted(metrics.webhook_times.items()):
            webhooks.add_metric(list(labels), histogram.buckets, histogram.total)
        yield webhooks
        fanout = HistogramMetricFamily(
            "djhookbox_fanout_seconds", "Time to write a message to its receivers."
        )
        fanout.add_metric([], metrics.fanout.buckets, metrics.fanout.total)
        yield fanout
        published = HistogramMetricFamily(
            "djhookbox_publish_seconds", "Time from publish() to the write to the last receiver."
        )
        times = metrics.publish_times
        published.add_metric([], times.buckets, times.total)
        yield published
        engine = HistogramMetricFamily(
            "djhookbox_engine_round_trip_seconds",
            "Time until Redis has carried out an operation, in the process's view.",
        )
        shared = self._facts.runtime.shared
        trips = Histogram(ENGINE_BUCKETS) if shared is None else shared.link.round_trips
        engine.add_metric([], trips.buckets, trips.total)
        yield engine
