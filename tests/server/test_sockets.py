"""Slow and incomplete requests, clients that do not read, and compressed requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from djhookbox.server.transports import sockets

from ..stand_ins.waiting import until
from .running import App, Running, Start, ended, read, send

SECONDS = 20.0
HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Raw:
    """A socket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        """Return the status line and the headers of an answer, b"" if the socket was closed."""
        try:
            return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def gone(self) -> bool:
        try:
            while await asyncio.wait_for(self.reader.read(65_536), SECONDS):
                pass
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def raw(one: Running, data: bytes = b"") -> AsyncIterator[Raw]:
    host, port = one.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


# ---- slow -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"G", b"GET /ws", HEAD, UPGRADE[:-2], b"POST /rest/publish HTTP/1.1\r\nContent-"]
)
async def test_a_request_has_to_come_in_time(start: Start, data: bytes) -> None:
    one = await start(connect_timeout=0.2)
    async with raw(one, data) as socket:
        assert await socket.gone()
    await until(lambda: len(one.server.clients.sockets) == 0)


async def test_byte_by_byte_is_not_in_time(start: Start) -> None:
    one = await start(connect_timeout=0.3)
    began = asyncio.get_running_loop().time()
    async with raw(one, HEAD) as socket:
        gone = asyncio.create_task(socket.gone())
        while not gone.done():
            socket.writer.write(b"X")
            await asyncio.sleep(0.05)
    assert asyncio.get_running_loop().time() - began < 5


async def test_the_second_request_has_to_come_in_time_too(start: Start) -> None:
    one = await start(connect_timeout=0.3)
    async with raw(one, HEAD + b"\r\n") as socket:
        for _ in range(3):
            assert b" 200 " in await socket.answer()
            await socket.reader.readexactly(len('{"status": "ok"}'))
            await asyncio.sleep(0.4)  # it may be kept alive for as long as it says nothing
            socket.writer.write(HEAD + b"\r\n")
        assert b" 200 " in await socket.answer()
        socket.writer.write(HEAD)
        assert await socket.gone()


@pytest.mark.parametrize("frame", [None, "PING", "SUBSCRIBE", "NONSENSE"])
async def test_a_websocket_has_to_connect_in_time(start: Start, frame: str | None) -> None:
    one = await start(connect_timeout=0.3)
    socket = await one.open()
    if frame is not None:
        await send(socket, frame, channel_name="room")
    assert await ended(socket) == 4003
    assert len(one.server.runtime.connections) == 0


async def test_who_was_refused_may_try_again(start: Start, site: App) -> None:
    site.answers["connect"] = {"identity": 5}
    one = await start(connect_timeout=1.0)
    socket = await one.open()
    for payload in ("[]", '"alice"'):  # the first is no name
        assert len(one.server.clients.unconnected) == 1
        await send(socket, "CONNECT", cookie_string="", payload=payload)
        name = (await read(socket))[1]
    assert name == "CONNECTED"
    assert len(one.server.clients.unconnected) == 0


async def test_a_websocket_that_has_connected_may_be_silent(start: Start) -> None:
    one = await start(connect_timeout=0.2)
    socket = await one.open("alice")
    await asyncio.sleep(0.5)
    assert not socket.closed
    assert len(one.server.runtime.connections) == 1
    assert len(one.server.clients.unconnected) == 0


# ---- many -------------------------------------------------------------------------------------


async def test_sockets_without_a_request_are_bounded(start: Start) -> None:
    one = await start(max_unconnected=5)
    async with raw(one, HEAD) as first:
        others = [raw(one, HEAD) for _ in range(20)]
        for other in others:
            await other.__aenter__()
        assert await first.gone()
        assert len(one.server.clients.sockets) <= 5
        visitor = await one.open("alice")
        assert not visitor.closed
        for other in others:
            await other.__aexit__(None, None, None)


async def test_a_request_that_has_arrived_is_answered_although_room_is_needed(
    start: Start,
) -> None:
    one = await start(max_unconnected=3)
    async with raw(one) as kept, raw(one) as idle:
        for each in (kept, idle):
            each.writer.write(HEAD + b"\r\n")
            head = await each.answer()
            assert b" 200 " in head
            await each.reader.readexactly(int(head.lower().split(b"length: ")[1].split()[0]))
        waiting = one.server.clients.sockets
        await until(lambda: len(waiting) == 2)
        # The server does not run between these two lines, and so has not read the request.
        kept.writer.write(HEAD + b"\r\n")
        assert waiting.drop_oldest()
        assert len(waiting) == 2
        assert b" 200 " in await kept.answer()
        assert waiting.drop_oldest()
        assert await idle.gone()
        # Many of them do not exceed the limit for long.
        async with raw(one), raw(one), raw(one), raw(one), raw(one):
            await until(lambda: len(waiting) == 3)


@pytest.mark.parametrize(("proxies", "left"), [((), 3), (("127.0.0.1",), 20)])
async def test_a_bound_per_address(start: Start, proxies: tuple[str, ...], left: int) -> None:
    one = await start(max_unconnected_per_address=3, trusted_proxies=proxies)
    opened = [raw(one, UPGRADE) for _ in range(20)]
    for each in opened:
        assert b" 101 " in await (await each.__aenter__()).answer()
    await until(lambda: len(one.server.runtime.connections) == left, SECONDS)
    for each in opened:
        await each.__aexit__(None, None, None)


async def test_the_bound_holds_for_the_address_that_a_trusted_proxy_tells(start: Start) -> None:
    one = await start(max_unconnected_per_address=2)
    for address in ["192.0.2.1"] * 6 + ["192.0.2.2"]:
        await one.open(headers={"X-Forwarded-For": address})
    await until(lambda: len(one.server.runtime.connections) == 3, SECONDS)


async def test_visitors_come_in_during_a_flood_of_handshakes(start: Start) -> None:
    """Of 20,000 places all were taken after half a minute."""
    one = await start(max_connections=10, max_unconnected=5)
    for _ in range(30):
        async with one.http.post(f"{one.address}/csp/handshake") as response:
            assert response.status == 200
    for number in range(10):
        await one.open(f"user{number}")
    assert len(one.server.runtime.connections) == 10
    async with one.http.post(f"{one.address}/csp/handshake") as response:
        assert response.status == 503


# ---- answers that nobody reads ----------------------------------------------------------------


async def test_who_does_not_read_has_to_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "ANSWER_SECONDS", 0.2)
    one = await start()
    async with raw(one) as socket:
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):  # noqa: PT012
            while True:
                socket.writer.write((HEAD + b"\r\n") * 1000)
                await asyncio.wait_for(socket.writer.drain(), SECONDS)


# ---- packed -----------------------------------------------------------------------------------


def _bomb() -> bytes:
    return gzip.compress(b"secret=wrong&payload=" + b"x" * 50_000_000, 9)


@pytest.mark.parametrize("path", ["rest/publish", "web/publish", "csp/handshake", "csp/send", "x"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity"])
async def test_no_request_is_unpacked(start: Start, path: str, encoding: str) -> None:
    one = await start()
    headers: dict[str, Any] = {"Content-Encoding": encoding}
    url = f"{one.address}/{path}"
    async with one.http.post(url, data=zlib.compress(b"x" * 1000), headers=headers) as response:
        assert response.status == 415
        assert response.headers["Accept-Encoding"] == "identity"


async def test_a_second_line_counts(start: Start) -> None:
    one = await start()
    lines = b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
    head = b"POST /rest/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    async with raw(one, head + lines) as client:
        assert b" 415 " in await client.answer()


async def test_a_bomb_costs_nothing(start: Start) -> None:
    one = await start()
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    loop = asyncio.get_running_loop()
    bomb, began = _bomb(), loop.time()
    for _ in range(5):
        async with one.http.post(
            f"{one.address}/rest/publish", data=bomb, headers=headers
        ) as response:
            assert response.status == 415
    assert loop.time() - began < 5


async def test_identity_is_no_compression(start: Start) -> None:
    one = await start()
    async with one.http.post(
        f"{one.address}/rest/get_server_info",
        data={"secret": "s"},
        headers={"Content-Encoding": "identity"},
    ) as response:
        assert json.loads(await response.text())[0] is True


# ---- gone before they are answered --------------------------------------------------------------


async def test_who_vanishes_leaves_no_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await start()
    prepare = web.StreamResponse.prepare

    async def vanish(self: web.StreamResponse, request: web.BaseRequest) -> Any:
        assert request.transport is not None
        request.transport.abort()  # as if its client had just done it
        return await prepare(self, request)

    monkeypatch.setattr(web.StreamResponse, "prepare", vanish)
    for data in (UPGRADE, HEAD + b"\r\n"):
        async with raw(one, data) as socket:
            assert await socket.gone()
    await until(lambda: len(one.server.clients.sockets) == 0)
    assert [record for record in caplog.records if record.exc_info] == []
