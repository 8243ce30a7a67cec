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
    head = f"{_json_head(status)}Content-Length: {len(body)}\r\n{_common()}\r\n"
    return head.encode("ascii") + body


@functools.lru_cache(maxsize=64)
def _json_head(status: int) -> str:
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return f"{line}\r\nContent-Type: application/json\r\n"


def upgraded(key: str) -> bytes:
    """Return the answer to a WebSocket handshake with this key."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{_common()}\r\n"
    ).encode("ascii")


def _common() -> str:
    return _headers(int(time.time()))


@functools.lru_cache(maxsize=1)
def _headers(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n"
