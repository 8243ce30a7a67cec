"""CSP over real sockets: long polls, streams, events, ends, limits, and who may read what."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from djhookbox.server.transports import csp

from ..stand_ins.waiting import until
from .running import App, Running, Start

ORIGIN = "http://site.example"
SECONDS = 20.0  # for what happens at once, on a busy machine


class Session:
    """A CSP client by hand; answers to comet are kept as they are."""

    def __init__(self, one: Running, key: str = "") -> None:
        self.one = one
        self.key = key
        self.sent = 0

    async def ask(
        self, call: str, body: bytes | str = b"", /, method: str = "POST", **query: str
    ) -> aiohttp.ClientResponse:
        """Make a request; the answer has been read."""
        response = await self.begin(call, body, method, **query)
        await asyncio.wait_for(response.read(), SECONDS)
        return response

    async def begin(
        self, call: str, body: bytes | str = b"", method: str = "POST", **query: str
    ) -> aiohttp.ClientResponse:
        headers = {n[1:].replace("_", "-"): query.pop(n) for n in [*query] if n[0] == "_"}
        keyed = {"s": self.key} if self.key and "s" not in query else {}
        asking = self.one.http.request(
            method, f"{self.one.address}/csp/{call}", params={**keyed, **query}, headers=headers,
            data=None if method == "GET" else body,
        )  # fmt: skip
        response = await asyncio.wait_for(asking, SECONDS)
        self.one.responses.append(response)
        return response

    async def text(self, call: str, body: bytes | str = b"", /, **query: str) -> str:
        response = await self.ask(call, body, **query)
        assert response.status == 200
        return await response.text()

    async def open(self, **query: str) -> Session:
        found = re.search(r'"session": ?"([0-9a-f-]{32,})"', await self.text("handshake", **query))
        assert found
        self.key = found[1]
        return self

    async def send(self, *frames: Any, **query: str) -> str:
        """Send frames, one packet for each."""
        batch = []
        for frame in frames:
            self.sent += 1
            line = (frame if isinstance(frame, str) else json.dumps(frame)) + "\r\n"
            data = base64.urlsafe_b64encode(line.encode()).decode().rstrip("=")
            batch.append([self.sent, 1, data])
        return await self.text("send", json.dumps(batch), **query)

    async def connect(self, name: str, **args: Any) -> Session:
        args = {"cookie_string": "", "payload": json.dumps(name), **args}
        await self.send([1, "CONNECT", args])
        assert names(await self.text("comet")) == ["CONNECTED"]
        return self

    @property
    def connection(self) -> Any:
        return self.one.server.clients.csp._sessions[self.key]


def packets(text: str) -> list[tuple[int, Any]]:
    """Return the ids and frames in an answer to comet, None for the null packet."""
    found = []
    for number, encoding, data in json.loads(text[text.index("(") + 1 : text.rindex(")")]):
        if data is None:
            assert encoding == 0
            found.append((number, None))
        else:
            line = base64.urlsafe_b64decode(data)
            assert line.endswith(b"\r\n")
            assert line.isascii()
            found.append((number, json.loads(line)))
    return found


def names(text: str) -> list[str | None]:
    return [frame and frame[1] for _, frame in packets(text)]


@pytest.fixture
async def session(start: Start, site: App) -> Session:
    """Return a session of alice on a server that shows what its channels do."""
    site.answers["create_channel"] = {"moderated": False}
    one = await start(allowed_origins=(ORIGIN,))
    session = await Session(one).open(ct="text/plain")
    return await session.connect("alice")


async def alive(session: Session) -> None:
    """See that frames are answered."""
    await session.send([77, "STILL THERE?", {}])
    answers: list[Any] = []
    await until(lambda: session.connection.outbox.after(0), SECONDS)
    answers = packets(await session.text("comet"))
    assert answers[-1][1][2]["id"] == 77
    await session.text("send", "[]", a=str(answers[-1][0]))


# ---- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("query", [{}, {"n": "0.5"}])
async def test_handshake(start: Start, method: str, query: dict[str, str]) -> None:
    one = await start(jsonp=True)
    response = await Session(one).ask("handshake", "{}", method=method, **query)
    assert response.status == 200
    assert re.fullmatch(r'\(\{"session": ?"[0-9a-f]{32}"\}\)', await response.text())
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("call", ["comet", "send", "close", "reflect"])
@pytest.mark.parametrize("key", ["", "0" * 32, "é"])
async def test_unknown_sessions(start: Start, call: str, key: str) -> None:
    response = await Session(await start()).ask(call, "[]", s=key, rp="cb", ct="text/javascript")
    assert (response.status, await response.text()) == (404, "'Session not found'")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_unknown_calls(session: Session) -> None:
    for call in ("nosuch", "", "handshake/x", "Comet"):
        response = await session.ask(call)
        assert (response.status, await response.read()) == (404, b"")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    url = f"{session.one.address}/csp"
    async with session.one.http.get(url) as response:
        assert (response.status, await response.read()) == (404, b"")


async def test_a_conversation(session: Session, site: App) -> None:
    await session.send([2, "SUBSCRIBE", {"channel_name": "/é/"}])
    await session.send([3, "PUBLISH", {"channel_name": "/é/", "payload": '"😀"'}], a="1")
    await until(lambda: len(session.connection.outbox.after(0)) == 2)
    _, publication = packets(await session.text("comet"))[1][1][1:]
    assert (publication["payload"], publication["user"]) == ("😀", "alice")
    form = next(form for hook, form, _ in site.calls if hook == "connect")
    assert (form["transport"], form["remote_addr"]) == ("csp", "127.0.0.1")
    (listed,) = (await session.one.rest("list_connections"))[1]["connections"]
    assert (listed["transport"], listed["user"]) == ("csp", "alice")
    await session.text("send", "[[9, 0, null]]")
    await until(lambda: "disconnect" in [hook for hook, *_ in site.calls])
    assert session.one.server.runtime.hub.users == {}


async def test_get_with_everything_in_the_query(start: Start) -> None:
    """As JSONP does it."""
    session = await Session(await start(jsonp=True)).open(method="GET", rp="cb1", rs=";")
    batch = json.dumps([[1, 0, '[1,"FLY",{}]\r\n']])
    query = {"rp": "cb2", "n": "0.1", "ct": "text/javascript"}
    answer = await session.text("send", method="GET", d=batch, **query)
    assert answer == 'cb2("OK");'
    answer = await session.text("comet", method="GET", bp="cb3", bs=";")
    assert answer.startswith("cb3([[1,1,")
    assert answer.endswith("]]);")
    assert await session.text("close", method="GET", rp="cb4") == 'cb4("OK");'
    assert session.connection.closed


# ---- long polling -------------------------------------------------------------------------------


async def test_a_comet_is_held_until_there_is_something(session: Session) -> None:
    comet = asyncio.create_task(session.text("comet", a="1"))
    await until(lambda: session.connection._comet is not None)
    await asyncio.sleep(0.1)
    assert not comet.done()
    await session.send([2, "FLY", {}])
    assert packets(await comet)[0][0] == 2


async def test_a_comet_is_answered_by_nothing_in_the_end(session: Session) -> None:
    assert await session.text("comet", a="1", du="1") == "([])"


async def test_polling(session: Session) -> None:
    assert await session.text("comet", a="1", du="0") == "([])"
    await session.send([2, "FLY", {}])
    await until(lambda: session.connection.outbox.after(0))
    assert names(await session.text("comet")) == ["ERROR"]


async def test_a_second_comet_releases_the_first(session: Session) -> None:
    first = asyncio.create_task(session.text("comet", a="1"))
    await until(lambda: session.connection._comet is not None)
    held = session.connection._comet
    second = asyncio.create_task(session.text("comet", a="1"))
    assert await first == "([])"
    await until(lambda: session.connection._comet not in (None, held))
    await session.send([2, "FLY", {}])
    assert names(await second) == ["ERROR"]


async def test_packets_are_repeated_until_they_are_acknowledged(session: Session) -> None:
    await session.send([2, "FLY", {}], [3, "FLY", {}])
    await until(lambda: len(session.connection.outbox.after(0)) == 3)
    for ack, ids in (("0", [1, 2, 3]), ("x", [1, 2, 3]), ("1", [2, 3]), ("0", [2, 3]), ("2", [3])):
        assert [number for number, _ in packets(await session.text("comet", a=ack))] == ids
    # On any request, and for what has not been sent yet it means all that has.
    await session.text("send", "[]", a="99")
    assert await session.text("comet", du="0") == "([])"
    await session.send([4, "FLY", {}])
    await until(lambda: session.connection.outbox.after(0))
    assert [number for number, _ in packets(await session.text("comet"))] == [4]


async def test_a_dropped_comet_loses_nothing(session: Session) -> None:
    comet = asyncio.create_task(session.text("comet", a="1"))
    await until(lambda: session.connection._comet is not None)
    comet.cancel()
    await asyncio.gather(comet, return_exceptions=True)
    await session.send([2, "FLY", {}])
    await until(lambda: session.connection.outbox.after(0))
    assert names(await session.text("comet", a="1")) == ["ERROR"]
    await alive(session)


async def test_a_dropped_send_can_be_repeated(session: Session) -> None:
    host, port = session.one.address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps([[2, 0, '[5,"FLY",{}]\r\n']])
    writer.write(
        f"POST /csp/send?s={session.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body[:9]}".encode()
    )
    await until(lambda: session.connection.sends == 1)
    writer.transport.abort()
    await until(lambda: session.connection.sends == 0)
    assert session.connection.arriving == 0
    for _ in range(2):  # the second one counts no more
        assert await session.text("send", body) == '("OK")'
    await until(lambda: len(session.connection.outbox.after(1)) == 1)
    session.sent = 2
    await session.text("send", "[]", a="2")
    await alive(session)


# ---- streams ------------------------------------------------------------------------------------


class Stream:
    """An answer to comet that continues."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.text = ""

    async def has(self, pattern: str) -> re.Match[str]:
        """Read on until a pattern has come."""
        while not (found := re.search(pattern, self.text)):
            data = await asyncio.wait_for(self.response.content.readany(), SECONDS)
            assert data, f"it ended without {pattern}: {self.text}"
            self.text += data.decode()
        return found


async def test_streaming(session: Session) -> None:
    stream = Stream(await session.begin("comet", a="1", **{"is": "1", "bs": "\n", "ps": "2"}))
    assert stream.response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert stream.response.headers["X-Accel-Buffering"] == "no"
    for number in (2, 3):
        await session.send([number, "FLY", {}])
        await stream.has(rf'\(\[\[{number},1,"[^"]*"\]\]\)\n')
    assert re.fullmatch(r"  (\(\[\]\)\n)?(\(\[\[\d,.*\]\]\)\n){2}", stream.text)
    # Nothing has been acknowledged; the next request repeats all of it.
    again = Stream(await session.begin("comet"))
    await again.has(r"\(\[\[2,.*\[3,.*\]\]\)")
    assert (await stream.response.read()).decode() in ("", "([])\n")  # it was released


async def test_a_stream_ends_after_its_time(session: Session) -> None:
    response = await session.begin("comet", a="1", du="1", **{"is": "1"})
    assert (await asyncio.wait_for(response.read(), SECONDS)).decode() == "([])"
    assert names(await session.text("comet", a="0", **{"is": "0"}, du="0")) == []
    await alive(session)


async def test_a_quiet_stream_shows_that_it_lives(session: Session) -> None:
    stream = Stream(await session.begin("comet", a="1", i="1", bs="\n", **{"is": "1"}))
    await stream.has(r"\(\[\]\)\n\(\[\]\)\n")


async def test_a_stream_of_much_ends_to_be_acknowledged(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csp, "STREAM_BYTES", 2000)
    stream = Stream(await session.begin("comet", a="1", **{"is": "1"}))
    await session.send(*([number, "FLY", {}] for number in range(2, 40)))
    await asyncio.wait_for(stream.response.read(), SECONDS)


async def test_server_sent_events(session: Session) -> None:
    query = {"bp": "data: ", "bs": "\r\n", "se": "1", "ct": "text/event-stream"}
    stream = Stream(await session.begin("comet", method="GET", a="1", **query))
    assert stream.response.headers["Content-Type"].startswith("text/event-stream")
    for number in (2, 3):
        await session.send([number, "FLY", {}])
        event = await stream.has(rf"data: (\(\[\[{number},.*\]\]\))\r\nid: {number}\r\n\r\n")
        assert packets(event[1])[0][1][1] == "ERROR"
    stream.response.close()
    # The browser comes back by itself, and says what it has.
    again = Stream(await session.begin("comet", method="GET", a="1", _Last_Event_ID="2"))
    await again.has(r"^(data: \(\[\]\)\r\n\r\n)?data: \(\[\[3,")
    assert session.connection.outbox.acknowledged == 2
    await session.send([4, "FLY", {}])
    await again.has(r"id: 4\r\n\r\n")


async def test_a_dropped_stream_loses_nothing(session: Session) -> None:
    stream = Stream(await session.begin("comet", a="1", **{"is": "1"}))
    await session.send([2, "FLY", {}])
    await stream.has(r"\[2,")
    stream.response.close()
    await session.send([3, "FLY", {}])
    await until(lambda: len(session.connection.outbox.after(0)) == 2)
    assert [n for n, _ in packets(await session.text("comet", **{"is": "0"}))] == [2, 3]


@pytest.mark.parametrize("streaming", ["0", "1"])
async def test_gzip(session: Session, streaming: str) -> None:
    session.one.http._auto_decompress = False
    query = {"is": streaming, "g": "1", "a": "1", "du": "10"}
    begun = asyncio.create_task(session.begin("comet", _Accept_Encoding="gzip", **query))
    await until(lambda: session.connection._comet is not None)
    await session.send([2, "FLY", {}], _Accept_Encoding="identity")
    response, text, unpack = await begun, b"", zlib.decompressobj(wbits=31)
    while b"([[2," not in text:  # a stream is not held back by it
        text += unpack.decompress(await asyncio.wait_for(response.content.readany(), SECONDS))
    assert response.headers["Content-Encoding"] == "gzip"
    response.close()
    plain = await session.ask("comet", _Accept_Encoding="identity", a="1", du="1")
    assert "Content-Encoding" not in plain.headers


# ---- what is sent -------------------------------------------------------------------------------


async def test_two_packets_in_one_batch_and_two_sends_at_once(session: Session) -> None:
    """D26: with the original this ended the session now and then."""
    subscribe = {"channel_name": "room"}
    await session.send([2, "SUBSCRIBE", subscribe], [3, "PUBLISH", {**subscribe, "payload": "1"}])
    one = session.send([4, "PUBLISH", {**subscribe, "payload": "2"}])
    two = session.send([5, "PUBLISH", {**subscribe, "payload": "3"}])
    await asyncio.gather(one, two)
    await until(lambda: len(session.connection.outbox.after(1)) == 4)
    frames = [frame for _, frame in packets(await session.text("comet", a="1"))]
    assert [args["payload"] for _, name, args in frames if name == "PUBLISH"] == [1, 2, 3]


async def test_a_send_that_overtakes_another_waits_for_it(session: Session) -> None:
    later = asyncio.create_task(session.text("send", json.dumps([[3, 0, '3,"FLY",{}]\r\n']])))
    await until(lambda: session.connection.sends == 1 or later.done())
    await session.text("send", json.dumps([[2, 0, "["]]))
    await later
    await until(lambda: session.connection.outbox.after(1))
    ((_, frame),) = packets(await session.text("comet", a="1"))
    assert frame[2]["id"] == 3


async def test_a_gap_is_accepted_in_the_end(session: Session) -> None:
    await session.text("send", json.dumps([[7, 0, '[7,"FLY",{}]\r\n']]))
    await until(lambda: session.connection.outbox.after(1))
    assert packets(await session.text("comet", a="1"))[0][1][2]["id"] == 7


@pytest.mark.parametrize(
    "body",
    ["", "nonsense", "{}", "[[2, 0]]", '[[2, 0, "a"], 5]', '[[2, 1, "!"]]', "[" * 9999, "\xff"],
)
async def test_what_is_no_batch_changes_nothing(session: Session, body: str) -> None:
    response = await session.ask("send", body.encode("latin-1"))
    assert (response.status, await response.text()) == (400, "'Malformed batch'")
    await alive(session)


async def test_frames_may_be_cut_by_packets(session: Session) -> None:
    data = '[5,"é",{}]\r\n'.encode()
    bytes_of_it = [data[n : n + 1] for n in range(len(data))]
    batch = [[n, 1, base64.b64encode(byte).decode()] for n, byte in enumerate(bytes_of_it, 2)]
    await session.text("send", json.dumps(batch))
    await until(lambda: session.connection.outbox.after(1))
    assert packets(await session.text("comet", a="1"))[0][1][2]["id"] == 5


async def test_reflect(session: Session) -> None:
    assert await session.text("reflect", "hello <b>é</b>", rp="cb", rs=";") == (
        'cb("hello \\u003cb\\u003e\\u00e9\\u003c/b\\u003e");'
    )
    assert await session.text("reflect", method="GET", d="hello") == 'cb("hello");'
    response = await session.ask("reflect", b"x" * (csp.MAX_REFLECTED + 1))
    assert response.status == 413


async def test_nothing_is_reflected_into_a_page(session: Session) -> None:
    query = {"rp": "<script>alert(1)</script>", "rs": "<x>", "ct": "image/svg+xml", "p": "<y>"}
    for call in ("send", "reflect", "close"):
        response = await session.ask(call, "[]", **query)
        assert "<" not in await response.text()
        assert response.headers["Content-Type"].startswith("text/plain")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


# ---- limits -------------------------------------------------------------------------------------


async def test_bodies_are_bounded(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csp, "MIN_BODY_SIZE", 1000)
    limit = 2 * session.one.server.config.max_frame_size
    response = await session.ask("send", b"x" * (limit + 1))
    assert response.status == 413
    assert session.connection.arriving == 0
    monkeypatch.setattr(csp, "BODY_SECONDS", 0.1)
    host, port = session.one.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /csp/send?s={session.key} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"
    )
    writer.write(head.encode())
    assert b" 408 " in await asyncio.wait_for(reader.readline(), SECONDS)
    writer.close()
    await alive(session)


async def test_bodies_of_all_sessions_are_bounded(session: Session) -> None:
    incoming = session.one.server.clients.handshakes.incoming
    used = incoming.used
    incoming.take(incoming.limit)
    response = await session.ask("send", b"x" * 10_000)
    assert response.status == 429
    await alive(session)  # what is small goes on
    incoming.give(incoming.limit)
    assert session.connection.arriving == 0
    assert incoming.used == used
    await alive(session)


async def test_requests_with_data_are_bounded(session: Session) -> None:
    host, port = session.one.address.removeprefix("http://").split(":")
    head = (
        f"POST /csp/send?s={session.key} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n"
    )
    writers = []
    for _ in range(csp.MAX_SENDS):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        writers.append(writer)
    await until(lambda: session.connection.sends == csp.MAX_SENDS)
    for call in ("send", "reflect"):
        assert (await session.ask(call, "[]")).status == 429
    for writer in writers:
        writer.transport.abort()
    await until(lambda: session.connection.sends == 0)
    await alive(session)


async def test_a_frame_that_is_too_large_is_an_error_only(session: Session) -> None:
    await session.send('[2,"PUBLISH",{"channel_name":"room","payload":"' + "x" * 300_000 + '"}]')
    await until(lambda: session.connection.outbox.after(1))
    assert packets(await session.text("comet", a="1"))[0][1][2]["code"] == "limit"
    await session.text("send", "[]", a="2")
    await alive(session)


async def test_who_acknowledges_nothing_is_sent_away(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start(max_unsent=20_000)
    session = await (await Session(one).open()).connect("alice", ack=True)
    await session.send([2, "SUBSCRIBE", {"channel_name": "room"}])
    await until(lambda: "room" in one.channels and one.channels["room"].audience)
    for _ in range(10):
        await one.rest("publish", channel_name="room", payload=json.dumps("x" * 5000))
    await until(lambda: one.server.metrics.dropped_slow == 1)
    assert session.connection.outbox.size < 40_000
    (*_, (_, end), (_, null)) = packets(await session.text("comet"))
    assert (end[1], end[2]["code"], null) == ("DISCONNECT", 4001, None)
    assert one.server.runtime.hub.users == {}


async def test_a_history_beyond_the_bound_arrives_with_what_is_published_meanwhile(
    start: Start, site: App
) -> None:
    site.answers["create_channel"] = {"moderated": False, "history_size": 20}
    one = await start(max_unsent=20_000)
    for _ in range(10):
        await one.rest("publish", channel_name="room", payload=json.dumps("x" * 5000))
    session = await (await Session(one).open()).connect("alice", ack=True)
    await session.send([2, "SUBSCRIBE", {"channel_name": "room"}])
    await until(lambda: session.connection.outbox.size > 50_000)
    await one.rest("publish", channel_name="room", payload='"live"')
    frames = [frame for _, frame in packets(await session.text("comet"))]
    (snapshot,) = (args for _, name, args in frames if name == "SUBSCRIBE")
    assert len(snapshot["history"]) == 10
    assert frames[-1][2]["payload"] == "live"
    assert one.server.metrics.dropped_slow == 0
    # Once it has been read, the bound is the usual one.
    await session.text("comet", a="1000", du="0")
    for _ in range(10):
        await one.rest("publish", channel_name="room", payload=json.dumps("x" * 5000))
    await until(lambda: one.server.metrics.dropped_slow == 1)


async def test_sessions_count_as_connections(start: Start) -> None:
    one = await start(max_connections=2, allowed_origins=(ORIGIN,), jsonp=True)
    first = await (await Session(one).open()).connect("alice")
    await one.open("bob")
    for method in ("GET", "POST"):
        response = await Session(one).ask("handshake", method=method, _Origin=ORIGIN)
        assert response.status == 503
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await one.open()
    await first.text("close")
    # Those that have ended wait for their clients, but not any number of them.
    for number in range(10):
        session = await (await Session(one).open()).connect(f"user{number}")
        await session.text("close")
    assert len(one.server.clients.csp._sessions) <= 3
    assert len(one.server.runtime.connections) == 1


async def test_sessions_without_connect_have_a_budget_of_their_own(start: Start) -> None:
    one = await start(max_connections=5, max_unconnected=3)
    visitor = await (await Session(one).open()).connect("alice")
    for _ in range(20):
        await Session(one).open()
        assert len(one.server.runtime.connections) <= 4
    for number in range(4):  # there is room for everybody who connects
        await (await Session(one).open()).connect(f"user{number}")
    assert len(one.server.runtime.connections) == 5
    assert len(one.server.clients.csp._sessions) <= 5 + 3 + 3  # some wait for their clients to know
    await alive(visitor)
    assert (await Session(one).ask("handshake")).status == 503


async def test_a_session_has_to_connect_in_time(start: Start) -> None:
    one = await start(connect_timeout=0.2)
    session = await Session(one).open()
    comet = asyncio.create_task(session.text("comet"))
    assert packets(await comet) == [(1, None)]
    assert len(one.server.runtime.connections) == 0
    visitor = await (await Session(one).open()).connect("alice")
    await asyncio.sleep(0.4)
    await alive(visitor)


# ---- ends ---------------------------------------------------------------------------------------


async def gone(session: Session) -> None:
    response = await session.ask("comet")
    assert (response.status, await response.text()) == (404, "'Session not found'")
    assert session.key not in session.one.server.clients.csp._sessions


async def test_the_client_ends_it_by_a_null_packet(session: Session, site: App) -> None:
    comet = asyncio.create_task(session.text("comet", a="1"))
    await until(lambda: session.connection._comet is not None)
    assert await session.text("send", "[[9, 0, null]]") == '("OK")'
    assert packets(await comet) == [(2, None)]
    await gone(session)  # null packets have gone both ways
    await until(lambda: "disconnect" in [hook for hook, *_ in site.calls])


async def test_requests_put_off_the_end_of_an_ended_session(session: Session) -> None:
    await session.text("close", a="1")
    due = session.connection._timer.when()
    assert packets(await session.text("comet")) == [(2, None)]
    assert session.connection._timer.when() > due


async def test_the_client_ends_it_by_close(session: Session, site: App) -> None:
    assert await session.text("close", a="1") == '("OK")'
    await until(lambda: "disconnect" in [hook for hook, *_ in site.calls])
    for _ in range(2):
        assert packets(await session.text("comet")) == [(2, None)]
    assert await session.text("send", "[[2, 0, null]]") == '("OK")'
    await gone(session)


@pytest.mark.parametrize(("ack", "frames"), [(True, ["DISCONNECT", None]), (False, [None])])
async def test_the_site_ends_it(start: Start, ack: bool, frames: list[str | None]) -> None:
    one = await start()
    session = await (await Session(one).open()).connect("alice", ack=ack)
    comet = asyncio.create_task(session.text("comet", a="1"))
    await until(lambda: session.connection._comet is not None)
    await one.rest("disconnect", name="alice", code="4501", reason="Gone")
    answer = await comet
    assert names(answer) == frames
    if ack:
        assert packets(answer)[0][1][2] == {"code": 4501, "reason": "Gone"}
    # What it sends now is taken and changes nothing.
    assert await session.send([5, "SUBSCRIBE", {"channel_name": "room"}]) == '("OK")'
    assert one.channels == {}
    assert len(one.server.runtime.connections) == 0


async def test_silence_ends_it(start: Start, site: App) -> None:
    one = await start()
    session = await (await Session(one).open(du="1")).connect("alice")
    ended, began = session.connection, asyncio.get_running_loop().time()
    await until(lambda: ended.closed, SECONDS)
    assert asyncio.get_running_loop().time() - began > 1.5  # twice `du`
    await until(lambda: "disconnect" in [hook for hook, *_ in site.calls])
    # Whoever comes back learns it, for as long again; then it is forgotten.
    assert packets(await session.text("comet", a="1")) == [(2, None)]
    await until(lambda: session.key not in one.server.clients.csp._sessions, SECONDS)
    assert one.server.clients.csp._ended == {}


async def test_requests_keep_it_alive(start: Start) -> None:
    one = await start()
    session = await (await Session(one).open(du="1")).connect("alice")
    for _ in range(8):
        await asyncio.sleep(0.5)
        await session.text("send", "[]")
    assert not session.connection.closed


async def test_the_server_stops(session: Session) -> None:
    comet = asyncio.create_task(session.text("comet", a="1"))
    stream = await Session(session.one).open()
    response = await stream.begin("comet", **{"is": "1"})
    await until(lambda: session.connection._comet is not None)
    await session.one.server.stop()
    assert packets(await comet) == [(2, None)]
    assert packets((await response.read()).decode()) == [(1, None)]


# ---- origins and cookies ------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://site.example.evil", ""])
async def test_foreign_pages_get_nothing(session: Session, origin: str) -> None:
    for call in ("handshake", "comet", "send", "close", "reflect", "nosuch"):
        for method in ("GET", "POST", "OPTIONS"):
            response = await session.ask(call, "[]", method=method, _Origin=origin, du="0")
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
    assert not session.connection.closed


async def test_allowed_pages_may_read(session: Session) -> None:
    for call in ("handshake", "comet", "send", "reflect", "close", "nosuch"):
        response = await session.ask(call, "[]", _Origin=ORIGIN, du="0")
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Vary"] == "Origin"
    response = await session.ask("send", "", method="OPTIONS", _Origin=ORIGIN)
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
    stream = await session.begin("comet", _Origin=ORIGIN, **{"is": "1"}, a="0", du="0")
    assert stream.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    ("method", "headers", "cookie"),
    [
        ("POST", {"_Origin": ORIGIN}, "sid=1"),
        ("POST", {"_Sec_Fetch_Site": "same-origin"}, "sid=1"),
        ("POST", {}, None),
        # What a <script src> of any page can make: JSONP gets no cookies.
        ("GET", {"_Origin": ORIGIN}, None),
        ("GET", {"_Sec_Fetch_Site": "same-origin"}, None),
        ("GET", {}, None),
    ],
)
async def test_cookies_count_only_for_a_page_that_proves_itself(
    start: Start, site: App, method: str, headers: Mapping[str, str], cookie: str | None
) -> None:
    one = await start(allowed_origins=(ORIGIN,), jsonp=True)
    session = await Session(one).open(method=method, _Cookie="sid=1", **headers)
    # Those of later requests never count; cookie_string only adds.
    args = {"cookie_string": "sid=2; more=3", "payload": '"alice"'}
    await session.send([1, "CONNECT", args], _Cookie="sid=9", _Origin=ORIGIN)
    await until(lambda: site.calls)
    assert site.calls[0][2] == ("sid=1; more=3" if cookie else "sid=2; more=3")


# ---- requests that pages can make without an Origin ---------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"_Sec_Fetch_Site": "cross-site"},
        {"_Sec_Fetch_Site": "same-site"},
        {"_Sec_Fetch_Site": "cross-site", "_Referer": "http://evil.example/"},
        {"_Host": "evil.example"},  # a name that now leads to this process
        {"_Host": "evil.example:8001", "_Sec_Fetch_Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("jsonp", [False, True])
async def test_foreign_pages_without_an_origin_get_nothing(
    start: Start, headers: Mapping[str, str], jsonp: bool
) -> None:
    one = await start(allowed_origins=(ORIGIN,), jsonp=jsonp)
    session = await (await Session(one).open()).connect("alice")
    waiting = len(session.connection.outbox.after(0))
    for call in ("handshake", "comet", "send", "close", "reflect", "nosuch"):
        for method in ("GET", "POST"):
            response = await session.ask(
                call, "[[9, 0, null]]", method=method, a="9", du="0", rp="cb", d="[[9, 0, null]]",
                **headers,
            )  # fmt: skip
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
    assert len(session.connection.outbox.after(0)) == waiting
    assert not session.connection.closed
    assert len(one.server.clients.csp._sessions) == 1


@pytest.mark.parametrize("headers", [{}, {"_Origin": ORIGIN}, {"_Sec_Fetch_Site": "same-origin"}])
async def test_a_get_changes_nothing(start: Start, headers: Mapping[str, str]) -> None:
    one = await start(allowed_origins=(ORIGIN,))
    response = await Session(one).ask("handshake", method="GET", rp="cb", rs=";", **headers)
    assert (response.status, await response.text()) == (405, "'Use POST'")
    assert response.headers["Allow"] == "POST, OPTIONS"
    assert one.server.clients.csp._sessions == {}
    session = await (await Session(one).open()).connect("alice")
    for call in ("send", "close"):
        batch = '[[2, 0, "[5,\\"FLY\\",{}]\\r\\n"], [3, 0, null]]'
        response = await session.ask(call, method="GET", d=batch, a="9", ct="text/html", **headers)
        assert (response.status, await response.text()) == (405, "'Use POST'")
    assert session.connection.inbox.last_id == 1
    assert len(session.connection.outbox.after(0)) == 1  # nothing has been acknowledged
    assert not session.connection.closed


async def test_a_get_changes_nothing_of_a_connection_that_began_by_post(start: Start) -> None:
    session = await Session(await start(jsonp=True)).open()
    for call in ("send", "close"):
        assert (await session.ask(call, method="GET", d="[[1, 0, null]]")).status == 405
    assert not session.connection.closed


async def test_the_script_of_a_page_of_2011(start: Start) -> None:
    one = await start(allowed_origins=(ORIGIN,), jsonp=True)
    page = {"method": "GET", "_Referer": f"{ORIGIN}/page", "_Sec_Fetch_Site": "cross-site"}
    session = await Session(one).open(rp="cb", rs=";", **page)
    assert session.connection.jsonp
    assert await session.text("send", d="[]", **page) == 'cb("OK");'
    assert await session.text("close", **page) == 'cb("OK");'


async def test_a_websocket_by_a_strange_name(start: Start) -> None:
    one = await start(allowed_origins=(ORIGIN,), allowed_hosts=("hookbox",))
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await one.open(headers=headers)
        assert refusal.value.status == 403
    await one.open(headers={"Host": "hookbox:8001"})
    await one.open(headers={"Host": "evil.example", "Origin": ORIGIN})
