"""Pulling from the site: how often, and what becomes of what cannot be pulled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from djhookbox.server.channels import durable as module
from djhookbox.server.core.stream import Position, Publication, Stream, StreamState
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


ENTRIES = [
    {"number": number, "offset": number, "payload": "1", "channel": "/c/", "epoch": "e"}
    for number in range(4, 8)
]


async def test_pulls_that_find_much_make_pauses_and_promise_the_next_one(
    pulling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_EACH", 3600.0)
    monkeypatch.setattr(module, "MOST_PAUSE", 3600.0)
    durable = pulling.server._durable
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    assert durable.poke() == 0, "it has found nothing"
    pulling.site.answers["outbox"] = {
        "incarnation": "i", "number": 7, "token": "t", "entries": ENTRIES,
    }  # fmt: skip
    durable.poke()
    await until(lambda: durable._pause, "a pull that finds much")
    pulling.site.took()
    assert durable.poke() > 3000
    for _ in range(20):
        await turns()
    assert not pulling.site.took("outbox"), "not before it was promised"


async def test_what_was_promised_is_done(pulling: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pokes again, and the process looks by itself only much later."""
    durable = pulling.server._durable
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    monkeypatch.setattr(module, "IDLE_SECONDS", 3600.0)
    pulling.site.answers["outbox"] = {
        "incarnation": "i", "number": 7, "token": "t", "entries": ENTRIES,
    }  # fmt: skip
    durable.poke()
    await until(lambda: durable._pause, "a pull that finds much")
    loop = asyncio.get_running_loop()
    # As if a poke had been answered while another pull, which began earlier, was under way.
    durable._promised = due = loop.time() + 0.05
    pulling.site.took()
    durable._woken.set()
    await until(lambda: durable._began >= due, "the pull that was promised", 60)
    assert pulling.site.took("outbox")


async def test_the_answer_to_a_poke_says_when_it_looks(pulling: Rig) -> None:
    durable = pulling.server._durable
    durable._not_before = asyncio.get_running_loop().time() + 60
    answer = await pulling.rest("poke")
    assert 50 < answer["looks_in"] <= 60
    durable._not_before = 0.0
    assert await pulling.rest("poke") == {"looks_in": 0.0}


async def test_clients_that_were_away_for_long_do_not_disturb_each_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need the same older publications, of which each reply has only a part."""
    durable = rig.server._durable

    def part(first: int, last: int) -> StreamState:
        kept = tuple(Publication(n, 0.0, {}, 1, n) for n in range(first, last + 1))
        return StreamState("e", 9, kept)

    async def load(name: str, epoch: str = "", before: int = 0) -> StreamState:
        await asyncio.sleep(0)
        return part(max(1, before - 2), before - 1)

    monkeypatch.setattr(durable, "load", load)
    channel: Any = SimpleNamespace(
        name="/c/", stream=Stream(part(8, 9)), options=SimpleNamespace(durable=True)
    )
    await asyncio.gather(*(durable.load_back(channel, Position("e", n)) for n in (0, 0, 3)))
    assert [each.offset for each in channel.stream.publications] == list(range(1, 10))
    # The stream is loaded anew while older publications are on their way.
    reloaded = channel.stream = Stream(part(8, 9))
    loading = asyncio.ensure_future(durable.load_back(channel, Position("e", 0)))
    await asyncio.sleep(0)
    channel.stream = Stream(part(8, 9))
    await loading
    assert channel.stream is not reloaded
    assert channel.stream.oldest == 1
