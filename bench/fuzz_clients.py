"""Clients that send any bytes: a WebSocket and an HTTP connection without a library."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from tests.stand_ins.upgrade import upgrade

from .load import ORIGIN
from .processes import SECRET

#: Checks received bytes, given with its source.
Look = Callable[[bytes, str], None]

HANDSHAKE = upgrade(ORIGIN)
PACKET = re.compile(rb'\[(\d+), ?1, ?"([^"]*)"\]')
#: Seconds to wait for anything; the machine may be busy.
PATIENCE = 60.0
#: Seconds after which an idle connection is not used again, since the server closes it after 75.
#: A worker can be that late: opening another connection takes minutes while the backlog is full.
KEPT = 50.0
#: Longer than the longest text that is searched for.
OVERLAP = 64


class Gone(Exception):
    """The server closed a connection or does not answer."""


def found(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the packets in an answer to comet, ignoring everything around them."""
    for number, data in PACKET.findall(text):
        yield int(number), base64.urlsafe_b64decode(data)


class Socket:
    """A WebSocket whose messages are only scanned."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Look):
        self._reader, self._writer, self._look = reader, writer, look
        self._awaited: dict[int, asyncio.Event] = {}
        self._gone = asyncio.Event()
        self._last = b""

    @staticmethod
    @asynccontextmanager
    async def open(port: int, look: Look) -> AsyncIterator[Socket]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        writer.write(HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        socket = Socket(reader, writer, look)
        try:
            yield socket
        finally:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def texts(self) -> AsyncIterator[bytes]:
        """Yield received texts, split at the ends of frames."""
        tail = b""
        while data := await self._reader.read(65_536):
            self._look(tail[-OVERLAP:] + data, "a WebSocket")
            data = tail + data
            end = data.rfind(b"\r\n") + 2 if b"\r\n" in data else 0
            tail = data[end:]
            yield data[:end]

    async def wait_for(self, number: int, seconds: float) -> None:
        """Read until the answer to the frame with this id has arrived.

        Raises:
            Gone: The server closed the connection, or the answer did not arrive.

        """
        await self.expect(b'"id":%d,' % number, seconds)

    async def expect(self, wanted: bytes, seconds: float) -> None:
        """Read until these bytes have arrived.

        Raises:
            Gone: The server closed the connection, or they did not arrive.

        """
        try:
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(65_536):
                    self._look(self._last[-OVERLAP:] + data, "a WebSocket")
                    if wanted in self._last[-OVERLAP:] + data:
                        self._last = data
                        return
                    self._last = data
        except ConnectionError as error:
            raise Gone(repr(error)) from None
        except TimeoutError:
            raise Gone(f"no {wanted!r}; the last was {self._last[-200:]!r}") from None
        raise Gone(f"closed; the last was {self._last[-200:]!r}")

    async def line(self, number: int, seconds: float) -> bytes:
        """Return the whole answer to the frame with this id.

        Raises:
            Gone: It did not arrive.

        """
        data = b""
        try:
            async with asyncio.timeout(seconds):
                while more := await self._reader.read(65_536):
                    self._look(data[-OVERLAP:] + more, "a WebSocket")
                    data += more
                    for line in data.split(b"\r\n")[:-1]:
                        if b'"id":%d,' % number in line:
                            return line
                    data = data.rpartition(b"\r\n")[2]
        except (ConnectionError, TimeoutError) as error:
            raise Gone(repr(error)) from None
        raise Gone("closed")


class Http:
    """A kept-alive HTTP connection."""

    def __init__(self, port: int, look: Look) -> None:
        self._port, self._look = port, look
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answers = 0
        self._since = 0.0

    @staticmethod
    @asynccontextmanager
    async def open(port: int, look: Look) -> AsyncIterator[Http]:
        http = Http(port, look)
        await http._open()
        try:
            yield http
        finally:
            http.drop()

    def drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self) -> None:
        self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        self._answers, self._since = 0, time.monotonic()

    def start(self, method: str, target: str, body: bytes) -> None:
        """Send a request."""
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: {ORIGIN}\r\n"
        if method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        assert self._streams is not None
        self._streams[1].write(head.encode() + b"\r\n" + body)

    async def ask(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Send a request and return the status and the text of its answer.

        Raises:
            Gone: There is none.

        """
        idle = time.monotonic() - self._since
        if idle > KEPT:
            self.drop()
        if self._streams is None:
            await self._open()
        began = time.monotonic()
        try:
            async with asyncio.timeout(90):
                self.start(method, target, body)
                status, text, keep = await self._answer(self._streams[0])
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.drop()
            raise Gone(
                f"{method} {target[:200]} ({len(target)} and {len(body)} bytes, after "
                f"{self._answers} answers and {idle:.1f} s idle, no answer for "
                f"{time.monotonic() - began:.1f} s): {error!r}"
            ) from None
        self._answers, self._since = self._answers + 1, time.monotonic()
        if not keep:
            self.drop()
        self._look(text, target[:100])
        return status, text

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        keep = head.startswith(b"http/1.1") and b"\r\nconnection: close" not in head
        if b"\r\ntransfer-encoding: chunked" in head:
            text = b""
            while size := int(await reader.readline(), 16):
                text += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
            return status, text, keep
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        return status, await reader.readexactly(int(length[1]) if length else 0), keep


def frame(name: str, **args: str) -> bytes:
    """Return a valid frame."""
    return json.dumps([1, name, args]).encode() + b"\r\n"


def connect(rnd: random.Random) -> bytes:
    """Return the frame with which a client connects."""
    return frame("CONNECT", cookie_string="", payload=f'"fuzz{rnd.randrange(40)}"')


async def rest(http: Http, call: str, /, **form: str) -> dict[str, Any]:
    """Make a REST call and return its answer."""
    body = urlencode({"secret": SECRET, **form}).encode()
    _, text = await http.ask("POST", f"/rest/{call}", body)
    answer: dict[str, Any] = json.loads(text)[1]
    return answer
