"""WebSocket frames from clients (RFC 6455, section 5), assembled to messages.

Feed bytes, take messages. Text that is not UTF-8 is noticed as soon as it arrives, and a message
that is too long before it arrives.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: Codes with which a connection may be failed (section 7.4.1).
PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1002, 1007, 1009

#: Codes below 3000 that a close frame may contain.
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
#: The code of a close frame without a code (section 7.1.5).
NO_CODE = 1005

_FINAL, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
#: Maximum length of a control frame's payload.
_LONGEST_CONTROL = 125

_new_decoder = codecs.getincrementaldecoder("utf-8")


class Violation(Exception):
    """A client violates the protocol; the connection must be failed.

    Attributes:
        code: The close code.
        reason: A sentence for logs.

    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Message(NamedTuple):
    """A complete message, or a control frame.

    Attributes:
        kind: TEXT, BINARY, CLOSE, PING or PONG.
        text: The content of a text message.
        data: The content of the others.

    """

    kind: int
    text: str = ""
    data: bytes = b""


class _Unfinished:
    """A message of which only a part has arrived."""

    __slots__ = ("_decoder", "_done", "_mask", "content", "final", "kind", "left")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.content = bytearray()
        #: Whether its current frame is the last one, and how many bytes of that are missing.
        self.final = False
        self.left = 0
        self._mask = b""
        self._done = 0
        #: Only checks the text: decoded text could use four times the memory of its bytes.
        self._decoder = _new_decoder() if kind == TEXT else None

    def begin(self, final: bool, length: int, mask: bytes) -> None:
        """Begin its next frame."""
        self.final, self.left, self._mask, self._done = final, length, mask, 0

    def add(self, chunk: bytes) -> None:
        """Add bytes of the current frame."""
        turned = self._done % 4
        chunk = unmasked(chunk, self._mask[turned:] + self._mask[:turned])
        self._done += len(chunk)
        self.left -= len(chunk)
        self.content += chunk
        if self._decoder is not None:
            _check(self._decoder, chunk, final=False)

    def message(self) -> Message:
        """Return it as a message; it is complete."""
        data = bytes(self.content)
        if self._decoder is None:
            return Message(self.kind, "", data)
        _check(self._decoder, b"", final=True)
        return Message(self.kind, data.decode())


class Reader:
    """Read the frames of one client.

    Args:
        limit: Bytes that a message may not reach.

    """

    __slots__ = ("_data", "_limit", "_unfinished")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""
        self._unfinished: _Unfinished | None = None

    def feed(self, data: bytes) -> None:
        """Accept received bytes."""
        self._data = self._data + data if self._data else data

    def take(self) -> Message | None:
        """Return the next message, or None if it is not complete.

        Raises:
            Violation: If the client violates the protocol; nothing may be taken afterwards.

        """
        while True:
            unfinished = self._unfinished
            if unfinished is not None and (unfinished.left or unfinished.final):
                if unfinished.left:
                    chunk = self._data[: unfinished.left]
                    if not chunk:
                        return None
                    self._data = self._data[len(chunk) :]
                    unfinished.add(chunk)
                if unfinished.left:
                    return None
                if unfinished.final:
                    self._unfinished = None
                    return unfinished.message()
                continue
            head = self._head()
            if head is None:
                return None
            first, start, length = head
            data, kind = self._data, first & _OPCODE
            is_whole = len(data) >= start + length
            if kind >= CLOSE:
                if not is_whole:
                    return None
            elif unfinished is not None or not is_whole or not first & _FINAL:
                if unfinished is None:
                    unfinished = self._unfinished = _Unfinished(kind)
                unfinished.begin(bool(first & _FINAL), length, data[start - 4 : start])
                self._data = data[start:]
                continue
            content = unmasked(data[start : start + length], data[start - 4 : start])
            self._data = data[start + length :]
            if kind != TEXT:
                return Message(kind, "", content)
            try:
                return Message(TEXT, content.decode())
            except UnicodeDecodeError:
                raise _not_utf8() from None

    def _head(self) -> tuple[int, int, int] | None:
        """Return the first byte of a frame, and where its payload starts, and its length.

        Return None if it has not arrived.
        """
        data = self._data
        if len(data) < 2:
            return None
        first, second = data[0], data[1]
        kind, length = first & _OPCODE, second & _LENGTH
        if first & _RESERVED:
            raise Violation(PROTOCOL_ERROR, "Reserved bits are set")
        if not second & _MASKED:
            raise Violation(PROTOCOL_ERROR, "A frame is not masked")
        if kind >= CLOSE:
            if kind > PONG or not first & _FINAL or length > _LONGEST_CONTROL:
                raise Violation(PROTOCOL_ERROR, "A control frame is malformed")
        elif kind > BINARY or (kind == CONTINUATION) is (self._unfinished is None):
            raise Violation(PROTOCOL_ERROR, "A frame has an unexpected opcode")
        start = 6
        if length > _LONGEST_CONTROL:
            size = 2 if length == 126 else 8
            start += size
            if len(data) < 2 + size:
                return None
            length = int.from_bytes(data[2 : 2 + size], "big")
        so_far = 0 if self._unfinished is None else len(self._unfinished.content)
        if kind < CLOSE and length >= self._limit - so_far:
            raise Violation(TOO_BIG, f"A message is too long (at most {self._limit - 1} bytes)")
        return None if len(data) < start else (first, start, length)


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Return a payload without its mask (section 5.3)."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    # Much faster than a loop over bytes.
    value = int.from_bytes(data, "little") ^ int.from_bytes(key, "little")
    return value.to_bytes(size, "little")


def close_code(data: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame.

    Raises:
        Violation: If it is malformed.

    """
    if not data:
        return NO_CODE, ""
    code = int.from_bytes(data[:2], "big")
    if len(data) < 2 or not (code in _CLOSE_CODES or 3000 <= code < 5000):
        raise Violation(PROTOCOL_ERROR, "A close frame has an invalid code")
    try:
        return code, data[2:].decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _check(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool) -> None:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> Violation:
    return Violation(NOT_UTF8, "A text is not UTF-8")
