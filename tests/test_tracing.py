"""Traces of OpenTelemetry through both processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.test import Client

import djhookbox
from djhookbox.client import calls
from djhookbox.conf import operators
from djhookbox.conf import settings as conf
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.outbox import pulling
from djhookbox.outbox.models import Outbox
from djhookbox.wire import webhooks

trace = pytest.importorskip("opentelemetry.trace")
pytest.importorskip("opentelemetry.sdk")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@cache
def provider() -> Any:
    """Return the provider of all tests: it can be set only once."""
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider()
    trace.set_tracer_provider(made)
    return made


@pytest.fixture
def spans(settings: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Switch tracing on, and return a function that returns the ended spans by name."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    settings.HOOKBOX_TRACING = True
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider().add_span_processor(processor)
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    processor.shutdown()


def traceparent(span: Any) -> str:
    context = span.get_span_context()
    flags = int(context.trace_flags)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


# ---- publishing


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the forms of the REST calls that are made in place of the process."""
    forms: list[dict[str, Any]] = []

    def call(
        name: str, seconds: float | None = None, base: str | None = None, /, **form: Any
    ) -> dict[str, Any]:
        forms.append(form)
        return {"delivered": 1, "outcomes": [{"delivered": 1}] * 2}

    monkeypatch.setattr(calls, "rest_call", call)
    return forms


@pytest.mark.django_db
def test_the_trace_of_the_request_goes_along(
    spans: Any, published: list[dict[str, Any]], make_policy: Any
) -> None:
    make_policy("/a/")
    with djhookbox.testing.real_process(), trace.get_tracer("x").start_as_current_span("request"):
        djhookbox.publish("/a/", 1)
        djhookbox.publish_many([("/a/", 1), ("/a/", 2)])
    found = spans()
    one, many, request = found["publish /a/"], found["publish"], found["request"]
    assert one.parent.span_id == many.parent.span_id == request.context.span_id
    assert [form["traceparent"] for form in published] == [traceparent(one), traceparent(many)]
    assert one.attributes["messaging.destination.name"] == "/a/"
    assert many.attributes["messaging.batch.message_count"] == 2


@pytest.mark.django_db
def test_without_it_nothing_goes_along(published: list[dict[str, Any]], make_policy: Any) -> None:
    make_policy("/a/")
    with djhookbox.testing.real_process():
        djhookbox.publish("/a/", 1)
    assert published[0].get("traceparent", "") == ""
    assert float(published[0]["made"]) > 1.7e9, "but the time does"


@pytest.mark.django_db
def test_the_outbox_keeps_it_until_it_is_pulled(spans: Any, make_policy: Any) -> None:
    make_policy("/durable/", durable=True)
    with djhookbox.testing.real_process():
        djhookbox.publish("/durable/", 1)
    [row] = Outbox.objects.all()
    assert row.trace == traceparent(spans()["publish /durable/"])
    first = pulling.pull(webhooks.Outbox())
    with djhookbox.testing.real_process():
        djhookbox.publish("/durable/", 2)
    known = webhooks.Outbox(first.incarnation, first.number, first.token)
    assert [entry.trace for entry in pulling.pull(known).entries] == [
        Outbox.objects.values_list("trace", flat=True).first()
        or traceparent(spans()["publish /durable/"])
    ]


# ---- webhooks


@pytest.mark.django_db
@pytest.mark.parametrize("instrumented", [False, True])
def test_a_webhook_continues_the_trace_of_the_process(spans: Any, instrumented: bool) -> None:
    form = {"action": "create_channel", "channel_name": "/a/", "secret": conf.webhook_secrets[0]}
    headers = {"X-Hookbox-Version": "djhookbox/1", "traceparent": PARENT}
    if instrumented:  # something else has continued the trace already
        with trace.get_tracer("django").start_as_current_span("POST"):
            Client(headers=headers).post("/hookbox/create_channel", form)
        parent = spans()["POST"].context.span_id
    else:
        Client(headers=headers).post("/hookbox/create_channel", form)
        parent = int(PARENT.split("-")[2], 16)
    assert spans()["webhook create_channel"].parent.span_id == parent


# ---- off, or not installed


def test_nothing_is_imported_unless_it_is_on() -> None:
    code = (
        "import sys, django; django.setup(); "
        "import djhookbox.server.app, djhookbox.views, djhookbox.api; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_it_must_be_installed(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.HOOKBOX_TRACING = True
    monkeypatch.setattr(operators, "_has_opentelemetry", lambda: False)
    with pytest.raises(HookboxMisconfigured, match=r"django-hookbox\[otel\]"):
        _ = conf.tracing
    settings.HOOKBOX_TRACING = False
    assert conf.tracing is False
