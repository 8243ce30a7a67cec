"""WebSocket frames from the server (RFC 6455, section 5.2), built once and shared.

All subscribers share the bytes of a publication. `incoming` reads the frames of clients.
"""

from __future__ import annotations

import base64
import hashlib
import struct

#: Appended to a client's key, to prove that the handshake was understood (section 1.3).
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

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


def accept_key(key: str) -> str:
    """Return the answer to the key of a handshake (section 4.2.2)."""
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
