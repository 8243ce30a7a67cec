"""CSP, the Comet Session Protocol: batches of packets, and variables that control answers.

The rules are those of section 4 of the protocol reference; deviations are listed in
`docs/protocol.rst`. Client input is never copied into an answer, except for the few texts that
known clients need: answers are read as JavaScript, and as HTML by default.
"""

from __future__ import annotations

import base64
import codecs
import itertools
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...wire.values import JSON, dumps, loads

#: Maximum packet id of a client; browsers count exactly only up to 2^53.
MAX_ID = (1 << 63) - 1

# A JSONP callback, which may be a member of an object.
_CALLBACK = r"[A-Za-z_$][A-Za-z0-9_$.]{0,127}"
_BEFORE = re.compile(rf"{_CALLBACK}|data: ")
_AFTER = re.compile(r";?(?:\r?\n){0,2}")
# Padding makes some browsers and proxies start to display a stream.
_PREAMBLE = re.compile(rf"{_CALLBACK}|[ \t\r\n]{{1,1024}}")
_TYPE = re.compile(
    "text/html|application/javascript|text/javascript|text/event-stream|text/plain", re.IGNORECASE
)

#: Text parameters: the attribute that each sets, and the values it allows.
_TEXTS = {
    "rp": ("reply_prefix", _BEFORE),
    "rs": ("reply_suffix", _AFTER),
    "bp": ("batch_prefix", _BEFORE),
    "bs": ("batch_suffix", _AFTER),
    "p": ("preamble", _PREAMBLE),
    "ct": ("content_type", _TYPE),
}
#: Integer parameters: the attribute that each sets, and its maximum; the minimum is 0.
_NUMBERS = {
    "ps": ("padding", 8192),
    "du": ("duration", 60),  # proxies commonly give up after a minute
    "se": ("event_ids", 1),
    "is": ("streaming", 1),
    "i": ("interval", 60),
    "g": ("gzip", 1),
}

#: The id and data of a packet for a client; the null packet has no data.
Waiting: TypeAlias = tuple[int, "bytes | None"]

_BASE64 = re.compile(r"[A-Za-z0-9_\-+/]*={0,2}")


class BadBatch(ValueError):
    """The body is not a batch of packets."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet from a client; without data it is the null packet, which ends the stream."""

    id: int
    data: bytes | None


def parse_batch(body: bytes | bytearray) -> list[Received]:
    """Return the packets of a batch, `[[id, encoding, data], …]`.

    Raises:
        BadBatch: If any of it is invalid; then none of it counts.

    """
    try:
        batch = loads(body.decode("utf-8"))
    except ValueError:
        raise BadBatch("the batch is not JSON") from None
    if not isinstance(batch, list):
        raise BadBatch("the batch is not an array")
    return [_packet(item) for item in batch]


def _packet(item: JSON) -> Received:
    if not isinstance(item, list) or len(item) != 3:
        raise BadBatch("a packet is not an array of three")
    number, encoding, data = item
    if type(number) is not int or type(encoding) is not int or abs(number) > MAX_ID:
        raise BadBatch("the id or encoding of a packet is not an integer")
    if data is None:
        return Received(number, None)
    if not isinstance(data, str):
        raise BadBatch("the data of a packet is not a string")
    if encoding != 1:
        return Received(number, data.encode("utf-8", "replace"))
    digits = data.rstrip("=")
    if not _BASE64.fullmatch(data) or len(digits) % 4 == 1:
        raise BadBatch("the data of a packet is not base64")
    return Received(number, base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4)))


def integer(text: str) -> int | None:
    """Return a parameter's integer, or None if it is not one and must be ignored."""
    return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,30}\s*", text, re.ASCII) else None


class Inbox:
    """The packets that a client has sent: each counts once, and none after the null packet.

    As in the original, the null packet counts whatever its id is.

    Attributes:
        last_id: The highest id seen.
        ended: Whether the null packet has been received.

    """

    __slots__ = ("_decoder", "ended", "last_id")

    def __init__(self) -> None:
        # A packet boundary of the byte stream may split a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.last_id = 0
        self.ended = False

    def take(self, batch: Iterable[Received]) -> str:
        """Return the text of new packets."""
        parts: list[str] = []
        for packet in batch:
            if self.ended:
                break
            if packet.data is None:
                self.ended = True
            elif packet.id > self.last_id:
                self.last_id = packet.id
                parts.append(self._decoder.decode(packet.data))
        return "".join(parts)


class Outbox:
    """The packets that the client has not acknowledged yet, numbered 1, 2, 3…

    Attributes:
        acknowledged: The id of the last packet that is known to have arrived.
        size: The number of waiting bytes.
        ended: Whether the null packet has been added, which must be the last.
        end_sent: Whether an answer has carried the null packet.

    """

    __slots__ = ("_packets", "acknowledged", "end_sent", "ended", "size")

    def __init__(self) -> None:
        self._packets: deque[bytes | None] = deque()
        self.acknowledged = 0
        self.size = 0
        self.ended = False
        self.end_sent = False

    def add(self, data: bytes) -> None:
        """Add complete RTJP frames, each as one packet."""
        if self.ended:
            return
        self.size += len(data)
        if data.count(b"\r\n") == 1:
            self._packets.append(data)  # shared with all its other receivers
        else:
            self._packets.extend(frame + b"\r\n" for frame in data.split(b"\r\n")[:-1])

    def end(self) -> None:
        """Add the null packet."""
        if not self.ended:
            self._packets.append(None)
            self.ended = True

    def acknowledge(self, upto: int) -> None:
        """Remove all packets up to an id."""
        while self._packets and self.acknowledged < upto:
            self.size -= len(self._packets.popleft() or b"")
            self.acknowledged += 1

    def after(self, seen: int) -> list[Waiting]:
        """Return the waiting packets with ids above this one."""
        skipped = max(0, seen - self.acknowledged)
        packets = itertools.islice(self._packets, skipped, None)
        return list(enumerate(packets, self.acknowledged + skipped + 1))


@dataclass(slots=True)
class Variables:
    """The answer format of a session; a value set by any request applies from then on."""

    reply_prefix: str = ""
    reply_suffix: str = ""
    batch_prefix: str = ""
    batch_suffix: str = ""
    preamble: str = ""
    content_type: str = "text/html"
    padding: int = 0
    duration: int = 30
    event_ids: int = 0
    streaming: int = 0
    interval: int = 0
    gzip: int = 0

    def update(self, query: Mapping[str, str]) -> None:
        """Apply a request's parameters; ignore values that no known client needs.

        An empty text resets a variable, which was impossible in the original (D26).
        """
        for key, (attribute, allowed) in _TEXTS.items():
            text = query.get(key)
            if text == "":
                setattr(self, attribute, getattr(_DEFAULTS, attribute))
            elif text is not None and allowed.fullmatch(text):
                setattr(self, attribute, text.lower() if key == "ct" else text)
        for key, (attribute, most) in _NUMBERS.items():
            value = integer(query.get(key, ""))
            if value is not None:
                setattr(self, attribute, min(max(value, 0), most))

    @property
    def streams(self) -> bool:
        """Whether an answer to comet continues after its first batch."""
        return bool(self.streaming) or self.content_type == "text/event-stream"

    @property
    def patience(self) -> int:
        """Seconds without a request after which the session ends."""
        return 2 * self.duration or 60

    def reply(self, value: JSON) -> str:
        """Return the answer to handshake, send, close or reflect."""
        return f"{self.reply_prefix}({_harmless(value)}){self.reply_suffix}"

    def opening(self) -> str:
        """Return the beginning of an answer to comet."""
        return " " * self.padding + self.preamble

    def batch(self, packets: Sequence[Waiting]) -> str:
        """Return packets in the format of an answer to comet."""
        content = _harmless(
            [
                [number, 0, None]
                if data is None
                else [number, 1, base64.urlsafe_b64encode(data).decode("ascii")]
                for number, data in packets
            ]
        )
        event = ""
        if self.event_ids:
            event = f"id: {packets[-1][0]}\r\n\r\n" if packets else "\r\n"
        return f"{self.batch_prefix}({content}){self.batch_suffix}{event}"


_DEFAULTS = Variables()


def _harmless(value: JSON) -> str:
    """Return JSON in ASCII that can neither open a tag nor end a script."""
    text = dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
