"""Pulling from the site: how often, and what becomes of what cannot be pulled."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from djhookbox.server.channels import durable as module
from djhookbox.server.clients import commands
from djhookbox.server.core.stream import Position as StreamPosition
from djhookbox.server.core.stream import Publication, Stream, StreamState
from djhookbox.server.site.webhooks import Rejected, WebhookFailed
from djhookbox.wire import capabilities, records, rest
from djhookbox.wire.options import OptionError
from djhookbox.wire.revocations import Position
from djhookbox.wire.streams import Entry, Pulled, Pushed

from ..stand_ins.waiting import until
from .rig import Rig, turns


@pytest.fixture
async def pulling(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    rig.site.accepted = frozenset({*rig.site.accepted, capabilities.OUTBOX})
    rig.site.answers["outbox"] = {"incarnation": "i", "number": 3, "token": "t"}
    task = asyncio.ensure_future(rig.server.channels.durable.run())
    yield rig
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_pulls_at_once_and_after_a_poke(pulling: Rig) -> None:
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    pulling.server.channels.durable.poke()
    ((_, form),) = await until(lambda: pulling.site.took("outbox"), "another pull")
    assert (form["incarnation"], form["number"], form["token"]) == ("i", "3", "t")


async def test_a_site_that_is_down_is_not_called_more_often_for_those_who_wait(
    pulling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: pulling.site.took("outbox"), "the first pull")
    pulling.site.answers["outbox"] = WebhookFailed()
    monkeypatch.setattr(module, "RETRY_SECONDS", 60.0)
    for _ in range(20):
        pulling.server.channels.durable.poke()
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
    durable = pulling.server.channels.durable
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
    durable = pulling.server.channels.durable
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
    durable = pulling.server.channels.durable
    durable._not_before = asyncio.get_running_loop().time() + 60
    answer = await pulling.rest("poke")
    assert 50 < answer["looks_in"] <= 60
    durable._not_before = 0.0
    assert await pulling.rest("poke") == {"looks_in": 0.0}


def push(after: int, *, token: str = "t", revoked: str = "r") -> Pushed:
    """What the site has numbered after a number."""
    number = after + 1
    entry = Entry(number, number, str(number), channel="/c/", epoch="e")
    pulled = Pulled("i", number, "t", entries=(entry,))
    return Pushed(after, token, Position(1, revoked), pulled)


@pytest.fixture
async def pushed_to(pulling: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that waits, and what it applies to its channels."""
    durable = pulling.server.channels.durable
    pulling.site.answers["outbox"]["revocations"] = {"number": 1, "token": "r"}
    found: list[int] = []
    monkeypatch.setattr(
        durable._feeds, "take", lambda entries: found.extend(each.number for each in entries)
    )
    await until(lambda: durable._is_waiting, "the first pull")
    pulling.site.took()
    return pulling, durable, found


async def test_what_is_pushed_needs_no_pull(pushed_to: Any) -> None:
    rig, durable, found = pushed_to
    pushed = push(3)
    assert await rig.rest("poke", **records.to_form(rest.Poke(pushed))) == {"looks_in": 0.0}
    assert found == [4]
    assert durable._progress.state == ("i", 4, "t")
    durable._not_before = 0.0
    assert durable.poke(push(4)) == 0
    assert found == [4, 5]
    for _ in range(20):
        await turns()
    assert not rig.site.took("outbox")


@pytest.mark.parametrize(
    "pushed", [push(2), push(3, token="other"), push(3, revoked="other")], ids=str
)
async def test_what_does_not_continue_is_pulled(pushed_to: Any, pushed: Pushed) -> None:
    rig, durable, found = pushed_to
    durable.poke(pushed)
    assert not found
    assert await until(lambda: rig.site.took("outbox"), "a pull")


async def test_what_is_pushed_during_a_pull_is_pulled_after_it(pushed_to: Any) -> None:
    """Its reply may have the same publications."""
    rig, durable, found = pushed_to
    release = rig.site.held["outbox"] = asyncio.Event()
    durable.poke()
    await until(lambda: rig.site.took("outbox"), "a pull")
    durable.poke(push(3))
    assert not found
    release.set()
    assert await until(lambda: rig.site.took("outbox"), "another one")


async def test_those_who_commit_often_are_told_to_leave_it_to_a_pull(
    pushed_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, durable, found = pushed_to
    monkeypatch.setattr(module, "PAUSE_EACH", 60.0)
    monkeypatch.setattr(module, "MOST_PAUSE", 3600.0)
    monkeypatch.setattr(module, "BUSY_PAUSE", 100.0)
    assert durable.poke(push(3)) == 0
    assert 100 < durable.poke(push(4)) <= 120, "the second one within the pause of the first"
    assert found == [4, 5]
    assert durable._promised == durable._not_before


async def test_clients_that_were_away_for_long_do_not_disturb_each_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need the same older publications, of which each reply has only a part."""
    durable = rig.server.channels.durable

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
    await asyncio.gather(*(durable.load_back(channel, StreamPosition("e", n)) for n in (0, 0, 3)))
    assert [each.offset for each in channel.stream.publications] == list(range(1, 10))
    # The stream is loaded anew while older publications are on their way.
    reloaded = channel.stream = Stream(part(8, 9))
    loading = asyncio.ensure_future(durable.load_back(channel, StreamPosition("e", 0)))
    await asyncio.sleep(0)
    channel.stream = Stream(part(8, 9))
    await loading
    assert channel.stream is not reloaded
    assert channel.stream.oldest == 1


def stream(number: int, epoch: str, offset: int, payload: str) -> dict[str, object]:
    """The stream of a channel with one publication, as of its number."""
    entry = {"number": number, "offset": offset, "payload": payload, "user": "eve", "at": 1.0}
    part = {"channel": "/c/", "epoch": epoch, "offset": offset, "entries": [entry]}
    return {"as_of": number, "streams": [part]}


async def test_code_subscribes_to_a_durable_channel(pulling: Rig) -> None:
    """It is opened with the stream of the site, follows it, and survives a restored backup."""
    first = {"incarnation": "i", "number": 3, "token": "t"}
    pulling.site.answers["outbox"] = first | stream(3, "e", 2, '"old"')
    alice = await pulling.connect("alice")
    frames: list[tuple[str, dict[str, Any]]] = []

    def took(name: str) -> dict[str, Any] | None:
        frames.extend(alice.took())
        return next((args for each, args in frames if each == name), None)

    options = {"durable": True, "moderated": False}
    await pulling.rest("subscribe", channel_name="/c/", name="alice", options=json.dumps(options))
    found = await until(lambda: took("SUBSCRIBE"), "the subscription")
    assert (found["epoch"], found["offset"]) == ("e", 2)

    entry = {"number": 4, "offset": 3, "payload": "1", "channel": "/c/", "epoch": "e"}
    pulling.site.answers["outbox"] = first | {"number": 4, "token": "u", "entries": [entry]}
    pulling.server.channels.durable.poke()
    published = await until(lambda: took("PUBLISH"), "the publication")
    assert (published["payload"], published["offset"]) == (1, 3)

    frames.clear()
    restored = {"incarnation": "j", "number": 9, "token": "v", "over": True}
    pulling.site.answers["outbox"] = restored | stream(9, "f", 1, '"new"')
    pulling.server.channels.durable.poke()
    again = await until(lambda: took("SUBSCRIBE"), "the new stream")
    assert (again["epoch"], again["missed"]) == ("f", None)
    assert [each["payload"] for each in again["recovered"]] == ["new"]


async def test_code_creates_a_durable_channel(pulling: Rig) -> None:
    pulling.site.answers["outbox"] |= stream(3, "e", 2, "1")
    await pulling.rest("create_channel", channel_name="/c/", durable="true")
    channel = await until(lambda: pulling.hub.channels.get("/c/"), "the channel")
    assert channel.stream.position == ("e", 2)


@pytest.mark.parametrize("polling", [{"interval": 0}, {"mode": "simple"}, {"every": 5}])
async def test_options_of_a_durable_channel_are_refused_at_once(
    pulling: Rig, polling: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    await pulling.connect("alice")
    options = json.dumps({"durable": True, "polling": polling})
    with pytest.raises(OptionError):
        await pulling.rest("create_channel", channel_name="/c/", options=options)
    with pytest.raises(OptionError):
        await pulling.rest("subscribe", channel_name="/c/", name="alice", options=options)
    await turns()
    assert caplog.text == "", "nothing continues in the background"


async def test_a_browser_publishes_to_a_durable_channel(
    pulling: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "ASK_AGAIN_SECONDS", 0.0)
    outbox = pulling.site.answers["outbox"]
    outbox |= stream(3, "e", 2, "1")
    await pulling.rest("create_channel", channel_name="/c/", durable="true")
    await until(lambda: "/c/" in pulling.channels, "the channel")
    alice = await pulling.connect("alice", ack=True)
    await pulling.subscribe_and_forget(alice, "/c/")
    pulling.site.took()

    async def publish(answer: object) -> tuple[str, dict[str, Any]]:
        pulling.site.answers["publish"] = answer
        await pulling.send(alice, "PUBLISH", channel_name="/c/", payload="1", key="k")
        return (await until(lambda: alice.frames and alice.took(), "an answer"))[-1]

    name, args = await publish({"stored": "s", "epoch": "e", "offset": 3})
    assert (name, args["epoch"], args["offset"]) == ("ACK", "e", 3)
    ((_, form),) = pulling.site.took("publish")
    assert form["key"] == "k"

    # It has no number yet: the process pulls until it has.
    outbox["keys"] = [{"channel": "/c/", "key": "s", "epoch": "e", "offset": 4, "number": 5}]
    name, args = await publish({"stored": "s"})
    assert (name, args["offset"]) == ("ACK", 4)
    outbox["keys"] = [{"channel": "/c/", "key": "s", "error": "It was discarded."}]
    name, args = await publish({"stored": "s"})
    assert (name, args["msg"], args["code"]) == ("ERROR", "It was discarded.", "unavailable")

    pulling.site.took()
    name, args = await publish(WebhookFailed())
    assert (name, args["code"]) == ("ERROR", "unavailable")
    assert len(pulling.site.took("publish")) == 2, "the site may have stored it"
    name, args = await publish(Rejected(413, "too large"))
    assert (name, args["code"]) == ("ERROR", "limit")
    assert len(pulling.site.took("publish")) == 1


async def test_what_is_not_numbered_in_time(pulling: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACK_SECONDS", 0.01)
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.01)
    durable = pulling.server.channels.durable
    with pytest.raises(WebhookFailed):
        await durable.stored("/c/", "k")
    with pytest.raises(WebhookFailed):
        await durable.load("/c/")
