"""Sessions are asked about when they expire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.clients import expiries
from djhookbox.server.clients.expiries import Expiries
from djhookbox.server.site import confirming
from djhookbox.server.site.expiring import Expiring
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire import capabilities

from ..stand_ins.clock import Clock
from .rig import Rig
from .test_confirming import answering, asked

LIFE = 100.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Rig:
    monkeypatch.setattr(confirming, "BREATH", 0)
    rig = Rig(revalidate_seconds=0.0)
    object.__setattr__(rig.server.runtime, "clock", clock)
    kept = rig.server.runtime.expiries
    kept._clock, kept._seen = clock, clock()
    rig.site.accepted = frozenset({*rig.site.accepted, capabilities.CONFIRM})
    rig.site.answers["connect"] = connected
    answering(rig)
    return rig


def connected(form: Mapping[str, str]) -> dict[str, Any]:
    """Name a user, whose session lives for a while; the one of `z` never expires."""
    name = json.loads(form["payload"])
    known = {"name": name, "identity": f"id of {name}"}
    return known if name == "z" else {**known, "expires": LIFE}


@pytest.fixture
def expiring(rig: Rig) -> Expiring:
    return Expiring(rig.server.runtime, rig.server.channels.confirming)


def names(rig: Rig) -> list[str]:
    return [each["user"] for call in asked(rig) for each in call]


async def test_a_session_ends_when_it_expires(rig: Rig, clock: Clock, expiring: Expiring) -> None:
    alice = await rig.connect("a")
    clock.now += 50
    bob, zoe = await rig.connect("b"), await rig.connect("z")
    answering(rig, expired=[alice])
    clock.now += 50
    await expiring.look()
    assert names(rig) == [], "the site's clock may be a little late"
    clock.now += 1
    await expiring.look()
    assert names(rig) == ["a"]
    assert alice.end is not None
    clock.now += 50
    answering(rig)
    await expiring.look()
    assert names(rig) == ["b"]
    clock.now += 10_000
    await expiring.look()
    assert names(rig) == []
    assert bob.end is zoe.end is None


async def test_a_session_that_was_prolonged_is_asked_about_at_its_new_end(
    rig: Rig, clock: Clock, expiring: Expiring
) -> None:
    alice = await rig.connect("a")
    left = {alice.id: 30.0}
    rig.site.answers["confirm"] = lambda form: {"answered": 1, "expires": left}
    clock.now += 101
    await expiring.look()
    assert names(rig) == ["a"]
    left[alice.id] = 0.0
    clock.now += 30
    await expiring.look()
    assert names(rig) == []
    clock.now += 1
    await expiring.look()
    assert names(rig) == ["a"]
    for _ in range(12):
        clock.now += 1
        await expiring.look()
    assert names(rig) == ["a", "a"], "not every second, whatever the site says"


async def test_a_site_that_is_down_is_asked_again(
    rig: Rig, clock: Clock, expiring: Expiring
) -> None:
    alice = await rig.connect("a")
    rig.site.answers["confirm"] = WebhookFailed()
    clock.now += 101
    await expiring.look()
    await expiring.look()
    assert names(rig) == ["a"]
    assert alice.end is None
    answering(rig, gone=[alice])
    clock.now += 6
    await expiring.look()
    assert alice.end is not None


async def test_where_nobody_can_be_asked_they_come_again(
    rig: Rig, clock: Clock, expiring: Expiring
) -> None:
    rig.site.accepted -= {capabilities.CONFIRM}
    alice = await rig.connect("a")
    clock.now += 101
    await expiring.look()
    assert alice.end is not None
    assert alice.end.code == 4000


async def test_a_clock_that_is_set_back_delays_nothing(
    rig: Rig, clock: Clock, expiring: Expiring
) -> None:
    await rig.connect("a")
    clock.now += 60
    await expiring.look()
    clock.now -= 86_400
    await expiring.look()
    clock.now += 40
    await expiring.look()
    assert names(rig) == []
    clock.now += 1
    await expiring.look()
    assert names(rig) == ["a"]


async def test_connections_that_have_ended_leave_little(
    rig: Rig, clock: Clock, expiring: Expiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiries, "SPARE", 10)
    stays = await rig.connect("b")
    for _ in range(20):
        await rig.leave(await rig.connect("a"))
    kept: Expiries = rig.server.runtime.expiries
    assert len(kept) == 21
    await expiring.look()
    assert len(kept) == 1
    for number in range(20):
        kept.set(stays, 200.0 + 10 * number)
    kept.set(stays, 390.5)
    assert len(kept) == 21, "what is nearly the same needs no entry"
    kept.set(stays, float("nan"))
    await expiring.look()
    assert len(kept) == 1
    clock.now += 380
    await expiring.look()
    assert names(rig) == []
    clock.now += 15
    await expiring.look()
    assert names(rig) == ["b"]
