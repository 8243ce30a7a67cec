"""How the load generator publishes: prepared HTTP requests on keep-alive connections."""

from __future__ import annotations

import json
import re
import socket
import time
from urllib.parse import quote

#: The site's decision for the channel, sent with the request so that no webhook is needed.
OPTIONS = '{"moderated": false}'
#: Sent times are counted from here, so that all have the same number of digits.
EPOCH = 10**18
DIGITS = 19
#: Stands for the sent time in a request with several publications.
STAMPED = "9" * DIGITS


def channel_name(number: int) -> str:
    """Return the name of a channel; all names have the same length."""
    return f"/bench/{number:05d}/"


class LoadError(Exception):
    """The server under test did something unexpected."""


class Publication:
    """The request of a publication; only the time it is sent differs."""

    def __init__(self, kind: str, secret: str, size: int, channel: int = 0, batch: int = 1) -> None:
        name = channel_name(channel)
        head, tail = '{"t": ', ', "x": "'
        tail += "x" * (size - len(head) - DIGITS - len(tail) - 2) + '"}'
        if batch > 1:
            # One time for all: the last of them arrives last.
            path = "/rest/publish_many"
            payload = f"{head}{STAMPED}{tail}"
            each = {"channel_name": name, "payload": payload, "options": json.loads(OPTIONS)}
            text = quote(json.dumps([each] * batch))
            head, tail = f"secret={quote(secret)}&recorded=1&publications={text}".split(STAMPED, 1)
            media_type = "application/x-www-form-urlencoded"
        elif kind == "hookbox":
            path = "/rest/publish"
            head = (
                f"secret={quote(secret)}&channel_name={quote(name, safe='')}&recorded=1"
                f"&options={quote(OPTIONS)}&payload={quote(head)}"
            )
            tail = quote(tail)
            media_type = "application/x-www-form-urlencoded"
        else:
            # The frame that our server would build, so that all send the same bytes.
            path = f"/publish?id={channel}"
            head = f'[1, "PUBLISH", {{"channel_name": "{name}", "payload": {head}'
            tail += ', "datetime": "2026-01-01T00:00:00.000Z", "user": null}]\r\n'
            media_type = "text/plain"
        length = len(head) + DIGITS + len(tail)
        self._before = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\n"
            f"Content-Length: {length}\r\n\r\n{head}"
        ).encode()
        self._after = tail.encode()

    def request(self) -> bytes:
        """Return the request with the current time."""
        now = b"%d" % (EPOCH + time.monotonic_ns())
        return b"%b%b%b" % (self._before, now, self._after.replace(STAMPED.encode(), now))


class Publisher:
    """One keep-alive HTTP connection, one request at a time."""

    def __init__(self, port: int, kind: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.busy = False
        self._kind = kind
        self._buffer = b""

    def send(self, request: bytes) -> None:
        self.busy = True
        if self.socket.send(request) != len(request):
            raise LoadError("a request did not fit into the socket's buffer")

    def receive(self) -> bool:
        """Read available data; return whether the answer is complete."""
        data = self.socket.recv(65_536)
        if not data:
            raise LoadError("the server closed a publisher's connection")
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        match = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if match is None or len(body) < int(match[1]):
            return False
        if b" 20" not in head[:12] or (self._kind == "hookbox" and not body.startswith(b"[true")):
            raise LoadError(f"publish was answered {head[:60]!r} {body[:200]!r}")
        self._buffer = b""
        self.busy = False
        return True
