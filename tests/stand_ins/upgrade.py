"""The bytes of a WebSocket client that writes to its socket itself; needs nothing but Python."""

from __future__ import annotations

import struct
from collections.abc import Mapping

#: The example of RFC 6455; the server does not care that it is always the same.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def upgrade(origin: str, headers: Mapping[str, str] | None = None, path: str = "/ws") -> bytes:
    """Return the request of a page of `origin` that opens a WebSocket."""
    lines = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Origin": origin,
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def masked(text: str) -> bytes:
    """Return a text message as clients send it; a mask of zeros leaves the text as it is."""
    data = text.encode()
    if len(data) < 126:
        return struct.pack("!BBI", 0x81, 0x80 | len(data), 0) + data
    return struct.pack("!BBHI", 0x81, 0x80 | 126, len(data), 0) + data
