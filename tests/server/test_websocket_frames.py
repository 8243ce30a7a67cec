"""Frames from the server, read by an independent implementation."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from djhookbox.server.protocol import websocket
from djhookbox.wire.closing import is_valid_code

T = TypeVar("T")


def read(data: bytes) -> Frame:
    """Return the one frame that these bytes are."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    frame = run(Frame.parse(stream.read_exact, mask=False))
    frame.check()
    assert run(stream.at_eof())
    return frame


def run(steps: Generator[None, None, T]) -> T:
    """Return the result of a parser that has all its bytes."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_text_of_every_length_form(size: int) -> None:
    frame = read(websocket.text(b"x" * size))
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, b"x" * size)


def test_close() -> None:
    frame = read(websocket.close(4001, "too slow"))
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(frame.data) == Close(4001, "too slow")


def test_ping_and_pong() -> None:
    assert read(websocket.PING).opcode is Opcode.PING
    pong = read(websocket.pong(b"abc"))
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"abc")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reason_always_fits_a_control_frame(reason: str) -> None:
    data = websocket.close(4500, reason)
    assert data[1] == len(data) - 2 <= 125
    assert reason.startswith(data[4:].decode())  # cut between characters, never inside one


def test_a_reason_that_is_not_unicode_does_not_raise() -> None:
    assert websocket.close(4500, "\ud800 sorry").endswith(b" sorry")


@pytest.mark.parametrize(
    ("code", "valid"),
    [(1000, True), (1001, True), (1005, False), (1006, False), (1012, True), (1015, False),
     (2999, False), (3000, True), (4500, True), (4999, True), (5000, False), (0, False)],
)  # fmt: skip
def test_codes_that_may_be_sent(code: int, valid: bool) -> None:
    assert is_valid_code(code) is valid
