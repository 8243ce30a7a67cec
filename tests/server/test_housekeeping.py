"""The daily reminder."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from djhookbox.server.config import ServerConfig
from djhookbox.server.refusals import Refusal
from djhookbox.server.site import housekeeping as module
from djhookbox.server.site.housekeeping import BREATH, DAY, FIRST, HOUR, Housekeeping
from djhookbox.server.site.webhooks import WebhookFailed

from ..stand_ins.waiting import until
from .rig import Site


@pytest.fixture
def site() -> Site:
    return Site(ServerConfig())


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        ({}, DAY),
        ({"more": False}, DAY),
        ({"more": "yes"}, DAY),
        ({"more": True}, BREATH),
        (WebhookFailed(), HOUR),
        (Refusal("The database is busy."), HOUR),
    ],
)
async def test_when_the_next_one_is_due(site: Site, answer: Any, pause: float) -> None:
    site.answers["prune"] = answer
    assert await Housekeeping(site).remind() == pause  # type: ignore[arg-type]
    assert site.took() == [("prune", {})]


async def test_a_site_that_does_not_know_it_is_left_alone(site: Site) -> None:
    site.accepted = frozenset({"events"})
    assert await Housekeeping(site).remind() == FIRST  # type: ignore[arg-type]
    assert site.calls == []


async def test_it_goes_on_whatever_happens(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST", "HOUR", "BREATH"):
        monkeypatch.setattr(module, name, 0.001)
    answers: list[Any] = [WebhookFailed(), {"more": True}, {}]
    site.answers["prune"] = lambda form: answers.pop(0)
    running = asyncio.create_task(Housekeeping(site).run())  # type: ignore[arg-type]
    await until(lambda: not answers)
    await asyncio.sleep(0.02)
    assert len(site.took("prune")) == 3, "then it waits for a day"
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
