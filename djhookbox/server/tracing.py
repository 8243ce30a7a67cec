"""OpenTelemetry in the server, if it is configured: spans around webhooks and socket writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from ..wire import webhooks
from .core.effects import Made

#: Webhooks with their own span: those on which clients or code wait. The others are periodic.
TRACED = frozenset({*(one.name for one in webhooks.BATCHABLE), webhooks.Batch.name})

NANO = 1_000_000_000


class Tracing:
    """Makes spans with the API of OpenTelemetry; what becomes of them is up to the project.

    Args:
        version: Of this package.

    """

    def __init__(self, version: str) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = trace.get_tracer("djhookbox.server", version)
        self._propagator = TraceContextTextMapPropagator()
        self._kinds = trace.SpanKind

    @contextmanager
    def webhook(self, name: str, headers: MutableMapping[str, str]) -> Iterator[None]:
        """Make a span for a webhook, and add its trace to the headers."""
        with self._tracer.start_as_current_span(
            f"webhook {name}", kind=self._kinds.CLIENT, attributes={"hookbox.webhook": name}
        ):
            self._propagator.inject(headers)
            yield

    def written(self, made: Made, channel: str, receivers: int) -> None:
        """Make a span from the arrival of a publication to the write to its last receiver."""
        now = time.time_ns()
        span = self._tracer.start_span(
            f"deliver {channel}",
            context=self._propagator.extract({"traceparent": made.trace}),
            kind=self._kinds.CONSUMER,
            start_time=min(now, made.arrived or now),
            attributes={
                "messaging.system": "hookbox",
                "messaging.operation.name": "deliver",
                "messaging.destination.name": channel,
                "hookbox.receivers": receivers,
            },
        )
        span.end(now)


def make_tracing(enabled: bool, version: str) -> Tracing | None:
    """Return what makes spans, or None if there are none."""
    return Tracing(version) if enabled else None
