"""The clients of the benchmark: many WebSockets in one process, and publishers over HTTP.

Sockets are used directly, and messages are only counted, so that the clients cost as little as
possible: they run on the machine that is being measured.
"""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
from collections.abc import Callable
from urllib.parse import quote

from django.utils.translation import gettext as _

from ..exceptions import HookboxError

CHANNEL = "/bench/"
#: A channel without subscribers.
QUIET = "/bench/quiet/"
ORIGIN = "http://bench.example"
#: The end of each message to a subscriber.
END = b"]\r\n"
#: How many connections may be opening at the same moment.
WAVE = 100
#: Seconds without any progress after which a measurement fails.
PATIENCE = 20.0

_UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"Origin: {ORIGIN}\r\nUser-Agent: Mozilla/5.0 (djhookbox bench)\r\n\r\n"
).encode()


class BenchmarkFailed(HookboxError):
    """The benchmark cannot continue; the text says why."""


def _masked(text: str) -> bytes:
    """Return a short message as clients send it; a mask of zeros leaves the text as it is."""
    data = text.encode()
    return struct.pack("!BBI", 0x81, 0x80 | len(data), 0) + data


_GREETING = _masked('[1,"CONNECT",{"cookie_string":""}]\r\n') + _masked(
    f'[2,"SUBSCRIBE",{{"channel_name":"{CHANNEL}"}}]\r\n'
)


class Publisher:
    """A keep-alive HTTP connection that publishes one message at a time."""

    def __init__(self, port: int, channel: str, secret: str, size: int) -> None:
        payload = '{"text": "%s"}' % ("x" * max(0, size - 12))
        options = quote('{"moderated": false}')
        body = (
            f"secret={quote(secret)}&channel_name={quote(channel, safe='')}&recorded=1"
            f"&options={options}&payload={quote(payload)}"
        )
        self._request = (
            "POST /rest/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.busy = False
        self._answer = b""

    def publish(self) -> None:
        """Send the message."""
        self.busy = True
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Read; return whether the answer is complete.

        Raises:
            BenchmarkFailed: The server refused.

        """
        data = self.socket.recv(65_536)
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) if found else None
        if data and (length is None or len(body) < int(length[1])):
            return False
        if b" 200 " not in head[:16] or not body.startswith(b"[true"):
            raise BenchmarkFailed(
                _("A publication was refused: %(answer)s")
                % {"answer": (body or head)[:200].decode(errors="replace")}
            )
        self._answer = b""
        self.busy = False
        return True


class Crowd:
    """All clients of a server.

    Attributes:
        received: How many messages the subscribers have received.

    """

    def __init__(self, port: int, secret: str, size: int) -> None:
        self._port, self._secret, self._size = port, secret, size
        self._selector = selectors.DefaultSelector()
        self._subscribers: list[socket.socket] = []
        #: The beginnings of answers, of connections that are opening.
        self._opening: dict[int, bytes] = {}
        #: The last bytes read, of connections where they may belong to an end.
        self._rest: dict[int, bytes] = {}
        self._buffer = bytearray(262_144)
        self.received = 0

    def __len__(self) -> int:
        return len(self._subscribers)

    def connect(self, count: int, seconds: float) -> float:
        """Open connections that subscribe, and return how many seconds that took.

        Raises:
            BenchmarkFailed: It takes too long, or the server refuses.

        """
        started = time.monotonic()
        while len(self) < count or self._opening:
            while len(self) < count and len(self._opening) < WAVE:
                self._open()
            if not self._turn(PATIENCE) or time.monotonic() - started > seconds:
                raise BenchmarkFailed(
                    _("Only %(open)d of %(count)d connections could be opened in %(seconds)d s.")
                    % {
                        "open": len(self) - len(self._opening),
                        "count": count,
                        "seconds": time.monotonic() - started,
                    }
                )
        return time.monotonic() - started

    def publish(self, channel: str, seconds: float, publishers: int) -> tuple[int, float]:
        """Publish for some seconds, each publisher one message after the other.

        On the channel of the subscribers, no more than a few messages are on their way to each.

        Returns:
            The number of publications, and the seconds until everything has been received.

        """
        fan_out = len(self) if channel == CHANNEL else 0
        most = 20 * fan_out
        before, sent = self.received, 0
        made = [self._publisher(channel) for _number in range(publishers)]
        started = time.monotonic()
        try:
            while (now := time.monotonic()) < started + seconds:
                for publisher in made:
                    if not publisher.busy and sent * fan_out - (self.received - before) <= most:
                        publisher.publish()
                        sent += 1
                self._turn(started + seconds - now)
            self._wait(lambda: not any(publisher.busy for publisher in made))
            self._wait(lambda: self.received - before >= sent * fan_out)
            return sent, time.monotonic() - started
        finally:
            for publisher in made:
                self._end(publisher)

    def delays(self, seconds: float) -> list[float]:
        """Publish single messages; return how long each took to reach the last subscriber."""
        publisher = self._publisher(CHANNEL)
        found: list[float] = []
        end = time.monotonic() + seconds
        try:
            while not found or time.monotonic() < end:
                started, self.received = time.monotonic(), 0
                publisher.publish()
                self._wait(lambda: self.received >= len(self))
                found.append(time.monotonic() - started)
                self._wait(lambda: not publisher.busy)
            return found
        finally:
            self._end(publisher)

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        for each in self._subscribers:
            each.close()

    def _publisher(self, channel: str) -> Publisher:
        made = Publisher(self._port, channel, self._secret, self._size)
        self._selector.register(made.socket, selectors.EVENT_READ, made)
        return made

    def _end(self, publisher: Publisher) -> None:
        self._selector.unregister(publisher.socket)
        publisher.socket.close()

    # ---- one turn --------------------------------------------------------------------------------

    def _open(self) -> None:
        opened = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        self._subscribers.append(opened)
        opened.setblocking(False)
        opened.send(_UPGRADE)
        self._opening[opened.fileno()] = b""
        self._selector.register(opened, selectors.EVENT_READ)

    def _turn(self, timeout: float) -> bool:
        """Handle what has arrived; return whether anything did."""
        ready = self._selector.select(max(0.0, timeout))
        for key, _events in ready:
            if isinstance(key.data, Publisher):
                key.data.receive()
            elif key.fd in self._opening:
                self._continue_opening(key.fileobj)  # type: ignore[arg-type]
            else:
                self._count(key.fileobj)  # type: ignore[arg-type]
        return bool(ready)

    def _wait(self, done: Callable[[], bool]) -> None:
        """Handle what arrives until it is done.

        Raises:
            BenchmarkFailed: Nothing arrives any more.

        """
        while not done():
            if not self._turn(PATIENCE):
                raise BenchmarkFailed(
                    _("The server has sent nothing for %(seconds)d s.") % {"seconds": PATIENCE}
                )

    def _continue_opening(self, opened: socket.socket) -> None:
        number = opened.fileno()
        before = self._opening[number]
        data = opened.recv(65_536)
        now = self._opening[number] = before + data
        upgraded = b"\r\n\r\n" in now
        if not data or b'"ERROR"' in now or (upgraded and not now.startswith(b"HTTP/1.1 101")):
            raise BenchmarkFailed(
                _("A connection was refused: %(answer)s")
                % {"answer": now[-300:].decode(errors="replace")}
            )
        if upgraded and b"\r\n\r\n" not in before:
            opened.send(_GREETING)
        if b'"SUBSCRIBE"' in now:
            del self._opening[number]

    def _count(self, subscriber: socket.socket) -> None:
        """Count the ends of messages."""
        number = subscriber.fileno()
        rest = self._rest.pop(number, b"")
        view = memoryview(self._buffer)
        view[: len(rest)] = rest
        size = subscriber.recv_into(view[len(rest) :])
        if not size:
            raise BenchmarkFailed(_("The server has closed a connection."))
        end = len(rest) + size
        self.received += self._buffer.count(END, 0, end)
        if self._buffer[end - 1] != END[-1]:
            self._rest[number] = bytes(self._buffer[max(0, end - len(END) + 1) : end])
