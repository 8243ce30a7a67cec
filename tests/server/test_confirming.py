"""Identities are confirmed in each interval."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.site import confirming as module
from djhookbox.server.site.confirming import MOST_BYTES, SHARE, Confirming
from djhookbox.server.site.webhooks import Rejected, WebhookFailed
from djhookbox.wire import bodies, capabilities, webhooks
from djhookbox.wire.closing import ACCOUNT_GONE, SESSION_EXPIRED

from ..stand_ins.clock import Clock
from ..stand_ins.waiting import until
from .rig import FakeConnection, Rig, turns


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Rig:
    monkeypatch.setattr(module, "BREATH", 0)
    rig = Rig(revalidate_seconds=100.0)
    object.__setattr__(rig.server.runtime, "clock", clock)
    rig.site.accepted = frozenset({*rig.site.accepted, capabilities.CONFIRM})
    rig.site.answers["connect"] = connected
    return rig


def connected(form: Mapping[str, str]) -> dict[str, str]:
    """Name a user; the connections of a user have the same identity."""
    name = json.loads(form["payload"])
    return {"name": name, "identity": f"id of {name}"}


def answering(rig: Rig, **ended: list[FakeConnection]) -> None:
    ids = {kind: [each.id for each in clients] for kind, clients in ended.items()}
    rig.site.answers["confirm"] = lambda form: {
        "answered": len(json.loads(form["connections"])),
        **ids,
    }


def asked(rig: Rig) -> list[list[dict[str, str]]]:
    return [json.loads(form["connections"]) for _hook, form in rig.site.took("confirm")]


async def test_the_site_names_who_must_go(rig: Rig) -> None:
    alice, twin, bob, carol = [await rig.connect(name) for name in ("a", "a", "b", "c")]
    bob.cookie = "sessionid=b; x=\udce9"  # a byte that is not UTF-8
    unconnected = rig.client()
    answering(rig, expired=[alice], gone=[bob])
    await Confirming(rig.server.runtime).confirm()
    (call,) = asked(rig)
    assert [(each["conn_id"], each["user"], each["identity"]) for each in call] == [
        (each.id, name, f"id of {name}")
        for each, name in ((alice, "a"), (twin, "a"), (bob, "b"), (carol, "c"))
    ]
    assert [each.get("cookie", "") for each in call] == ["", "", "sessionid=b; x=?", ""]
    assert alice.end == twin.end == SESSION_EXPIRED
    assert bob.end == ACCOUNT_GONE
    assert carol.end is unconnected.end is None
    await turns()
    rig.check()


async def test_only_what_was_asked_about_is_closed(rig: Rig) -> None:
    alice = await rig.connect("a")
    rig.site.answers["confirm"] = {"answered": 1, "expired": ["x", ""], "gone": ["id of a"]}
    await Confirming(rig.server.runtime).confirm()
    assert len(asked(rig)) == 1
    assert alice.end is None


async def test_a_client_that_is_being_identified_ends_as_well(rig: Rig) -> None:
    alice = await rig.connect("a")
    answering(rig, expired=[alice])
    held = rig.site.hold("connect")
    late = rig.client()
    sending = asyncio.create_task(rig.send(late, "CONNECT", cookie_string="", payload='"a"'))
    await turns()
    await Confirming(rig.server.runtime).confirm()
    held.set()
    await sending
    await turns()
    assert late.end == SESSION_EXPIRED


@pytest.mark.parametrize(
    "failure",
    [WebhookFailed(), {}, {"answered": "all", "gone": "all"}, {"answered": 1, "gone": [5]}],
    ids=["down", "empty", "odd", "odd ids"],
)
async def test_a_site_that_fails_ends_nothing_and_is_asked_again(
    rig: Rig, clock: Clock, failure: Any
) -> None:
    alice = await rig.connect("a")
    confirming = Confirming(rig.server.runtime)
    rig.site.answers["confirm"] = failure
    clock.now += 95
    await confirming.look()
    assert alice.end is None
    assert len(asked(rig)) == 1
    await confirming.look()
    assert asked(rig) == [], "the site is left alone until the next interval"
    answering(rig, gone=[alice])
    clock.now += 95
    await confirming.look()
    assert alice.end == ACCOUNT_GONE


async def test_a_round_begins_before_the_interval_is_over(rig: Rig, clock: Clock) -> None:
    await rig.connect("a")
    answering(rig)
    confirming = Confirming(rig.server.runtime)
    rounds = 0
    for _ in range(1000):
        clock.now += 1
        await confirming.look()
        rounds += len(asked(rig))
    assert rounds == 1000 // (SHARE * 100)
    clock.now -= 5000
    await confirming.look()
    assert len(asked(rig)) == 1, "the clock was set back"


async def test_it_runs_until_cancelled_unless_it_is_switched_off(
    rig: Rig, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.001)
    await rig.connect("a")
    answering(rig)
    running = asyncio.create_task(Confirming(rig.server.runtime).run())
    clock.now += 95
    await until(lambda: "confirm" in [hook for hook, _form in rig.site.calls])
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    off = Confirming(Rig(revalidate_seconds=0.0).server.runtime)
    await asyncio.wait_for(off.run(), 10)


async def test_other_applications_are_not_asked(rig: Rig) -> None:
    rig.site.accepted -= {capabilities.CONFIRM}
    await rig.connect("a")
    await Confirming(rig.server.runtime).confirm()
    assert asked(rig) == []


async def crowd(rig: Rig, count: int, cookie: str) -> None:
    """Have many connections with cookies."""
    user = (await rig.connect("a")).user
    for number in range(count - 1):
        client = rig.client()
        client.user, client.cookie = user, cookie
        rig.connections.identify(client, f"session:{number:064}")


async def test_ten_thousand_connections_cost_at_most_twenty_calls(rig: Rig) -> None:
    await crowd(rig, 10_000, "sessionid=" + "k" * 590)
    answering(rig)
    await Confirming(rig.server.runtime).confirm()
    calls = asked(rig)
    ids = [each["conn_id"] for call in calls for each in call]
    assert sorted(ids) == sorted(each.id for each in rig.connections)
    assert len(calls) == 12, "as the documentation says"
    assert len(calls) / SHARE <= 20
    assert max(map(len, calls)) <= webhooks.MOST_CONFIRMED


async def test_calls_stay_below_the_limit_of_proxies(rig: Rig) -> None:
    await crowd(rig, 300, 'x="\\\u00e9"; ' + "y" * 8000)
    answering(rig)
    await Confirming(rig.server.runtime).confirm()
    forms = [form for _hook, form in rig.site.took("confirm")]
    assert sum(len(json.loads(form["connections"])) for form in forms) == 300
    sizes = [len(bodies.as_json(form)) for form in forms]
    assert 0.9 * MOST_BYTES < max(sizes) < MOST_BYTES + 1000


async def test_what_the_site_had_no_time_for_is_asked_again(rig: Rig) -> None:
    for name in "abcde":
        await rig.connect(name)
    rig.site.answers["confirm"] = {"answered": 2}
    await Confirming(rig.server.runtime).confirm()
    names = [[each["user"] for each in call] for call in asked(rig)]
    assert names == [list("abcde"), list("cde"), list("e")]
    rig.site.answers["confirm"] = {"answered": 0}
    await asyncio.wait_for(Confirming(rig.server.runtime).confirm(), 30)
    assert len(asked(rig)) == 5, "it ends all the same"


async def test_a_call_that_the_site_rejects_does_not_hold_up_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_CONFIRMED", 1)
    for name in "ab":
        await rig.connect(name)
    rig.site.answers["confirm"] = Rejected(413, "too large")
    await Confirming(rig.server.runtime).confirm()
    assert len(asked(rig)) == 2
    rig.site.answers["confirm"] = WebhookFailed()
    await Confirming(rig.server.runtime).confirm()
    assert len(asked(rig)) == 1
