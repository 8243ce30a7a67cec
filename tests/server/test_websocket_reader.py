"""WebSocket frames from clients, written by an independent implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from djhookbox.server.protocol import incoming
from djhookbox.server.protocol.incoming import (
    BINARY,
    CLOSE,
    NOT_UTF8,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Message,
    Reader,
    Violation,
    close_code,
)  # fmt: skip

LIMIT = 200_000


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """Return a frame of a client, masked at random."""
    return Frame(opcode, data, fin).serialize(mask=True)


def read(data: bytes, size: int = 0, limit: int = LIMIT) -> list[Message]:
    """Return the messages in data that arrive in pieces of this size."""
    reader, found = Reader(limit), []
    for at in range(0, len(data), size or len(data) or 1):
        reader.feed(data[at : at + size] if size else data)
        while (message := reader.take()) is not None:
            found.append(message)
    return found


def violation(data: bytes, **options: int) -> int:
    with pytest.raises(Violation) as raised:
        read(data, **options)
    assert raised.value.reason
    return raised.value.code


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("size", [0, 1000, 7])
def test_messages_of_every_length_form(length: int, size: int) -> None:
    data = frame(Opcode.TEXT, b"x" * length) + frame(Opcode.BINARY, b"y" * length)
    assert read(data, size) == [Message(TEXT, "x" * length), Message(BINARY, "", b"y" * length)]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.integers(1, 9), st.data())
def test_fragments_cut_anywhere(texts: list[str], size: int, data: st.DataObject) -> None:
    sent = b""
    for text in texts:
        content = text.encode("utf-8", "replace")
        cut = data.draw(st.integers(0, len(content)))
        sent += frame(Opcode.TEXT, content[:cut], fin=False) + frame(Opcode.PING, b"p")
        sent += frame(Opcode.CONT, b"", fin=False) + frame(Opcode.CONT, content[cut:])
    expected = []
    for text in texts:
        known = text.encode("utf-8", "replace").decode()
        expected += [Message(PING, "", b"p"), Message(TEXT, known)]
    assert read(sent, size) == read(sent) == expected


def test_control_frames() -> None:
    data = frame(Opcode.PONG, b"") + frame(Opcode.CLOSE, b"\x03\xe8bye")
    for size in (0, 1):
        assert read(data, size) == [Message(PONG), Message(CLOSE, "", b"\x03\xe8bye")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x02hi",  # not masked
        b"\xc1\x80\0\0\0\0",  # compressed
        b"\x91\x80\0\0\0\0",
        b"\x83\x80\0\0\0\0",  # opcodes without a meaning
        b"\x8b\x80\0\0\0\0",
        b"\x80\x80\0\0\0\0",  # the continuation of nothing
        b"\x09\x80\0\0\0\0",  # a control frame in fragments, and one that is too long
        b"\x89\xfe\0\x7e\0\0\0\0",
        b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0",  # a message within a message
        b"\x01\x80\0\0\0\0\x82\x80\0\0\0\0",
    ],
)
def test_protocol_errors(data: bytes) -> None:
    assert violation(data) == PROTOCOL_ERROR
    assert violation(data, size=1) == PROTOCOL_ERROR


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xc3"])
def test_text_that_is_not_utf8(text: bytes) -> None:
    assert violation(frame(Opcode.TEXT, text)) == NOT_UTF8
    assert violation(frame(Opcode.TEXT, text), size=1) == NOT_UTF8
    whole = frame(Opcode.TEXT, text[:1], fin=False) + frame(Opcode.CONT, text[1:])
    assert violation(whole) == NOT_UTF8


def test_invalid_text_is_noticed_before_the_message_is_complete() -> None:
    assert violation(frame(Opcode.TEXT, b"a\xff" + b"x" * 100)[:-50]) == NOT_UTF8
    assert violation(frame(Opcode.TEXT, b"a\xff", fin=False)) == NOT_UTF8


def test_a_message_that_is_too_long_is_noticed_before_it_arrives() -> None:
    assert read(frame(Opcode.BINARY, b"x" * 99), limit=100)
    assert violation(frame(Opcode.BINARY, b"x" * 100)[:10], limit=100) == TOO_BIG
    assert violation(b"\x82\xff" + b"\xff" * 12) == TOO_BIG
    parts = frame(Opcode.TEXT, b"x" * 60, fin=False) + frame(Opcode.CONT, b"x" * 40)
    assert violation(parts, limit=100) == TOO_BIG
    assert violation(parts, size=1, limit=100) == TOO_BIG


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (incoming.NO_CODE, "")),
        (b"\x03\xe8", (1000, "")),
        (b"\x0b\xb8\xc3\xa9", (3000, "é")),
        (b"\x13\x87", (4999, "")),
    ],
)
def test_close_codes(data: bytes, expected: tuple[int, str]) -> None:
    assert close_code(data) == expected


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_close_codes_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(Violation) as raised:
        close_code(code.to_bytes(2, "big"))
    assert raised.value.code == PROTOCOL_ERROR


def test_malformed_close_frames() -> None:
    for data, code in ((b"\x03", PROTOCOL_ERROR), (b"\x03\xe8\xff", NOT_UTF8)):
        with pytest.raises(Violation) as raised:
            close_code(data)
        assert raised.value.code == code


@given(st.binary(max_size=70), st.binary(min_size=4, max_size=4))
def test_masks(data: bytes, mask: bytes) -> None:
    expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    assert incoming.unmasked(data, mask) == expected
