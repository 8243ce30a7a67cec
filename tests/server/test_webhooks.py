"""Calls to the site, over real HTTP: what is sent, and what each answer means."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from djhookbox.server.budget import Incoming
from djhookbox.server.config import ServerConfig
from djhookbox.server.connection import Handshake
from djhookbox.server.core.model import User
from djhookbox.server.metrics import Metrics
from djhookbox.server.refusals import Refusal
from djhookbox.server.site import receiving
from djhookbox.server.site import webhooks as module
from djhookbox.server.site.webhooks import (
    UNAVAILABLE,
    Rejected,
    Reply,
    WebhookFailed,
    Webhooks,
)
from djhookbox.server.unsent import Unsent
from djhookbox.wire.options import UserOptions
from djhookbox.wire.replies import SubscribeReply
from djhookbox.wire.webhooks import Connect, DestroyChannel, Events, Publish, Subscribe

from ..stand_ins.waiting import until
from .rig import FakeConnection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class App:
    """A site that gives the answers that a test sets."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, dict[str, list[str]]]] = []
        self.answer: Any = [True, {}]
        self.url = ""
        self.peers: set[Any] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = parse_qs((await request.read()).decode("ascii"), keep_blank_values=True)
        self.requests.append((request, form))
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, web.Response):
            return answer
        if asyncio.iscoroutine(answer):
            return await answer  # type: ignore[no-any-return]
        return web.json_response(answer)


@pytest.fixture
async def site() -> AsyncIterator[App]:
    application = App()
    app = web.Application()
    app.router.add_post("/{path:.*}", application.handle)
    async with TestServer(app) as server:
        application.url = str(server.make_url("/hookbox"))
        yield application


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Webhooks]]]:
    """Return a maker of webhooks, which are closed afterwards."""
    made: list[Webhooks] = []

    async def make(url: str, **config: Any) -> Webhooks:
        config = {"webhook_timeout": 5.0, "version": "1", **config}
        webhooks = Webhooks(ServerConfig(webhook_url=url, **config), Metrics(0.0))
        await webhooks.start()
        made.append(webhooks)
        return webhooks

    yield make
    for webhooks in made:
        await webhooks.stop()


Start = Callable[..., Awaitable[Webhooks]]


def connection(cookie: str = "", user: str = "", identity: str = "") -> FakeConnection:
    client = FakeConnection(
        handshake=Handshake(cookie, "10.0.0.1"), handle=None, on_end=None,
        max_frame_size=1, frames_per_second=1, incoming=Incoming(1), all_unsent=Unsent(100_000_000),
    )  # fmt: skip
    client.user = User(user, UserOptions()) if user else None
    client.identity = identity
    return client


async def test_what_is_sent(site: App, start: Start) -> None:
    webhooks = await start(site.url, webhook_secret="hush", webhook_headers={"X-Extra": "1"})
    client = connection("sid=1; ü=2", "älice", "session:x")
    reply = await webhooks.send(Subscribe("/räume/", "älice"), client)
    assert reply == Reply(SubscribeReply())
    ((request, form),) = site.requests
    assert request.path == "/hookbox/subscribe"
    assert form == {
        "action": ["subscribe"], "channel_name": ["/räume/"], "secret": ["hush"],
        "conn_id": [client.id], "identity": ["session:x"], "user": ["älice"],
    }  # fmt: skip
    headers = request.headers
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["X-Hookbox-Version"] == "djhookbox/1"
    assert headers["X-Real-IP"] == "10.0.0.1"
    assert headers["X-Extra"] == "1"
    assert headers["Cookie"] == "sid=1; ü=2"


async def test_what_is_large_is_json_if_the_site_takes_it(site: App, start: Start) -> None:
    """Django's limit for forms may be small, and percent-encoding makes JSON long."""
    bodies: list[tuple[str, bytes]] = []
    accepts: dict[str, str] = {}

    async def keep(request: web.Request) -> web.Response:
        bodies.append((request.content_type, await request.read()))
        return web.json_response([True, {}], headers=accepts)

    site.answer = keep
    webhooks = await start(site.url, webhook_secret="hush")
    payload = json.dumps("😀" * 1000)
    for accepted in ("", "events", "events, json"):
        accepts = {"X-Hookbox-Accepts": accepted}
        await webhooks.send(Publish("", payload))
    await webhooks.send(Publish("", payload, "ü\ud800"))
    await webhooks.send(Events("[]"))
    await webhooks.send(Publish("", "1"))
    await webhooks.send(Publish("é" * 1000, "1"))  # long as a form only
    kinds = ["form"] * 3 + ["json", "json", "form", "json"]
    assert ["json" if "json" in kind else "form" for kind, _ in bodies] == kinds
    assert json.loads(bodies[3][1]) == {
        "action": "publish", "payload": payload, "secret": "hush", "user": "ü?",
    }  # fmt: skip
    assert json.loads(bodies[4][1])["events"] == "[]"


async def test_what_the_site_accepts_may_be_known_from_the_start(site: App, start: Start) -> None:
    webhooks = await start(site.url, webhook_accepts=frozenset({"events", "json"}))
    await webhooks.send(Events("[]"))
    ((request, _form),) = site.requests
    assert request.content_type == "application/json"


@pytest.mark.parametrize(
    ("status", "headers", "text", "size", "advice"),
    [
        (400, {}, "<h1>Bad Request</h1>", 10, "does ALLOWED_HOSTS accept this host"),
        (400, {}, "<h1>Bad Request</h1>", 9000, "RequestDataTooBig"),
        (413, {}, "<h1>Too large</h1>", 9000, "client_max_body_size"),
        (
            413, {"X-Hookbox-Accepts": "json"},
            '[false, {"error": "The form is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."}]', 9000,
            "the site says: The form is larger than DATA_UPLOAD_MAX_MEMORY_SIZE.",
        ),
        (403, {"X-Hookbox-Accepts": "json"}, '[false, {"error": "Forbidden."}]', 10, "the secret"),
    ],
)  # fmt: skip
async def test_the_advice_fits_the_answer(
    site: App,
    start: Start,
    status: int,
    headers: dict[str, str],
    text: str,
    size: int,
    advice: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site.answer = lambda request: web.Response(status=status, headers=headers, text=text)
    webhooks = await start(site.url)
    with pytest.raises(WebhookFailed) as caught:
        await webhooks.send(Publish("", "x" * size))
    assert advice in caplog.text
    assert isinstance(caught.value, Rejected) is (status in (400, 413))
    assert caught.value.code == ("limit" if status == 413 else "unavailable")
    caplog.clear()
    with pytest.raises(WebhookFailed):
        await webhooks.send(Publish("", "x" * size), quiet=True)
    assert bool(caplog.text) is (status == 403)


async def test_without_a_connection(site: App, start: Start) -> None:
    webhooks = await start(site.url, webhook_paths={"destroy_channel": "gone?x=1"})
    await webhooks.send(DestroyChannel("room"))
    ((request, form),) = site.requests
    assert (request.path, request.query_string) == ("/hookbox/gone", "x=1")
    assert form == {"action": ["destroy_channel"], "channel_name": ["room"]}
    assert "Cookie" not in request.headers
    assert "X-Real-IP" not in request.headers


async def test_a_single_url_for_all(site: App, start: Start) -> None:
    webhooks = await start("http://unused/", single_url=f"{site.url}/all?key=1")
    await webhooks.send(Connect())
    assert site.requests[0][0].path_qs == "/hookbox/all?key=1"


async def test_lone_surrogates_do_not_raise(site: App, start: Start) -> None:
    webhooks = await start(site.url)
    client = connection(user="alice", identity="\ud800")
    await webhooks.send(Connect(user_agent="\udcff"), client)
    assert site.requests[0][1]["user_agent"] == ["?"]


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [([True, {"a": 1}], True), ([1, {}], True), (["yes", {}], True), ([False, {}], False),
     ([0, {}], False), ([None, {}], False), (["", {}], False)],
)  # fmt: skip
async def test_success_is_a_truth_value(
    site: App, start: Start, answer: Any, allowed: bool
) -> None:
    site.answer = answer
    reply = await (await start(site.url)).send(DestroyChannel("room"))
    assert reply.allowed is allowed


@pytest.mark.parametrize(
    ("options", "reason", "code"),
    [
        ({}, "Unauthorized", "refused"),
        ({"msg": "for the console"}, "Unauthorized", "refused"),
        ({"error": "sorry, é"}, "sorry, é", "refused"),
        ({"error": "x", "code": "session_expired"}, "x", "session_expired"),
        ({"error": [5], "code": 5}, "Unauthorized", "refused"),
        ({"error": 5}, "5", "refused"),
        ({"error": ""}, "", "refused"),
    ],
)
async def test_refusals(
    site: App, start: Start, options: dict[str, Any], reason: str, code: str
) -> None:
    site.answer = [False, options]
    reply = await (await start(site.url)).send(Connect())
    with pytest.raises(Refusal) as caught:
        reply.check()
    assert (caught.value.reason, caught.value.code) == (reason, code)


@pytest.mark.parametrize(
    "answer",
    [
        web.Response, lambda: web.Response(text="<html>oops</html>"),
        lambda: web.Response(status=500, text="[true, {}]"),
        lambda: web.Response(status=201, text="[true, {}]"),
        lambda: web.Response(status=302, headers={"Location": "/login"}),
        lambda: web.Response(status=403), lambda: web.Response(status=404),
        lambda: web.Response(body=b"\xff\xfe\x00"),
        lambda: web.Response(text='[true, {"a": NaN}]'),
        lambda: web.Response(text='[true, {"initial_data": 1e999}]'),
        lambda: web.Response(text="[" * 100_000),
        lambda: web.Response(text="[true, {}]" + " " * 5000),
    ],
)  # fmt: skip
async def test_what_is_no_answer_grants_nothing_and_is_not_passed_on(
    site: App,
    start: Start,
    answer: Callable[[], web.Response],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(receiving, "MAX_ANSWER", 4000)
    site.answer = lambda request: answer()
    webhooks = await start(site.url)
    with pytest.raises(WebhookFailed) as caught:
        await webhooks.send(Connect())
    assert (caught.value.reason, caught.value.code) == (UNAVAILABLE, "unavailable")
    assert "Webhook connect to" in caplog.text
    assert webhooks._metrics.webhooks_failed == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("{}", "Invalid response (expected json list of length 2)"),
        ('"yes"', "Invalid response (expected json list of length 2)"),
        ("[true]", "Invalid response (expected json list of length 2)"),
        ("[true, {}, 1]", "Invalid response (expected json list of length 2)"),
        ("[true, []]", "Invalid response (expected json object in response index 1)"),
        ("[false, null]", "Invalid response (expected json object in response index 1)"),
    ],
)
async def test_json_of_a_wrong_shape_is_called_what_it_is(
    site: App, start: Start, answer: str, reason: str
) -> None:
    site.answer = lambda request: web.Response(text=answer)
    webhooks = await start(site.url)
    with pytest.raises(WebhookFailed) as caught:
        await webhooks.send(Connect())
    assert (caught.value.reason, caught.value.code) == (reason, "unavailable")


async def test_nobody_listens(start: Start) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        webhooks = await start(f"http://127.0.0.1:{port}")
        with pytest.raises(WebhookFailed):
            await webhooks.send(Connect())


async def test_silence_ends(site: App, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async def never() -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    site.answer = lambda request: never()
    webhooks = await start(site.url, webhook_timeout=0.1)
    with pytest.raises(WebhookFailed):
        await webhooks.send(Connect())
    assert "no answer within 0.1 s" in caplog.text


async def test_only_so_many_at_once(site: App, start: Start) -> None:
    go = asyncio.Event()
    most = now = 0

    async def slow() -> web.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await go.wait()
        now -= 1
        return web.json_response([True, {}])

    site.answer = lambda request: slow()
    webhooks = await start(site.url, webhook_concurrency=3)
    calls = [asyncio.create_task(webhooks.send(Connect())) for _ in range(10)]
    await until(lambda: now == 3)
    go.set()
    await asyncio.gather(*calls)
    assert most == 3
    assert webhooks._metrics.webhooks_total == 10


async def test_waiting_for_a_turn_ends_too(
    site: App, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE_SECONDS", 0.05)
    go = asyncio.Event()

    async def slow() -> web.Response:
        await go.wait()
        return web.json_response([True, {}])

    site.answer = lambda request: slow()
    webhooks = await start(site.url, webhook_concurrency=1)
    first = asyncio.create_task(webhooks.send(DestroyChannel("a")))
    await until(lambda: site.requests)
    with pytest.raises(WebhookFailed):
        await webhooks.send(DestroyChannel("b"))
    go.set()
    assert (await first).allowed
    assert (await webhooks.send(DestroyChannel("b"))).allowed


async def test_connections_are_kept_except_for_runserver(site: App, start: Start) -> None:
    webhooks = await start(site.url)
    for _ in range(3):
        await webhooks.send(Connect())
    assert len(site.peers) == 1
    site.answer = lambda request: web.json_response(
        [True, {}], headers={"Server": "WSGIServer/0.2 CPython/3.11"}
    )
    for _ in range(3):
        await webhooks.send(Connect())
    assert len(site.peers) == 3


async def test_what_the_site_says_it_knows(site: App, start: Start) -> None:
    webhooks = await start(site.url)
    await webhooks.send(Connect())
    assert webhooks.accepted == frozenset()
    headers = {"X-Hookbox-Accepts": "events, recheck,message"}
    site.answer = lambda request: web.json_response([False, {}], headers=headers)
    await webhooks.send(Connect())
    assert webhooks.accepted == {"events", "recheck", "message"}


async def test_cookies_that_scripts_may_see(site: App, start: Start) -> None:
    def answer(request: web.Request) -> web.Response:
        response = web.Response(text=json.dumps([True, {}]))
        for cookie in ("a=1; Path=/", "sid=2; HttpOnly; Path=/", "b=httponly", "c=3;HTTPONLY"):
            response.headers.add("Set-Cookie", cookie)
        return response

    site.answer = answer
    reply = await (await start(site.url)).send(Connect())
    assert reply.cookies == ("a=1; Path=/", "b=httponly")
    site.answer = [True, {}]
    webhooks = await start(site.url)
    await webhooks.send(Connect())
    assert "Cookie" not in site.requests[-1][0].headers  # nothing is kept for the next client


# ---- the size of answers ----------------------------------------------------------------------


async def test_all_answers_together_are_bounded(
    site: App, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()
    began = 0

    async def slowly(request: web.Request) -> web.StreamResponse:
        nonlocal began
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            await response.write(b'[true, {"x": "' + b"x" * 60_000)
            began += 1
            await go_on.wait()
            await response.write(b'"}]')
        return response

    site.answer = slowly
    webhooks = await start(site.url, max_answer_bytes=200_000)
    calls = [asyncio.create_task(webhooks.send(Connect())) for _ in range(8)]
    await until(lambda: began == 8)
    await until(lambda: sum(call.done() for call in calls) >= 4)
    assert webhooks._answers._budget.used <= 300_000
    # Small answers, as nearly all are, arrive nevertheless.
    site.answer = [True, {"name": "alice"}]
    assert (await webhooks.send(Connect())).allowed
    go_on.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [result for result in results if isinstance(result, WebhookFailed)]
    assert 4 <= len(failed) < 8
    assert "HOOKBOX_MAX_ANSWER_BYTES" in caplog.text
    assert webhooks._answers._budget.used == 0
    site.answer = [True, {"name": "alice", "x": "x" * 150_000}]
    assert (await webhooks.send(Connect())).allowed
