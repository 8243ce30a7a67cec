"""Write the answers to plain requests, as aiohttp writes them."""

from __future__ import annotations

import functools
import time
from email.utils import formatdate
from http import HTTPStatus

from aiohttp.http import SERVER_SOFTWARE

from ..protocol.websocket import accept_key


def json_answer(status: int, body: bytes) -> bytes:
    """Return an answer whose body is JSON."""
    return _json_form(status, int(time.time())) % (len(body), body)


@functools.lru_cache(maxsize=8)
def _json_form(status: int, now: int) -> bytes:
    """Return an answer without its length and its body."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: %d\r\n{_headers(now)}\r\n%b"
    ).encode("ascii")


def upgraded(key: str) -> bytes:
    """Return the answer to a WebSocket handshake with this key."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{_headers(int(time.time()))}\r\n"
    ).encode("ascii")


@functools.lru_cache(maxsize=1)
def _headers(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n"
