"""Generate random and mutated frames, batches and CSP requests, reproducible by the seed."""

from __future__ import annotations

import base64
import json
import random
import struct
from dataclasses import dataclass, field
from urllib.parse import quote

CHANNELS = [f"/fuzz/{number}/" for number in range(20)] + ["/räume/😀/", " ", "a&b=c+d%20"]
NAMES = ["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "MESSAGE", "CONNECT", "PING"]
ODD_NAMES = ["", "subscribe", "CONNECTED", "ERROR", "ÉTÉ", "__init__", "_connect", "x" * 300, " "]
ODD_TEXTS = [
    "", " ", "a", "é", "😀", "\x00", "\r\n", "\n", "\u2028", "x" * 300, "<script>", "../..", "%00",
    "null", "NaN", "'; --", "[", "{", '"', "\\", "\ud800", "sid=1; sid=2", "\x7f",
]  # fmt: skip
ODD_NUMBERS = [
    0, -1, 1, 7, 1.0, 0.5, -0.0, 1e308, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**40,
]  # fmt: skip
#: JSON that parsers treat differently, and text that is almost JSON.
ODD_JSON = [
    "", " ", "null", "true", "5", '"x"', "{}", "[]", "[[]]", "[1]", "[1,", '[1,"A",{}', "{bad",
    "[NaN]", '[1,"SUBSCRIBE",{"channel_name":NaN}]', '[1,"PUBLISH",{"payload":1e999}]', "01",
    "[" * 120 + "]" * 120, "[" * 3000, '{"a":' * 150, "1" * 5000, '"\\ud800"', "\ufeff[]",
    '[1,"SUBSCRIBE",{"channel_name":"a","channel_name":{}}]', "'", "[1,'A',{}]", "\x00\x01\x02",
]  # fmt: skip
#: A WebSocket message of more bytes ends the connection.
LONGEST_MESSAGE = 1_048_576
PUNCTUATION = '[]{}",:\\0129.-eE+ntfu \x00\x7fé😀\r\n'


def value(rnd: random.Random, depth: int = 0) -> object:
    """Return any JSON value, mostly an unusual one."""
    pick = rnd.random()
    if depth < 3 and pick < 0.15:
        return [value(rnd, depth + 1) for _ in range(rnd.randrange(4))]
    if depth < 3 and pick < 0.3:
        return {rnd.choice(ODD_TEXTS): value(rnd, depth + 1) for _ in range(rnd.randrange(4))}
    if pick < 0.65:
        return rnd.choice(ODD_TEXTS)
    if pick < 0.85:
        return rnd.choice(ODD_NUMBERS)
    return rnd.choice([None, True, False])


def _arguments(rnd: random.Random, name: str) -> dict[str, object]:
    payload = rnd.choice(["1", '"x"', "{}", "[null]", "{bad", "", '{"a":[1,{"b":"é"}]}'])
    if name == "CONNECT":
        args: dict[str, object] = {
            "cookie_string": rnd.choice(["", "sid=1", "a=b; c=d"]),
            "payload": json.dumps(f"fuzz{rnd.randrange(40)}"),
            "ack": rnd.random() < 0.3,
        }
    elif name == "MESSAGE":
        args = {"name": f"fuzz{rnd.randrange(40)}", "payload": payload}
    else:
        args = {"channel_name": rnd.choice(CHANNELS), "payload": payload}
        if name == "SUBSCRIBE" and rnd.random() < 0.3:
            args["since"] = {"epoch": rnd.choice(["", "0a1b2c3d"]), "offset": rnd.randrange(9)}
        if name == "SUBSCRIBE" and rnd.random() < 0.1:
            some = [rnd.choice(CHANNELS) for _ in range(rnd.randrange(5))]
            args = {"channels": [*some, args if rnd.random() < 0.5 else value(rnd)]}
    pick = rnd.random()
    if pick < 0.15:
        args[rnd.choice(list(args))] = value(rnd)
    elif pick < 0.2:
        del args[rnd.choice(list(args))]
    elif pick < 0.25:
        args[rnd.choice(ODD_TEXTS)] = value(rnd)
    return args


def frame(rnd: random.Random) -> str:
    """Return one line: a valid frame, one with a mistake, a damaged one, or something else."""
    pick = rnd.random()
    if pick < 0.15:
        return rnd.choice(ODD_JSON)
    if pick < 0.25:
        return json.dumps(value(rnd), ensure_ascii=rnd.random() < 0.5)
    name = rnd.choice(NAMES)
    parts: list[object] = [rnd.randrange(1000), name, _arguments(rnd, name)]
    if pick < 0.4:
        parts[rnd.randrange(3)] = value(rnd)
    elif pick < 0.45:
        parts[1] = rnd.choice(ODD_NAMES)
    elif pick < 0.5:
        parts = parts[: rnd.randrange(3)] if rnd.random() < 0.5 else [*parts, value(rnd)]
    line = json.dumps(parts, ensure_ascii=rnd.random() < 0.5)
    return damaged(rnd, line) if pick > 0.8 else line


def damaged(rnd: random.Random, text: str) -> str:
    """Return a text with characters lost, added, replaced, doubled or swapped."""
    for _ in range(rnd.randint(1, 4)):
        at, more = rnd.randrange(len(text) + 1), rnd.choice(PUNCTUATION)
        cut = rnd.randrange(len(text) + 1)
        text = rnd.choice(
            [
                text[:at] + text[at + 1 :],
                text[:at] + more + text[at:],
                text[:at] + more + text[at + 1 :],
                text[:at],
                text[:at] + text[at:cut] + text[at:],
                text[cut:] + text[:cut],
            ]
        )
    return text


def lines(rnd: random.Random, count: int) -> bytes:
    """Return this many lines as bytes, a few of which are not UTF-8."""
    text = "".join(frame(rnd) + "\r\n" for _ in range(count))
    data = text.encode("utf-8", "surrogatepass")
    if rnd.random() < 0.1:
        at = rnd.randrange(len(data) + 1)
        data = data[:at] + rnd.randbytes(rnd.randrange(1, 20)) + data[at:]
    return data


def wide(rnd: random.Random, number: int, limit: int) -> tuple[bytes, bool]:
    """Return a frame of about the maximum length, and whether it is too long.

    Its characters have one to four bytes in UTF-8; the limit counts bytes.
    """
    begin, end = f'[{number},"WIDE",{{"x":"', '"}]'
    character = rnd.choice("xé€😀")
    size = len(character.encode())
    count = (limit - len(begin) - len(end)) // size + rnd.choice([-1, 0, 1, limit // 8])
    if rnd.random() < 0.2:
        # As many characters as bytes are allowed, unless the message would be too long for one.
        count = min(limit, (LONGEST_MESSAGE - 100) // size)
    line = (begin + character * count + end).encode()
    return line + b"\r\n", len(line) > limit


# ---- WebSocket ---------------------------------------------------------------------------------


def message(opcode: int, data: bytes, *, final: bool = True, mask: bytes = b"\0\0\0\0") -> bytes:
    """Return a WebSocket frame of a client; the default mask leaves the data unchanged."""
    head = bytes([opcode | (0x80 if final else 0)])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65_536:
        head += struct.pack("!BH", 0x80 | 126, len(data))
    else:
        head += struct.pack("!BQ", 0x80 | 127, len(data))
    if any(mask):
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return head + mask + data


def messages(rnd: random.Random, data: bytes) -> bytes:
    """Return bytes of RTJP as WebSocket frames, cut anywhere, with pings and pongs between.

    These are binary messages, which need not be UTF-8; their boundaries have no meaning.
    """
    parts = []
    while data:
        size = rnd.choice([1, 7, 100, 1000, 10_000, 100_000])
        piece, data = data[:size], data[size:]
        pick = rnd.random()
        if pick < 0.1:
            half = rnd.randrange(len(piece) + 1)
            parts.append(message(2, piece[:half], final=False))
            if rnd.random() < 0.5:
                parts.append(message(9, rnd.randbytes(rnd.randrange(126))))
            parts.append(message(0, piece[half:]))
        else:
            parts.append(
                message(2, piece, mask=rnd.randbytes(4) if len(piece) < 200 else b"\0" * 4)
            )
        if pick > 0.97:
            parts.append(message(rnd.choice([2, 9, 10]), b""))
    return b"".join(parts)


def broken(rnd: random.Random) -> bytes:
    """Return bytes that violate the WebSocket protocol, so that the connection may be closed."""
    return rnd.choice(
        [
            message(1, b"\xff\xfe"),  # text that is not UTF-8
            message(3, b"x"),  # an opcode without a meaning
            message(9, b"x" * 126),  # a ping that is too long
            message(0, b"x"),  # a continuation without a message
            message(8, b"\x03"),  # half a close code
            message(8, struct.pack("!H", rnd.randrange(65_536)) + rnd.randbytes(rnd.randrange(9))),
            b"\x82\x05hello",  # not masked
            b"\xf2\x85" + rnd.randbytes(9),  # reserved bits
            b"\x82\xff" + b"\xff" * 8 + rnd.randbytes(20),  # longer than possible
            rnd.randbytes(rnd.randrange(1, 200)),
        ]
    )


# ---- CSP ---------------------------------------------------------------------------------------

VARIABLES = {
    "rp": ["cb", "a.b", "<x>", "alert(1)//", "é", "data: ", ""],
    "rs": [";", "\n", "<", "x", ""],
    "bp": ["cb", "data: ", "<script>", ""],
    "bs": [";", "\r\n", "\n", "</x>", ""],
    "p": [" ", "cb", "<!--", "x" * 2000, ""],
    "ps": ["0", "5", "-1", "99999999999", "x", "1e3", "٣"],
    "ct": ["text/html", "text/javascript", "text/event-stream", "image/svg+xml", "x\r\ny: z"],
    "du": ["0", "-5", "1.5", "x", "\x00"],
    "se": ["0", "1", "2", "y"],
    "is": ["0", "1", "x"],
    "i": ["0", "1", "x"],
    "g": ["0", "1", "x"],
    "a": ["0", "1", "5", "-1", "x", "9" * 40, " 2 ", ""],
    "n": ["0.5"],
    "s": ["", "0" * 32, "x" * 5000],
    "d": ["[]", "x", "[[1,0,null]]"],
}  # fmt: skip


@dataclass(slots=True)
class Request:
    """An HTTP request to CSP; the sender inserts the key of the session."""

    method: str
    call: str
    query: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def target(self, key: str) -> str:
        """Return the request's target with this session key."""
        pairs = [(name, key if text == "KEY" else text) for name, text in self.query]
        query = "&".join(
            f"{name}={quote(text.encode('utf-8', 'surrogatepass'))}" for name, text in pairs
        )
        return f"/csp/{self.call}" + (f"?{query}" if query else "")


def packets(rnd: random.Random, first: int, data: bytes) -> list[list[object]]:
    """Return bytes as the packets of a batch, with ids from the first one on, cut anywhere."""
    found: list[list[object]] = []
    while data:
        size = rnd.choice([1, 20, 200, 2000])
        piece, data = data[:size], data[size:]
        text = base64.urlsafe_b64encode(piece).decode()
        found.append([first + len(found), 1, text if rnd.random() < 0.5 else text.rstrip("=")])
    return found


def request(rnd: random.Random, first: int) -> Request:
    """Return a request of a session; ids of packets are from the first one on, below the next
    hundred, so that what is sent later still counts.
    """
    call = rnd.choice(["comet", "send", "send", "send", "send", "reflect", "nosuch", ""])
    made = Request(rnd.choice(["GET", "POST", "POST"]), call, [("s", "KEY"), ("n", "1")])
    while rnd.random() < 0.4:
        name = rnd.choice(list(VARIABLES))
        made.query.append((name, rnd.choice([*VARIABLES[name], rnd.choice(ODD_TEXTS)])))
    if call == "comet":
        made.query.append(("du", "0"))
    elif call == "reflect":
        made.body = rnd.choice([b"", b"<script>", rnd.randbytes(50)])
    else:
        made.body = _batch(rnd, first)
    if made.method == "GET":
        made.query.append(("d", made.body.decode("utf-8", "replace")))
        made.body = b""
    return made


def _batch(rnd: random.Random, first: int) -> bytes:
    pick = rnd.random()
    if pick < 0.1:
        return rnd.choice(ODD_JSON).encode("utf-8", "surrogatepass")
    if pick < 0.15:
        return rnd.randbytes(rnd.randrange(60))
    batch: list[object] = list(packets(rnd, first, lines(rnd, rnd.randrange(1, 4)))[:50])
    if batch and pick < 0.3:
        packet = batch[rnd.randrange(len(batch))]
        assert isinstance(packet, list)
        packet[rnd.randrange(1, 3)] = value(rnd)
    elif pick < 0.35:
        batch.insert(rnd.randrange(len(batch) + 1), value(rnd))
    elif pick < 0.45:
        rnd.shuffle(batch)
    text = json.dumps(batch)
    if pick > 0.85:
        text = damaged(rnd, text)
    return text.encode("utf-8", "surrogatepass")
