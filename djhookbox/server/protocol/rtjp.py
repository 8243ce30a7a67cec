"""RTJP, the frames of Hookbox: lines of JSON, `[id, name, args]`, each ended by CR LF.

The rules and error texts are those of section 2 of the protocol reference in
`docs/protocol.rst`. Feed text, collect frames; nothing here ever raises into a transport.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...wire.values import JSON, dumps, loads

_INT64 = 1 << 63
_END = "\r\n"

#: Match the beginning of a frame up to its id.
_BEGINNING = re.compile(r"\[[ \t\r\n]*(-?(?:0|[1-9][0-9]{0,18}))[ \t\r\n]*,")
_BEGINNING_LENGTH = 32

#: A counter shared by all connections: a frame is serialised once for all its receivers, so its
#: ids cannot be consecutive on each connection. Clients only require a number.
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A well-formed frame from a client."""

    id: int
    name: str
    args: dict[str, JSON]


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A line that is not a frame; `id` is set if the line had one."""

    id: int | None
    problem: str
    code: str = "malformed"


class Parser:
    """Split a text stream into frames.

    Args:
        limit: Maximum frame size in bytes of UTF-8. A longer frame is skipped to its end, so that
            memory stays bounded and the connection usable.

    """

    __slots__ = ("_limit", "_parts", "_size", "_skipped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] | None = None  # None costs less than an empty list
        self._size = 0
        #: The result for the overlong line that is being skipped.
        self._skipped: BadFrame | None = None

    def feed(self, text: str) -> Iterator[Frame | BadFrame]:
        """Accept received text and yield the frames that it completes."""
        return (read(line) for line in self.lines(text))

    def lines(self, text: str) -> Iterator[str | BadFrame]:
        """Accept received text and yield the lines that it completes, not yet parsed.

        A line uses much less memory than its value: up to twenty times less for `[[],[],[]…`.
        """
        if self._parts is not None:
            # Join only when the text may contain a line end: many tiny pieces take linear time.
            self._parts.append(text)
            self._size += _size(text)
            if "\n" not in text:
                if self._size > self._limit + 1:  # the last character may be a CR
                    self._skipped = self._skipped or self._too_large("".join(self._parts))
                    self._parts = [_carriage_return(self._parts[-1])]
                    self._size = len(self._parts[0])
                return
            text, self._parts = "".join(self._parts), None
        start = 0
        while (end := text.find(_END, start)) >= 0:
            line, start = text[start:end], end + 2
            if self._skipped is not None:
                skipped, self._skipped = self._skipped, None
                yield skipped
            elif _size(line) > self._limit:
                yield self._too_large(line)
            else:
                yield line
        rest = text[start:]
        if rest:
            size = _size(rest)
            if self._skipped is not None or size > self._limit + 1:
                self._skipped = self._skipped or self._too_large(rest)
                rest = _carriage_return(rest)
                size = len(rest)
            self._parts, self._size = [rest], size

    def _too_large(self, line: str) -> BadFrame:
        return unread(line, f"Frame too large (at most {self._limit} bytes)", "limit")


def read(line: str | BadFrame) -> Frame | BadFrame:
    """Parse a line from `Parser.lines`."""
    return parse_line(line) if isinstance(line, str) else line


def unread(line: str, problem: str, code: str) -> BadFrame:
    """Return the error for a line that is not parsed, with its id if a client waits for it."""
    beginning = _BEGINNING.match(line[:_BEGINNING_LENGTH])
    number = int(beginning[1]) if beginning else _INT64
    frame_id = number if -_INT64 <= number < _INT64 else None
    return BadFrame(frame_id, problem, code)


def _carriage_return(text: str) -> str:
    """Return the part of a skipped line that matters: a trailing CR that may precede an LF."""
    return "\r" if text.endswith("\r") else ""


def _size(text: str) -> int:
    """Return a text's size in bytes of UTF-8; checking for ASCII first is almost free."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def parse_line(line: str) -> Frame | BadFrame:
    """Parse a line, checking it in the order of the reference."""
    try:
        value = loads(line)
    except ValueError:
        return BadFrame(None, "Invalid json")
    if not isinstance(value, list):
        return BadFrame(None, "Invalid frame (not a list)")
    first = value[0] if value else None
    frame_id = first if isinstance(first, int) and -_INT64 <= first < _INT64 else None
    if len(value) != 3:
        return BadFrame(frame_id, "Invalid frame length")
    _, name, args = value
    if frame_id is None:
        return BadFrame(None, "Invalid frame id (must be int)")
    if not isinstance(name, str) or not name:
        return BadFrame(frame_id, "Invalid frame name (must be string)")
    if not isinstance(args, dict):
        return BadFrame(frame_id, "Invalid frame keyword arguments (must be dictionary)")
    return Frame(frame_id, name, args)


def encode(name: str, args: Mapping[str, JSON]) -> bytes:
    """Encode a frame to clients: ASCII with escapes, as the original client needs it."""
    return b"%s\r\n" % dumps([next(_ids), name, args]).encode("ascii")


def frame(number: int, name: str, args: Mapping[str, JSON]) -> str:
    """Write a frame as clients do."""
    return f"{dumps([number, name, args])}{_END}"
