"""RTJP, the frames of Hookbox: lines of JSON, `[id, name, args]`, each ended by CR LF.

The rules and the texts of the errors are those of section 2 of the protocol reference in
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

#: How a frame begins, within its first characters: with its id.
_BEGINNING = re.compile(r"\[[ \t\r\n]*(-?(?:0|[1-9][0-9]{0,18}))[ \t\r\n]*,")
_BEGINNING_LENGTH = 32

#: One counter for all connections: a frame is serialised once and shared by its receivers, so
#: ids cannot be consecutive on each connection. Clients only ask for a number.
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A well-formed frame from a client."""

    id: int
    name: str
    args: dict[str, JSON]


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A line that is no frame; `id` is set where the line had one."""

    id: int | None
    problem: str
    code: str = "malformed"


class Parser:
    """Cuts a text stream into frames.

    Args:
        limit: Longest frame in bytes of UTF-8. A longer one is skipped up to its end, so that
            memory stays bounded and the connection usable.

    """

    __slots__ = ("_limit", "_parts", "_size", "_skipped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[str] | None = None  # None is cheaper than an empty list per connection
        self._size = 0
        #: What is said at the end of a line that is too long, while it is skipped.
        self._skipped: BadFrame | None = None

    def feed(self, text: str) -> Iterator[Frame | BadFrame]:
        """Take what arrived and yield the frames that are complete with it."""
        return (read(line) for line in self.lines(text))

    def lines(self, text: str) -> Iterator[str | BadFrame]:
        """Take what arrived and yield the lines that are complete with it, not yet read.

        A line takes up much less memory than what it says: `[[],[],[]…` up to twenty times.
        """
        if self._parts is not None:
            # Joining only when an end can be in sight keeps many tiny pieces linear.
            self._parts.append(text)
            self._size += _size(text)
            if "\n" not in text:
                if self._size > self._limit + 1:  # the last character may be the CR of the end
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
    """Return what a line of `Parser.lines` is."""
    return parse_line(line) if isinstance(line, str) else line


def unread(line: str, problem: str, code: str) -> BadFrame:
    """Return the refusal of a line that is not read, with its id for whoever waits for it."""
    beginning = _BEGINNING.match(line[:_BEGINNING_LENGTH])
    number = int(beginning[1]) if beginning else _INT64
    frame_id = number if -_INT64 <= number < _INT64 else None
    return BadFrame(frame_id, problem, code)


def _carriage_return(text: str) -> str:
    """Return all that matters of a line which is skipped: a CR that may be waiting for its LF."""
    return "\r" if text.endswith("\r") else ""


def _size(text: str) -> int:
    """Return how many bytes a text has in UTF-8; whether it is ASCII costs nothing to know."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def parse_line(line: str) -> Frame | BadFrame:
    """Check one line in the order of the reference and return what it is."""
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
    """Return a frame to clients as bytes: ASCII with escapes, as the original client needs it."""
    return b"%s\r\n" % dumps([next(_ids), name, args]).encode("ascii")
