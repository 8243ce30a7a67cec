"""WebSocket frames from the server (RFC 6455, section 5.2), built once and shared.

aiohttp speaks WebSocket with each client. Only frames that go to many clients unchanged are built
here, so that all subscribers share the bytes of a publication.
"""

from __future__ import annotations

import struct

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A  # FIN bit and opcode


def _frame(first: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + data
    return struct.pack("!BBQ", first, 127, size) + data


def text(data: bytes) -> bytes:
    """Return a text message with these bytes."""
    return _frame(_TEXT, data)


def close(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is truncated to fit a control frame (section 5.5)."""
    data = reason.encode(errors="replace")[:123].decode(errors="ignore").encode()
    return _frame(_CLOSE, struct.pack("!H", code) + data)


def pong(data: bytes) -> bytes:
    """Return the answer to a ping."""
    return _frame(_PONG, data)


#: A ping without data; any frame from the peer counts as the answer.
PING = _frame(_PING, b"")
