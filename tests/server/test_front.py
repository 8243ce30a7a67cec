"""The front and aiohttp alone give the same answers, whatever arrives, and the front is used."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import EllipsisType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.front import heads, sockets
from djhookbox.server.front.sockets import FrontSocket
from djhookbox.server.rest.bodies import BadBody, fields, first_values
from djhookbox.server.running import new_loop

from ..stand_ins.waiting import until

#: asyncio's, and uvloop's where it is installed: `make test` installs it, the matrix does not.
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
if type(loop := new_loop()).__module__.startswith("uvloop"):
    LOOPS.append(new_loop)
loop.close()

HOST = "Host: 127.0.0.1"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
FORM = "secret=s&channel_name=room&options=%7B%7D&payload=1"
HANDSHAKE = (HOST, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY)
#: A masked PING frame of RTJP, and a masked control frame.
RTJP_PING = b"\x81\x90\0\0\0\0" + b'[1,"PING",{}]\r\n '
PING = b"\x89\x82\0\0\0\0hi"
#: Seconds of silence after which nothing more is expected.
SILENCE = 0.4
#: Cases at once; only 32 forms may be read at once of which the secret is not known.
MOST = 24

#: Bytes to send, a pause in seconds, ... for an answer, or None for the end of what is sent.
Part = bytes | float | EllipsisType | None


def head(line: str, *headers: str, end: str = "\r\n") -> bytes:
    """Return a head with these headers."""
    return "".join(f"{each}{end}" for each in (line, *headers, "")).encode("latin-1")


def post(*headers: str, form: str = FORM, call: str = "publish", host: str = HOST) -> bytes:
    """Return a call with these further headers."""
    size = f"Content-Length: {len(form)}"
    return head(f"POST /rest/{call} HTTP/1.1", host, size, *headers) + form.encode()


def raw_post(*headers: str, body: str = FORM) -> bytes:
    """Return a call with only these headers."""
    return head("POST /rest/publish HTTP/1.1", HOST, *headers) + body.encode("latin-1")


def opening(*headers: str, path: str = "/ws", without: str = "-") -> bytes:
    """Return a handshake with these further headers."""
    own = [each for each in HANDSHAKE if not each.startswith(without)]
    return head(f"GET {path} HTTP/1.1", *own, *headers)


HEALTH = head("GET /health HTTP/1.1", HOST)
CHUNKED = f"{len(FORM):x}\r\n{FORM}\r\n0\r\n\r\n"
SIZE = f"Content-Length: {len(FORM)}"

#: What the front answers itself.
PLAIN: dict[str, Sequence[Part]] = {
    "call": [post()],
    "call with a body apart": [post()[: -len(FORM)], 0.05, FORM.encode()],
    "call with a body in three parts": [post()[:-20], 0.05, post()[-20:-10], 0.05, post()[-10:]],
    "calls one after another": [post(), ..., post(), ..., post(call="cursor")],
    "call of /web": [post().replace(b"/rest/", b"/web/")],
    "secret in a header": [post("X-Hookbox-Secret: s", form="channel_name=a&options=%7B%7D")],
    "percent-encoded secret": [post("x-hookbox-secret: %73", form="channel_name=a&options=%7B%7D")],
    "wrong secret in a header": [post("X-Hookbox-Secret: x")],
    "wrong secret": [post(form="secret=x&channel_name=room")],
    "no secret": [post(form="channel_name=room")],
    "token of 0.3.4": [post(form="security_token=s&channel_name=room&options=%7B%7D")],
    "two secrets": [post(form="security_token=s&secret=x&channel_name=room")],
    "empty secret": [post(form="secret=&security_token=s&channel_name=a&options=%7B%7D")],
    "empty form": [post(form="")],
    "not UTF-8": [post(form="secret=s&channel_name=%ff")],
    "too many fields": [post(form="secret=s" + "&a=1" * 2000)],
    "long field": [post(form="secret=s&channel_name=" + "x" * 3000)],
    "not JSON": [post(form="secret=s&channel_name=room&options=%7B%7D&payload=x")],
    "missing field": [post(form="secret=s")],
    "keep-alive": [post("Connection: Keep-Alive")],
    "browser": [post("User-Agent: a b (c; d)", "Accept: */*", "Content-Type: text/plain")],
    "handshake": [opening()],
    "handshake with a query": [opening(path="/ws?a=1&b=%20")],
    "handshake of Firefox": [opening("Connection: keep-alive, Upgrade", without="Connection")],
    "handshake with extensions": [opening("Sec-WebSocket-Extensions: permessage-deflate")],
    "ping": [opening(), ..., PING],
    "heartbeat": [opening(), ..., RTJP_PING],
    "text in pieces": [opening(), ..., *(bytes([each]) for each in RTJP_PING)],
    "unmasked": [opening(), ..., b"\x81\x02hi"],
    "reserved bits": [opening(), ..., b"\xf1\x80\0\0\0\0"],
    "not UTF-8 text": [opening(), ..., b"\x81\x81\0\0\0\0\xff"],
    "closed": [opening(), ..., b"\x88\x82\0\0\0\0\x03\xe8"],
    "closed with a reason": [opening(), ..., b"\x88\x84\0\0\0\0\x0f\xa0hi"],
    "closed with a bad code": [opening(), ..., b"\x88\x82\0\0\0\0\x03\xed"],
    "too long": [opening(), ..., b"\x82\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0"],
    "published and closed": [opening(), ..., RTJP_PING + b"\x88\x80\0\0\0\0"],
    "half-closed": [post(), ..., None],
    "nothing": [],
    "nothing, half-closed": [None],
}

#: What aiohttp has to answer.
HOSTILE: dict[str, Sequence[Part]] = {
    # ---- how long a body is
    "chunked": [raw_post("Transfer-Encoding: chunked", body=CHUNKED)],
    "chunked and a length": [raw_post("Transfer-Encoding: chunked", SIZE, body=CHUNKED)],
    "a length and chunked": [raw_post(SIZE, "Transfer-Encoding: chunked", body=CHUNKED)],
    "chunked in capitals": [raw_post("Transfer-Encoding: CHUNKED", body=CHUNKED)],
    "chunked, with a space": [raw_post("Transfer-Encoding : chunked", SIZE, body=CHUNKED)],
    "chunked, with a tab": [raw_post("Transfer-Encoding:\tchunked", SIZE, body=CHUNKED)],
    "xchunked": [raw_post("Transfer-Encoding: xchunked", SIZE)],
    "identity": [raw_post("Transfer-Encoding: identity", SIZE)],
    "chunked twice": [raw_post("Transfer-Encoding: chunked, chunked", body=CHUNKED)],
    "underscore": [raw_post("Transfer_Encoding: chunked", SIZE)],
    "bad chunk": [raw_post("Transfer-Encoding: chunked", body="zz\r\nabc\r\n")],
    "trailers": [
        raw_post("Transfer-Encoding: chunked", "Trailer: A", body=CHUNKED[:-2] + "A: b\r\n\r\n")
    ],
    "two lengths": [raw_post(SIZE, SIZE)],
    "two different lengths": [raw_post(SIZE, "Content-Length: 3")],
    "two lengths in one": [raw_post(f"{SIZE}, {len(FORM)}")],
    "negative length": [raw_post("Content-Length: -1")],
    "signed length": [raw_post(f"Content-Length: +{len(FORM)}")],
    "hexadecimal length": [raw_post("Content-Length: 0x10")],
    "huge length": [raw_post("Content-Length: " + "9" * 40)],
    "empty length": [raw_post("Content-Length: ")],
    "length with a blank": [raw_post("Content-Length: 1 2")],
    "length with a trailing blank": [raw_post(f"{SIZE} ")],
    "no length": [raw_post()],
    "length too small": [raw_post("Content-Length: 5")],
    "long form": [post(form=FORM + "&x=" + "y" * 100_000)],
    # ---- lines
    "line feeds": [head("POST /rest/publish HTTP/1.1", HOST, SIZE, end="\n") + FORM.encode()],
    "carriage returns": [head("POST /rest/publish HTTP/1.1", HOST, SIZE, end="\r")],
    "blank line before": [b"\r\n" + post()],
    "folded": [raw_post(SIZE, "A: b\r\n c")],
    "folded length": [raw_post(f"Content-Length:\r\n {len(FORM)}")],
    "no colon": [raw_post(SIZE, "A b")],
    "no name": [raw_post(SIZE, ": b")],
    "null": [raw_post(SIZE, "A: b\0c")],
    "carriage return in a value": [raw_post(SIZE, "A: b\rc")],
    "obs-text": [raw_post(SIZE, "A: \xe9\xff")],
    "no blank": [raw_post(SIZE, "A:b")],
    "empty value": [raw_post(SIZE, "A:")],
    "two of a kind": [post("A: b", "a: c")],
    "long line": [post("A: " + "b" * 9000)],
    "long target": [head("POST /rest/publish?" + "x" * 9000 + " HTTP/1.1", HOST, SIZE)],
    "many headers": [post(*(f"A{number}: b" for number in range(150)))],
    "blank in the line": [head("POST  /rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "tab in the line": [head("POST\t/rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    # ---- targets, methods, versions
    "absolute": [head("POST http://127.0.0.1/rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "authority": [head("CONNECT 127.0.0.1:80 HTTP/1.1", HOST)],
    "asterisk": [head("OPTIONS * HTTP/1.1", HOST)],
    "percent-encoded": [head("POST /rest/%70ublish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "two slashes": [head("POST //rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "dots": [head("POST /csp/../rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "query": [head("POST /rest/publish?secret=s HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "unknown call": [post(call="nonsense")],
    "call in capitals": [post(call="PUBLISH")],
    "by GET": [head("GET /rest/publish?secret=s&channel_name=a&options=%7B%7D HTTP/1.1", HOST)],
    "small letters": [head("post /rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "PUT": [head("PUT /rest/publish HTTP/1.1", HOST, SIZE) + FORM.encode()],
    "nonsense": [head("NONSENSE /rest/publish HTTP/1.1", HOST)],
    "HTTP/1.0": [head("POST /rest/publish HTTP/1.0", HOST, SIZE) + FORM.encode()],
    "HTTP/1.0 kept alive": [
        head("POST /rest/publish HTTP/1.0", HOST, SIZE, "Connection: keep-alive") + FORM.encode()
    ],
    "HTTP/1.2": [head("POST /rest/publish HTTP/1.2", HOST, SIZE) + FORM.encode()],
    "HTTP/0.9": [b"GET /health\r\n\r\n"],
    "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)],
    "no host": [head("POST /rest/publish HTTP/1.1", SIZE) + FORM.encode()],
    "two hosts": [post(HOST)],
    "bad host": [post(host="Host: a b")],
    "host with a path": [post(host="Host: a/b")],
    "health": [HEALTH],
    "unknown": [head("GET /nothing HTTP/1.1", HOST)],
    # ---- headers that ask for something
    "Expect": [raw_post(SIZE, "Expect: 100-continue", body=""), 0.1, FORM.encode()],
    "expects nonsense": [post("Expect: nonsense")],
    "packed": [post("Content-Encoding: gzip")],
    "identical": [post("Content-Encoding: identity")],
    "close": [post("Connection: close")],
    "close and keep-alive": [post("Connection: close, keep-alive")],
    "hop by hop": [post("Connection: X-Hookbox-Secret", "X-Hookbox-Secret: s")],
    "TE": [post("TE: trailers")],
    "h2c": [post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAM")],
    "upgrade in a call": [post("Connection: Upgrade", "Upgrade: websocket")],
    # ---- handshakes
    "handshake with a length": [opening("Content-Length: 0")],
    "handshake with a body": [opening("Content-Length: 2") + b"hi"],
    "handshake with chunks": [opening("Transfer-Encoding: chunked") + b"0\r\n\r\n"],
    "handshake without a key": [opening(without="Sec-WebSocket-Key")],
    "bad key": [opening("Sec-WebSocket-Key: abc", without="Sec-WebSocket-Key")],
    "key of 15 bytes": [opening("Sec-WebSocket-Key: " + "A" * 20, without="Sec-WebSocket-Key")],
    "two keys": [opening(KEY)],
    "without Upgrade": [opening(without="Upgrade")],
    "without Connection": [opening(without="Connection")],
    "version 12": [opening("Sec-WebSocket-Version: 12", without="Sec-WebSocket-Version")],
    "version 8": [opening("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version")],
    "without version": [opening(without="Sec-WebSocket-Version")],
    "subprotocol": [opening("Sec-WebSocket-Protocol: chat")],
    "HTTP/1.0 handshake": [opening().replace(b"HTTP/1.1", b"HTTP/1.0")],
    "handshake by POST": [opening("Content-Length: 0").replace(b"GET", b"POST", 1)],
    "frames at once": [opening() + PING + RTJP_PING],
    "call behind a handshake": [opening() + post()],
    "refused, then a call": [opening("Origin: http://evil.example") + post()],
    "below /ws": [opening(path="/ws/x")],
    "beside /ws": [opening(path="/wsx")],
    "foreign page": [opening("Origin: http://evil.example")],
    "two pages": [opening("Origin: http://evil.example", "Origin: http://evil.example")],
    "no page": [opening("Origin: null")],
    "cross-site": [opening("Sec-Fetch-Site: cross-site")],
    "ordinary request": [head("GET /ws HTTP/1.1", HOST)],
    # ---- more than one at once, and parts
    "two calls": [post() + post()],
    "call and health": [post() + HEALTH],
    "call and nonsense": [post() + b"nonsense\r\n\r\n"],
    "call and half a call": [post() + post()[:-5], 0.1, post()[-5:]],
    "call, then chunks": [post(), ..., raw_post("Transfer-Encoding: chunked", body=CHUNKED)],
    "call, then HTTP/1.0": [post(), ..., post().replace(b"HTTP/1.1", b"HTTP/1.0")],
    "call, then a handshake of version 8": [post(), ..., opening().replace(b": 13", b": 8")],
    "head in two parts": [post()[:30], 0.05, post()[30:]],
    "byte by byte": [bytes([each]) for each in post()],
    "half a head": [post()[:30], 0.05, None],
    "half a handshake": [opening()[:50], 0.05, None],
    # ---- not HTTP
    "TLS": [bytes.fromhex("16030100c8010000c40303") + bytes(range(200))],
    "SSH": [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "zeros": [bytes(5000)],
    "high bytes": [b"\xff" * 5000],
    "blank lines": [b"\r\n" * 2000],
    "text": [b"hello, hello?"],
}


#: What may be closed without an answer, by whoever has it.
UNFINISHED: dict[str, Sequence[Part]] = {
    "length too large": [raw_post("Content-Length: 5000"), 0.1, None],
    "half a form": [post()[:-5], 0.05, None],
}


@asynccontextmanager
async def serving(**config: Any) -> AsyncIterator[tuple[Server, int]]:
    """Run a server that needs no site, and provide its port."""
    values = {"webhook_url": "http://127.0.0.1:9/", "rest_secrets": ("s",), "port": 0}
    server = Server(ServerConfig(**{"grace_period": 2.0, "allowed_hosts": ("127.0.0.1",),
                                    **values, **config}))  # fmt: skip
    address = await server.start()
    try:
        yield server, int(address.rpartition(":")[2])
    finally:
        await server.stop()


async def answer_to(port: int, parts: Sequence[Part]) -> tuple[bytes, bool]:
    """Send something; return all that is answered, and whether the server closed the socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got, closed = b"", False
    try:
        for part in parts:
            if isinstance(part, float):
                await asyncio.sleep(part)
            elif isinstance(part, EllipsisType):
                got += await asyncio.wait_for(reader.read(65_536), 20)
            elif part is None:
                with suppress(OSError):
                    writer.write_eof()
            else:
                writer.write(part)
                await asyncio.sleep(0)
        while not closed:
            data = await asyncio.wait_for(reader.read(65_536), SILENCE)
            got, closed = got + data, not data
    except asyncio.TimeoutError:
        pass
    except ConnectionError:
        closed = True
    finally:
        writer.transport.abort()
    return comparable(got), closed


def comparable(answer: bytes) -> bytes:
    """Return an answer without what differs from one moment to the next."""
    answer = re.sub(rb"Date: [^\r]+", b"Date: now", answer)
    answer = re.sub(rb'.\[\d+,"ACK"', b'[0,"ACK"', answer)
    # Another case may have created the channel.
    answer = re.sub(rb',"epoch":"[^"]+","offset":\d+', b"", answer)
    answer = re.sub(rb'"cursor":"[^"]*"', b'"cursor":""', answer)
    return re.sub(rb"Content-Length: \d+", b"Content-Length: n", answer)


async def answers(cases: dict[str, Sequence[Part]]) -> tuple[dict[str, tuple[bytes, bool]], int]:
    """Return the answers to all cases, and how many sockets were handed over to aiohttp."""
    async with serving(max_unconnected_per_address=1000) as (server, port):
        fronts, handed_over = server.service.port._fronts, 0
        make = fronts.make_handler

        def count() -> asyncio.Protocol:
            nonlocal handed_over
            handed_over += 1
            return make()

        fronts.make_handler = count
        room = asyncio.Semaphore(MOST)

        async def one(parts: Sequence[Part]) -> tuple[bytes, bool]:
            async with room:
                return await answer_to(port, parts)

        found = await asyncio.gather(*map(one, cases.values()))
        return dict(zip(cases, found, strict=True)), handed_over


@pytest.mark.parametrize("new_loop", LOOPS)
def test_the_front_answers_what_aiohttp_answers(
    new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop()
    try:
        plain, handed_over = loop.run_until_complete(answers(PLAIN))
        assert handed_over == 0
        assert plain["call"][0].startswith(b"HTTP/1.1 200 OK\r\n")
        assert plain["handshake"][0].startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        hostile, handed_over = loop.run_until_complete(answers(HOSTILE))
        assert handed_over == len(HOSTILE)
        unfinished, _ = loop.run_until_complete(answers(UNFINISHED))
        monkeypatch.setattr(heads, "read", lambda data, last: None)
        cases = {**PLAIN, **HOSTILE, **UNFINISHED}
        with_aiohttp, handed_over = loop.run_until_complete(answers(cases))
        assert handed_over >= len(cases) - 2, "all but those that send nothing"
        assert {**plain, **hostile, **unfinished} == with_aiohttp
    finally:
        loop.close()


def test_a_head_that_is_repeated_is_not_read_again() -> None:
    form = b"POST /rest/publish HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n1"
    last = heads.read(form % 1)
    assert last is not None
    assert heads.read(form % 1 + b"2", last) is last
    other = heads.read(form % 12, last)
    assert other is not None
    assert other.length == 12
    assert heads.read((form % 1).replace(b"\r\n\r\n", b"\r\nExpect: x\r\n\r\n"), last) is None


# ---- sockets ----------------------------------------------------------------------------------


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the next answer."""
    found = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    size = int(re.findall(rb"Content-Length: (\d+)", found)[0])
    return found + await reader.readexactly(size)


def only(server: Server) -> FrontSocket:
    (socket,) = server.service.port._fronts.sockets
    return socket


async def test_a_form_that_is_late_is_read_by_aiohttp() -> None:
    async with serving() as (server, port), connected(port) as (reader, writer):
        writer.write(post()[:-5])
        await until(lambda: len(server.service.port._fronts.sockets) == 1)
        await until(lambda: only(server)._head is not None)
        socket = only(server)
        socket.look(socket._since + sockets.FORM_SECONDS)
        assert len(server.service.port._fronts.sockets) == 0
        assert len(server.clients.sockets) == 1, "the deadline of aiohttp's socket counts"
        writer.write(post()[-5:])
        assert b" 200 " in await read_answer(reader)


async def test_who_is_idle_is_closed() -> None:
    async with serving() as (server, port), connected(port) as (reader, writer):
        writer.write(post())
        await read_answer(reader)
        socket = only(server)
        socket.look(socket._since + sockets.IDLE_SECONDS - 1)
        writer.write(post())
        await read_answer(reader)
        socket.look(socket._since + 1)
        socket.look(socket._since + sockets.IDLE_SECONDS)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: len(server.clients.sockets) == 0)
        assert len(server.service.port._fronts.sockets) == 0


async def test_who_does_not_read_answers_is_not_read_and_then_dropped() -> None:
    async with serving() as (server, port), connected(port) as (reader, writer):
        writer.write(post())
        await read_answer(reader)
        socket = only(server)
        socket.pause_writing()
        writer.write(post())
        await asyncio.sleep(0.1)
        assert socket.call is None
        socket.resume_writing()
        await read_answer(reader)
        socket.pause_writing()
        socket.look(socket._since + sockets.ANSWER_SECONDS)
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: len(server.service.port._fronts.sockets) == 0)


async def test_requests_wait_for_the_answer_to_the_one_before() -> None:
    async with serving() as (server, port), connected(port) as (reader, writer):
        gate = asyncio.Event()
        server.service.rest.begin = held(gate, server.service.rest.begin)  # type: ignore[method-assign]
        writer.write(post())
        await until(lambda: len(server.service.port._fronts.sockets) == 1)
        await until(lambda: only(server).call is not None)
        writer.write(post(call="get_server_info"))
        await asyncio.sleep(0.05)
        writer.write(post() + HEALTH)
        await asyncio.sleep(0.05)
        gate.set()
        assert b'"delivered"' in await read_answer(reader)
        assert b'"version"' in await read_answer(reader)
        assert b'"delivered"' in await read_answer(reader)
        assert b"ok" in await read_answer(reader)


def held(gate: asyncio.Event, begin: Any) -> Any:
    async def wait(*arguments: Any) -> Any:
        await gate.wait()
        answer = begin(*arguments)
        return answer if isinstance(answer, tuple) else await answer

    return wait


async def test_a_call_is_answered_before_its_socket_makes_room_for_others() -> None:
    async with (
        serving(max_unconnected=1) as (server, port),
        connected(port) as (reader, writer),
    ):
        gate = asyncio.Event()
        server.service.rest.begin = held(gate, server.service.rest.begin)  # type: ignore[method-assign]
        writer.write(post())
        await until(lambda: len(server.service.port._fronts.sockets) == 1)
        await until(lambda: only(server).call is not None)
        async with connected(port):
            await until(lambda: len(server.service.port._fronts.sockets) == 2)
            gate.set()
            assert b" 200 " in await read_answer(reader)
            assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_a_call_is_answered_before_the_server_stops() -> None:
    async with serving() as (server, port), connected(port) as (reader, writer):
        gate = asyncio.Event()
        server.service.rest.begin = held(gate, server.service.rest.begin)  # type: ignore[method-assign]
        writer.write(post())
        await until(lambda: len(server.service.port._fronts.sockets) == 1)
        await until(lambda: only(server).call is not None)
        closing = asyncio.create_task(server.service.port.close())
        await asyncio.sleep(0)
        gate.set()
        assert b" 200 " in await read_answer(reader)
        await closing
        assert await asyncio.wait_for(reader.read(), 10) == b""


@given(
    st.lists(st.tuples(st.text(max_size=4), st.text(max_size=6)), max_size=6),
    st.sampled_from(
        ["", "&", "=", "&&=x", "&%41=%42", "&a=%", "&a=%4", "&b=%zz+%2b", "&%ff=1", "+=+"]
    ),
)
def test_forms_are_read_as_the_standard_library_reads_them(
    pairs: list[tuple[str, str]], tail: str
) -> None:
    text = urlencode(pairs, errors="replace") + tail
    try:
        expected = first_values(parse_qsl(text, errors="strict"))
    except ValueError:
        with pytest.raises(BadBody):
            fields(text.encode())
    else:
        assert fields(text.encode()) == expected
