"""Requests that must be rejected early: compressed, slow, incomplete, or of unproved origin."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import struct
import zlib
from collections.abc import Callable

from . import garbage
from .fuzz_clients import HANDSHAKE, PATIENCE, Look
from .load import ORIGIN

HOSTS = {
    "127.0.0.1": True, "localhost:8001": True, "[::1]:1": True, "10.9.8.7": True,
    ORIGIN.partition("://")[2]: True, "evil.example": False, "127.0.0.1.evil.example": False,
    "evil.example:8001": False, "": False, "x@127.0.0.1": False, "a.localhost": True,
}  # fmt: skip
ORIGINS = {ORIGIN: True, "null": False, "http://evil.example": False, f"{ORIGIN}.evil": False}
SITES = {
    "same-origin": True, "none": True, "cross-site": False, "same-site": False, "": False,
    "Same-Origin": False, "x": False,
}  # fmt: skip
ENCODINGS = ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "identity, gzip"]
PATHS = ["/csp/handshake", "/csp/send?s=0", "/rest/publish", "/web/publish", "/ws", "/health", "/"]
#: Incomplete requests that one worker leaves open.
LEFT_OPEN = 40


class Gate:
    """Sends such requests.

    Args:
        port: The port of the server.
        look: Checks what is received.
        find: Records a fault.

    """

    def __init__(self, port: int, look: Look, find: Callable[[str], None]) -> None:
        self._port, self._look, self._find = port, look, find
        self._open: list[asyncio.StreamWriter] = []
        self.compressed = self.half = self.closed = self.pages = 0

    async def turn(self, rnd: random.Random) -> None:
        """Send one of them, and check the answer."""
        await rnd.choice([self._compressed, self._half, self._close, self._page])(rnd)

    def drop(self) -> None:
        """Close connections that are still open."""
        for writer in self._open:
            writer.transport.abort()

    async def _compressed(self, rnd: random.Random) -> None:
        self.compressed += 1
        plain = b"secret=wrong&payload=" + b"x" * rnd.choice([10, 10_000, 5_000_000])
        body = rnd.choice([gzip.compress, zlib.compress, lambda data: data[:1000]])(plain)
        head = f"Content-Encoding: {rnd.choice(ENCODINGS)}\r\nContent-Length: {len(body)}\r\n"
        path = rnd.choice([path for path in PATHS if path != "/ws"])
        status = await self._status(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n", body)
        if status not in (415, 400, 0):
            self._find(f"a compressed body was answered by {status}")

    async def _half(self, rnd: random.Random) -> None:
        self.half += 1
        body = rnd.choice(["", "secret=x", "[[1, 0, "])
        request = f"POST {rnd.choice(PATHS)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n"
        data = rnd.choice([HANDSHAKE, f"{request}\r\n{body}".encode()])
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for byte in data[: rnd.randrange(len(data))][-rnd.randrange(1, 30) :]:
            writer.write(bytes([byte]))
            if rnd.random() < 0.1:
                await asyncio.sleep(0)
        self._open.append(writer)
        if len(self._open) > LEFT_OPEN:
            self._open.pop(0).transport.abort()

    async def _close(self, rnd: random.Random) -> None:
        """Close a WebSocket with any text as reason; the log is checked afterwards."""
        self.closed += 1
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        text = '[1,"CONNECT",{"cookie_string":"","payload":"\\"closer\\""}]\r\n'
        reason = rnd.choice(garbage.ODD_TEXTS) + rnd.choice(["", "\n2026 ERROR forged", "\x1b[2J"])
        data = reason.encode("utf-8", "replace")[:120].decode("utf-8", "ignore").encode()
        code = rnd.choice([1000, 3000, 4321, 4999, 1011])
        writer.write(HANDSHAKE + garbage.message(1, text.encode()))
        await asyncio.sleep(rnd.choice([0, 0.05, 0.2]))
        writer.write(garbage.message(8, struct.pack("!H", code) + data))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async def _page(self, rnd: random.Random) -> None:
        """Send a request as a page does, and compare the answer with the expected one."""
        self.pages += 1
        host, origin = rnd.choice(list(HOSTS)), rnd.choice([None, None, *ORIGINS])
        site = rnd.choice([None, *SITES])
        method = rnd.choice(["GET", "POST"])
        head = f"{method} /csp/nosuch HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"
        head += "" if origin is None else f"Origin: {origin}\r\n"
        head += "" if site is None else f"Sec-Fetch-Site: {site}\r\n"
        admitted = ORIGINS[origin] if origin is not None else HOSTS[host] and SITES.get(site, True)
        status = await self._status(f"{head}\r\n")
        # aiohttp refuses some of the hosts itself.
        if status not in ((404,) if admitted else (403, 400)):
            self._find(f"{status} for {head!r}, which is {'' if admitted else 'not '}to be let in")

    async def _status(self, head: str, body: bytes = b"") -> int:
        """Return the status of the answer, or 0 if there was none."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + body)
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            self._look(line, "the gate")
            return int(line.split(b" ")[1]) if line.startswith(b"HTTP/") else 0
        except asyncio.TimeoutError:
            self._find(f"no answer to {head[:200]!r}")
            return 0
        except ConnectionError:
            return 0
        finally:
            writer.transport.abort()
