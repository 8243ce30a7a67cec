"""Recognise the heads of plain requests.

A head is plain if all servers agree on what it means. There is no other outcome: whatever is
unusual, obsolete, repeated or malformed is left to aiohttp, which knows what to do with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from multidict import CIMultiDict

from ...wire.proof import SECRET_HEADER
from ..clients.addresses import host_name

#: Maximum bytes of a head; aiohttp accepts as many in a line.
LONGEST_HEAD = 8190
#: Maximum number of headers; aiohttp accepts 128.
MOST_HEADERS = 100
#: Maximum bytes of a head that is remembered.
LONGEST_KEPT = 1024

_HEAD = re.compile(
    rb"(GET|POST) (/[A-Za-z0-9/_.~?=&%-]*) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_HEADER = re.compile(r"([^:]+): (.+)\r\n")

_WEBSOCKET_TARGET = re.compile(r"/ws(?:\?[A-Za-z0-9_.~=&%-]*)?")
_CALL_TARGET = re.compile(r"/(?:rest|web)/([a-z_]+)")
_LENGTH = re.compile(r"[0-9]{1,9}")
#: 16 bytes in base64.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")

#: Headers that change how a request is read or answered, or that ask for something unusual.
_DOUBTFUL = frozenset({
    "content-encoding", "expect", "http2-settings", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding",
})  # fmt: skip
#: The same where there is a body, or where there is none.
_DOUBTFUL_IN_CALLS = frozenset({"upgrade"})
_DOUBTFUL_IN_HANDSHAKES = frozenset({"content-length", "content-type", "sec-websocket-protocol"})


class Head(NamedTuple):
    """The head of a plain request.

    Attributes:
        data: Its bytes, up to the empty line.
        headers: Its headers, none of which is repeated.
        length: The size of the body.
        call: The name of the REST call, or "".
        secret: The header with the secret of a REST call, if it has one.
        key: The key of the WebSocket handshake, or "".

    """

    data: bytes
    headers: CIMultiDict[str]
    length: int
    call: str = ""
    secret: str | None = None
    key: str = ""


def read(data: bytes, last: Head | None = None) -> Head | None:
    """Return the head of the request that data begin with, if it is complete and plain.

    Args:
        data: What has arrived.
        last: The head of the last request on the same connection; most are the same.

    """
    if last is not None and data.startswith(last.data):
        return last
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD) + 4
    if data.startswith(b"POST") and 4 <= end <= LONGEST_KEPT:
        return _read_call(data[:end])
    return _read(data)


@lru_cache(maxsize=256)
def _read_call(data: bytes) -> Head | None:
    """Do the same as `_read`: those who make calls send the same heads again and again."""
    return _read(data)


def _read(data: bytes) -> Head | None:
    found = _HEAD.match(data)
    if found is None or found.end() > LONGEST_HEAD:
        return None
    head = found[0]
    pairs = _HEADER.findall(found[3].decode("ascii"))
    names = {name.lower() for name, _value in pairs}
    if len(names) < len(pairs) or len(names) > MOST_HEADERS or not names.isdisjoint(_DOUBTFUL):
        return None
    headers = CIMultiDict(pairs)
    if not host_name((headers.get("Host", ""),)):
        return None
    target = found[2].decode("ascii")
    if found[1] == b"POST":
        return _call(head, target, headers, names)
    return _handshake(head, target, headers, names)


def _call(data: bytes, target: str, headers: CIMultiDict[str], names: set[str]) -> Head | None:
    call = _CALL_TARGET.fullmatch(target)
    length = headers.get("Content-Length", "")
    if (
        call is None
        or not names.isdisjoint(_DOUBTFUL_IN_CALLS)
        or not _LENGTH.fullmatch(length)
        or headers.get("Connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    secret = headers.get(SECRET_HEADER)
    return Head(data, headers, int(length), call=call[1], secret=secret)


def _handshake(data: bytes, target: str, headers: CIMultiDict[str], names: set[str]) -> Head | None:
    key = headers.get("Sec-WebSocket-Key", "")
    if (
        not _WEBSOCKET_TARGET.fullmatch(target)
        or not names.isdisjoint(_DOUBTFUL_IN_HANDSHAKES)
        or headers.get("Upgrade", "").lower() != "websocket"
        or headers.get("Connection", "").lower() not in ("upgrade", "keep-alive, upgrade")
        or headers.get("Sec-WebSocket-Version") != "13"
        or not _KEY.fullmatch(key)
    ):
        return None
    return Head(data, headers, 0, key=key)
