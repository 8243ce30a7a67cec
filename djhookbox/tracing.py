"""OpenTelemetry, if `HOOKBOX_TRACING` is on: spans around publications and webhooks.

Nothing of it is imported otherwise. Traces cross over to the process and back as `traceparent`
(W3C Trace Context): in REST calls, in the rows of the outbox, and in a header of webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from django.http import HttpRequest

from ._version import __version__
from .conf import settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

#: The header and the field that contain the trace.
HEADER = "traceparent"


def publishing(channel: str, count: int = 1) -> AbstractContextManager[str]:
    """Return a context with a span for publications; it gives the `traceparent`, or "".

    Args:
        channel: The channel; "" if there are several.
        count: The number of publications.

    """
    return _publishing(channel, count) if settings.tracing else nullcontext("")


def webhook(request: HttpRequest, name: str) -> AbstractContextManager[object]:
    """Return a context with a span for a webhook, which continues the trace of the process."""
    return _webhook(request, name) if settings.tracing else nullcontext()


@contextmanager
def _publishing(channel: str, count: int) -> Iterator[str]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    facts: dict[str, str | int] = {
        "messaging.system": "hookbox", "messaging.operation.name": "publish",
    }  # fmt: skip
    if channel:
        facts["messaging.destination.name"] = channel
    if count != 1:
        facts["messaging.batch.message_count"] = count
    name = f"publish {channel}" if channel else "publish"
    with _tracer().start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=facts):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        yield carrier.get(HEADER, "")


@contextmanager
def _webhook(request: HttpRequest, name: str) -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context, kind = None, trace.SpanKind.INTERNAL
    if not trace.get_current_span().get_span_context().is_valid:
        # The project does not instrument Django, which would have continued the trace already.
        carrier = {HEADER: request.headers.get(HEADER, "")}
        context, kind = TraceContextTextMapPropagator().extract(carrier), trace.SpanKind.SERVER
    facts = {"hookbox.webhook": name}
    with _tracer().start_as_current_span(
        f"webhook {name}", context=context, kind=kind, attributes=facts
    ):
        yield


def _tracer() -> Tracer:
    from opentelemetry import trace

    return trace.get_tracer("djhookbox", __version__)
