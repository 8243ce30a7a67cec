"""Spans of the server, and the time from `publish()` to the write."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from djhookbox.server.channels import slices
from djhookbox.server.metrics import SKEW, Metrics
from djhookbox.wire import webhooks

from ..test_tracing import PARENT, traceparent
from ..test_tracing import spans as spans
from .rig import Rig, turns
from .test_webhooks import App, Start
from .test_webhooks import site as site
from .test_webhooks import start as start

MakeRig = Callable[..., Rig]


def total(rig: Rig) -> int:
    return sum(rig.server.metrics.publish_times.counts)


async def publish(rig: Rig, made: float, trace: str = "", name: str = "room") -> None:
    await rig.rest(
        "publish", channel_name=name, payload="1", made=json.dumps(made), traceparent=trace
    )
    await turns()


async def test_the_span_ends_with_the_write(spans: Any, make_rig: MakeRig) -> None:
    rig = make_rig(tracing=True)
    for name in ("bob", "carol"):
        await rig.subscribe(await rig.connect(name), "room")
    await publish(rig, rig.server.runtime.clock(), PARENT)
    span = spans()["deliver room"]
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert span.attributes["hookbox.receivers"] == 2
    assert span.end_time >= span.start_time


@pytest.mark.parametrize("trace", ["", "nonsense", "00-0-0-00"])
async def test_a_trace_that_is_none_does_no_harm(spans: Any, make_rig: MakeRig, trace: str) -> None:
    rig = make_rig(tracing=True)
    await rig.subscribe(await rig.connect("bob"), "room")
    await publish(rig, rig.server.runtime.clock(), trace)
    assert total(rig) == 1
    assert all(span.parent is None for span in spans().values())


async def test_webhooks_carry_the_trace(spans: Any, site: App, start: Start) -> None:
    quiet = await start(site.url)
    await quiet.send(webhooks.Subscribe("/a/", "alice"))
    traced = await start(site.url, tracing=True)
    await traced.send(webhooks.Subscribe("/a/", "alice"))
    await traced.send(webhooks.Events("[]"))
    found = [request.headers.get("traceparent") for request, _form in site.requests]
    assert found == [None, traceparent(spans()["webhook subscribe"]), None]


# ---- the metric


async def test_the_time_since_publish_is_measured_when_it_is_written(rig: Rig) -> None:
    now = rig.server.runtime.clock()
    await publish(rig, now, name="nobody")
    assert total(rig) == 0, "nobody has received it"
    await rig.subscribe(await rig.connect("bob"), "room")
    await publish(rig, now - 2)
    times = rig.server.metrics.publish_times
    assert (total(rig), times.total >= 2) == (1, True)
    await rig.rest("publish", channel_name="room", payload="1")
    await turns()
    assert total(rig) == 1, "another caller does not say when"
    many = json.dumps([{"channel_name": "room", "payload": "1"}] * 3)
    await rig.rest("publish_many", publications=many, made=json.dumps(now))
    await turns()
    assert total(rig) == 4


async def test_it_is_measured_when_the_last_slice_is_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE", 2)
    for number in range(5):
        await rig.subscribe(await rig.connect(f"user{number}"), "room")
    written = []
    monkeypatch.setattr(
        rig.server.metrics,
        "written",
        lambda seconds: written.append(rig.server.metrics.messages_out),
    )
    before = rig.server.metrics.messages_out
    await publish(rig, 1.0)
    assert written == [before + 5]


def test_clocks_that_differ() -> None:
    metrics = Metrics(0.0)
    metrics.written(-SKEW / 2)
    metrics.written(-SKEW * 2)
    assert (sum(metrics.publish_times.counts), metrics.publish_times.total) == (1, 0)
    assert metrics.clocks_ahead == 1
