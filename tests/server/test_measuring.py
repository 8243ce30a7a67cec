"""What the process counts in each minute, and reports to the site."""

from __future__ import annotations

from typing import Any

from djhookbox.server import metrics
from djhookbox.server.measuring import Measuring
from djhookbox.server.site.outcomes import refusals_in, reply_to
from djhookbox.wire import events, webhooks
from djhookbox.wire.capabilities import MEASURED

from .rig import Rig


def measured(rig: Rig) -> list[dict[str, Any]]:
    return [event for event in rig.reported() if event["event"] == "measured"]


def test_both_sides_know_the_same_bounds() -> None:
    assert metrics.WEBHOOK_BUCKETS == events.WEBHOOK_BOUNDS


async def test_a_minute_is_reported_when_it_has_passed(rig: Rig) -> None:
    rig.site.accepted |= {MEASURED}
    figures = rig.server.runtime.metrics
    measuring = Measuring(rig.server.runtime)
    measuring._begun = 600.0
    figures.messages_in += 3
    figures.closed[1001] += 2
    figures.refusals["subscribe"] += 1
    figures.webhook("connect", "answered", 0.02, 0.0)
    client = await rig.connect("alice")
    measuring.look(630.0)
    await rig.leave(client)
    measuring.look(659.0)
    assert measured(rig) == []
    measuring.look(660.4)
    (minute,) = measured(rig)
    assert (minute["begin"], minute["seconds"]) == (600.0, 60.0)
    assert minute["connections"] == 1  # the highest, not the last
    assert minute["messages_in"] == 4  # with the CONNECT
    assert minute["closed"]["1001"] >= 2
    assert minute["refusals"] == {"subscribe": 1}
    assert minute["webhooks"]["connect"]["answered"][2] >= 1

    figures.messages_in += 2
    measuring.report(661.0)  # the process stops
    last = measured(rig)[-1]
    assert (last["begin"], last["messages_in"], last["closed"]) == (660.0, 2, {})
    assert (last["webhooks"], last["refusals"]) == ({}, {})


async def test_a_site_that_does_not_ask_for_it_gets_nothing(rig: Rig) -> None:
    measuring = Measuring(rig.server.runtime)
    rig.site.accepted -= {MEASURED}
    measuring.report(60.0)
    assert measured(rig) == []


def test_the_refusals_of_a_reply_are_counted() -> None:
    webhook = webhooks.SubscribeMany((webhooks.Wanted("/a/", True, True),), "alice")
    no = [False, {"error": "No.", "code": "refused"}]
    assert refusals_in(reply_to(webhooks.Subscribe("/a/", "alice"), no)) == 1
    assert refusals_in(reply_to(webhooks.Subscribe("/a/", "alice"), [True, {}])) == 0
    channels = {"/a/": {"create": [True, {}], "subscribe": no}, "/b/": {"create": no}}
    assert refusals_in(reply_to(webhook, [True, {"channels": channels}])) == 2
