"""Channels that fetch their own messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from djhookbox.server.channels import fetching
from djhookbox.server.channels import pollers as module
from djhookbox.server.channels.pollers import MAX_PAUSE, pause_after

from ..stand_ins.waiting import until
from .rig import Rig, turns


class Source:
    """Where messages are fetched."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.answers: list[web.Response | str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        form = parse_qs(await request.text(), keep_blank_values=True)
        self.asked.append((request.method, form))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(text=answer) if isinstance(answer, str) else answer


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig(polling_hosts=("127.0.0.1",), webhook_secret="hush")


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    source = Source()
    app = web.Application()
    app.router.add_route("*", "/poll", source.handle)
    async with TestServer(app) as server:
        source.url = str(server.make_url("/poll"))
        yield source


Start = Callable[..., Any]
MakeRig = Callable[..., Rig]


@pytest.fixture
async def polled(rig: Rig, source: Source) -> AsyncIterator[Start]:
    """Return a function that makes a channel which polls, with a subscriber."""

    async def start(mode: str, *answers: str | web.Response, **more: Any) -> Any:
        source.answers[:] = answers
        polling = {"mode": mode, "url": source.url, "interval": 0.1, "originator": "ticker", **more}
        rig.site.answers["create_channel"] = {
            "moderated": False, "polling": polling, "history_size": 10,
        }  # fmt: skip
        client = await rig.connect("alice")
        await rig.subscribe(client)
        return client

    yield start
    await rig.server.channels.pollers.stop()
    await turns()


async def test_simple(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled("simple", '{"a": 1}', "plain text", "NaN")
    await until(lambda: len(client.frames) >= 3)
    assert [(n, a["payload"], a["user"]) for n, a in client.took()[:3]] == [
        ("PUBLISH", {"a": 1}, "ticker"),
        ("PUBLISH", "plain text", "ticker"),
        ("PUBLISH", "NaN", "ticker"),
    ]
    assert source.asked[0] == ("GET", {})
    event = rig.reported()[-1]
    assert (event["event"], event["source"], event["delivered"]) == ("publish", "poll", 1)


async def test_persistent(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled(
        "persistent", '[true, {"payload": 1, "presenceful": true}]', "[false, {}]",
        form={"k": "ü", "n": 5},
    )  # fmt: skip
    await until(lambda: len(client.frames) >= 2)
    # The first element does not count, and no payload is null.
    assert [args["payload"] for _, args in client.took()[:2]] == [1, None]
    # D39: the webhook secret is not for others.
    assert source.asked[0] == ("POST", {"k": ["ü"], "n": ["5"]})
    assert rig.channels["room"].options.presenceful


async def test_once(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled("once", '[true, {"payload": 1}]')
    await until(lambda: client.frames)  # which leave at the end of the turn
    await until(lambda: not rig.server.channels.pollers._tasks)
    assert len(source.asked) == 1
    assert client.names() == ["PUBLISH"]
    assert rig.channels["room"].options.polling.mode == "once"


async def test_once_goes_on_if_the_answer_says_so(rig: Rig, source: Source, polled: Start) -> None:
    again = '[true, {"payload": 1, "polling": {"originator": "second"}}]'
    client = await polled("once", again, '[true, {"payload": 2}]')
    await until(lambda: len(client.frames) >= 2)
    assert [(args["payload"], args["user"]) for _, args in client.took()] == [
        (1, "second"), (2, "second"),
    ]  # fmt: skip
    await until(lambda: not rig.server.channels.pollers._tasks)
    assert len(source.asked) == 2


async def test_an_answer_may_switch_polling_off(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled("persistent", '[true, {"payload": 1, "polling": {"mode": ""}}]')
    await until(lambda: client.frames)
    await until(lambda: not rig.server.channels.pollers._tasks)
    assert len(source.asked) == 1


async def test_failures_publish_nothing_and_are_tried_again(
    rig: Rig, source: Source, polled: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pause_after", lambda failures, interval: 0.01)
    monkeypatch.setattr(fetching, "MAX_ANSWER", 1000)
    client = await polled(
        "persistent", web.Response(status=500), "not json", "[1]", "[true, []]", "x" * 2000,
        web.Response(status=302, headers={"Location": "/elsewhere"}), '[true, {"payload": 1}]',
    )  # fmt: skip
    await until(lambda: client.frames)
    assert client.took()[0][1]["payload"] == 1
    assert len(source.asked) >= 7


async def test_wrong_options_are_left_out_and_the_payload_published(
    rig: Rig, source: Source, polled: Start
) -> None:
    client = await polled("persistent", '[true, {"payload": 1, "history_size": "x"}]')
    await until(lambda: client.frames)
    assert client.names()[0] == "PUBLISH"
    assert rig.channels["room"].options.history_size == 10


async def test_a_poller_ends_with_its_channel(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled("simple", "1")
    await until(lambda: client.frames)
    await rig.send(client, "UNSUBSCRIBE", channel_name="room")
    assert rig.channels == {}
    assert rig.server.channels.pollers._tasks == {}


async def test_changed_options_restart_it(rig: Rig, source: Source, polled: Start) -> None:
    client = await polled("simple", "1", interval=3600)
    await rig.rest("set_channel_options", channel_name="room", polling='{"interval": 0.1}')
    await until(lambda: client.frames)
    await rig.rest("set_channel_options", channel_name="room", polling='{"mode": ""}')
    await turns()
    assert rig.server.channels.pollers._tasks == {}


@pytest.mark.parametrize("way", ["create", "rest", "answer"])
async def test_a_host_that_is_not_listed_is_never_asked(
    make_rig: MakeRig, source: Source, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    rig = make_rig(polling_hosts=("127.0.0.1",) if way == "answer" else ())
    elsewhere = source.url.replace("127.0.0.1", "localhost")
    source.answers[:] = [
        json.dumps([True, {"payload": 1, "polling": {"url": elsewhere, "mode": "simple"}}])
    ]
    polling = {"mode": "persistent", "url": source.url, "interval": 0.1}
    rig.site.answers["create_channel"] = {"polling": {} if way == "rest" else polling}
    client = await rig.connect("alice")
    await rig.subscribe(client)
    if way == "rest":
        await rig.rest("set_channel_options", channel_name="room", polling=json.dumps(polling))
    await until(lambda: "HOOKBOX_POLLING_HOSTS does not list" in caplog.text)
    assert "'room' is not polled" in caplog.text
    assert rig.server.channels.pollers._tasks == {} or way == "answer"
    assert len(source.asked) == (1 if way == "answer" else 0)
    await rig.server.channels.pollers.stop()
    await turns()


async def test_the_number_of_pollers_is_bounded(
    rig: Rig, polled: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_POLLERS", 0)
    await polled("simple", "1")
    assert rig.server.channels.pollers._tasks == {}
    assert "0 channels are already" in caplog.text


def test_pauses_grow_but_not_without_bound() -> None:
    assert pause_after(0, 5.0) == 5.0
    assert [pause_after(n, 5.0) for n in (1, 2, 3, 8)] == [2, 4, 8, 256]
    assert pause_after(9, 5.0) == MAX_PAUSE
    assert pause_after(100_000, 5.0) == MAX_PAUSE
    assert pause_after(100_000, 900.0) == 900
