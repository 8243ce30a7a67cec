"""Pulling from the site: how often, and what becomes of what cannot be pulled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from djhookbox.server.channels import durable as module
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire import capabilities

from ..stand_ins.waiting import until
from .rig import Rig, turns


@pytest.fixture
async def pulling(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    rig.site.accepted = frozenset({*rig.site.accepted, capabilities.OUTBOX})
    rig.site.answers["outbox"] = {"incarnation": "i", "number": 3, "token": "t"}
    task = asyncio.ensure_future(rig.server._durable.run())
    yield rig
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_pulls_at_once_and_after_a_poke(pulling: Rig) -> None:
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    pulling.server._durable.poke()
    ((_, form),) = await until(lambda: pulling.site.took("outbox"), "another pull")
    assert (form["incarnation"], form["number"], form["token"]) == ("i", "3", "t")


async def test_a_site_that_is_down_is_not_called_more_often_for_those_who_wait(
    pulling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    pulling.site.answers["outbox"] = WebhookFailed()
    monkeypatch.setattr(module, "RETRY_SECONDS", 60.0)
    for _ in range(20):
        pulling.server._durable.poke()
        await turns()
    assert len(pulling.site.took("outbox")) == 1
