"""The load generator: thousands of WebSocket subscribers and a few publishers in one process.

Raw non-blocking sockets and epoll, the handshake written by hand, no WebSocket or JSON parsing:
received bytes are only scanned for the end of an RTJP frame, so that this process is never the
bottleneck. It reads one JSON command per line from stdin and answers each with a line on stdout.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.stand_ins.upgrade import masked, upgrade

from .processes import ALL_KINDS
from .procfs import accepted, cpu_time, memory, still_open
from .publishers import DIGITS, EPOCH, LoadError, Publication, Publisher, channel_name

ORIGIN = "http://bench.example"
#: The end of each publication. The bracket prevents the length in a WebSocket header, which may
#: be any two bytes, from being counted.
END = b"]\r\n"
STAMP = re.compile(rb'"t": ?(\d{%d})' % DIGITS)
#: What is connected to and subscribed with frames of RTJP.
SUBSCRIBING = ("hookbox", "bare", "exchange")
#: How many connections' publications are timed.
SAMPLED = 50
READ = select.EPOLLIN | select.EPOLLRDHUP
#: Seconds without any progress after which what is missing counts as lost. Channels' in-memory
#: layer takes half a minute for the first of five thousand deliveries on a busy machine.
PATIENCE = 60.0


def cookie(number: int, size: int = 500) -> str:
    """Return a Cookie header of exactly this size, with its own user and session."""
    value = f"sessionid=s{number:031d}; user=user{number:06d}; csrftoken="
    return value + f"{number:x}-".ljust(size - len(value), "c")


class Load:
    """All subscribers of one server, and what they have received."""

    def __init__(self, kind: str, port: int, pid: int, secret: str) -> None:
        self.kind, self.port, self.pid, self.secret = kind, port, pid, secret
        self.received = 0
        self.latencies: list[int] = []
        self._channels = 1
        self._epoll = select.epoll()
        # Publishers have their own set, which is checked between slices of the subscribers, so
        # that a publisher never waits until thousands of subscribers have been read.
        self._publisher_epoll = select.epoll()
        self._epoll.register(self._publisher_epoll.fileno(), select.EPOLLIN)
        self._publishers: dict[int, Publisher] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._stuck: dict[int, socket.socket] = {}
        self._pending: dict[int, bytes] = {}  # connecting: what came so far
        self._numbers: dict[int, int] = {}  # connecting: which one it is
        self._tails: dict[int, bytes] = {}  # sampled: the unfinished frame
        self._carry: dict[int, bytes] = {}  # ended within END: the last bytes
        self._opened = 0
        self._buffer = bytearray(262_144)
        self._view = memoryview(self._buffer)[2:]

    # ---- connecting

    def connect(
        self, count: int, stuck: int = 0, channels: int = 1, wave: int = 100
    ) -> dict[str, Any]:
        """Open subscribers, the last of which stop reading as soon as they are subscribed.

        They are distributed over the channels in turn. Measure the server's CPU.
        """
        self._channels = channels
        server = cpu_time(self.pid)
        first_stuck = self._opened + count
        last = first_stuck + stuck
        while self._opened < last or self._pending:
            # In waves, because the backlog of the listener and the webhooks in flight are bounded.
            while self._opened < last and len(self._pending) < wave:
                self._open(
                    self._opened,
                    stuck=self._opened >= first_stuck,
                    # Evenly distributed: a server reaches its subscribers one by one.
                    sampled=self._opened % max(count // SAMPLED, 1) == 0,
                )
                self._opened += 1
            if not self._turn(30.0):
                raise LoadError(f"{len(self._pending)} connections got no answer in 30 s")
        connections = len(self._sockets) + len(self._stuck)
        return {
            "connections": connections,
            "received": count + stuck,
            "cpu": cpu_time(self.pid) - server,
        }

    @property
    def _audience(self) -> int:
        """The number of subscribers of each channel."""
        return max(1, len(self._sockets) // self._channels)

    def _open(self, number: int, *, stuck: bool, sampled: bool) -> None:
        sock = socket.socket()
        if stuck:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.port))
        sock.setblocking(False)
        sock.send(
            upgrade(
                ORIGIN,
                {
                    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) bench",
                    "Cookie": cookie(number),
                },
                f"/ws?id={number % self._channels}",
            )
        )
        fd = sock.fileno()
        self._pending[fd] = b""
        self._numbers[fd] = number
        (self._stuck if stuck else self._sockets)[fd] = sock
        if sampled and not stuck:
            self._tails[fd] = b""
        self._epoll.register(fd, READ)

    def _continue_connecting(self, fd: int) -> None:
        sock = self._sockets.get(fd) or self._stuck[fd]
        data = sock.recv(65_536)
        if not data:
            raise LoadError(f"closed while connecting, after {self._pending[fd][-200:]!r}")
        before = self._pending[fd]
        now = self._pending[fd] = before + data
        upgraded = b"\r\n\r\n" in now
        if upgraded and b"\r\n\r\n" not in before:
            if not now.startswith(b"HTTP/1.1 101"):
                raise LoadError(f"the handshake was answered {now[:200]!r}")
            if self.kind in SUBSCRIBING:
                name = channel_name(self._numbers[fd] % self._channels)
                sock.send(
                    masked('[1,"CONNECT",{"cookie_string":""}]\r\n')
                    + masked(f'[2,"SUBSCRIBE",{{"channel_name":"{name}"}}]\r\n')
                )
        if b'"ERROR"' in now:
            raise LoadError(f"subscribing was answered {now[-300:]!r}")
        if upgraded and (self.kind not in SUBSCRIBING or b'"SUBSCRIBE"' in now):
            del self._pending[fd], self._numbers[fd]
            if (at := now.find(b"\n\x89")) >= 0:  # without a pong, it would be closed
                self._pong(fd, now[at + 1 :])
            if fd in self._stuck:
                self._epoll.unregister(fd)

    def spread(self, channels: int) -> dict[str, Any]:
        """Share so many channels among the subscribers; each has one of them, which are joined."""
        self.received = 0
        joined, self._channels = self._channels, channels
        for number, sock in enumerate(self._sockets.values()):
            names = [channel_name(each) for each in range(joined + number, channels, joined)]
            if not names:
                continue
            expected = self.received + len(names)
            sock.send(masked(f'[3,"SUBSCRIBE",{json.dumps({"channels": names})}]\r\n'))
            if not self._await(lambda: self.received >= expected):  # noqa: B023
                raise LoadError(f"{expected - self.received} snapshots did not come")
        return {}

    def join(self, channels: int) -> dict[str, Any]:
        """Let all subscribers at once join further channels, one channel at a time.

        The first subscriber creates a channel, which is not measured.
        """
        self.received = 0
        cpu, joins = 0.0, 0
        first, *others = self._sockets.values()
        for channel in range(1000, 1000 + channels):
            frame = masked(f'[3,"SUBSCRIBE",{{"channel_name":"{channel_name(channel)}"}}]\r\n')
            for joining in ([first], others):
                expected = self.received + len(joining)
                before = cpu_time(self.pid)
                for sock in joining:
                    sock.send(frame)
                if not self._await(lambda: self.received >= expected):  # noqa: B023
                    raise LoadError(f"{expected - self.received} snapshots did not come")
                if joining is others:
                    cpu += cpu_time(self.pid) - before
                    joins += len(joining)
        return {"received": joins, "cpu": cpu}

    # ---- receiving

    def _turn(self, timeout: float) -> bool:
        """Handle what was received; return whether there was anything."""
        answers = self._publisher_epoll.poll(0)
        for fd, _ in answers:
            self._publishers[fd].receive()
        ready = self._epoll.poll(0 if answers else timeout, 64)
        for fd, _ in ready:
            if fd in self._pending:
                self._continue_connecting(fd)
            elif fd in self._sockets:
                self._receive(fd)
        return bool(ready or answers)

    def _receive(self, fd: int) -> None:
        size = self._sockets[fd].recv_into(self._view)
        if not size:
            raise LoadError("the server closed a subscriber's connection")
        buffer, start, end = self._buffer, 2, size + 2
        if fd in self._carry:
            carry = self._carry.pop(fd)
            start -= len(carry)
            buffer[start:2] = carry
        self.received += buffer.count(END, start, end)
        if buffer[end - 1] != 10:
            self._carry[fd] = bytes(buffer[max(start, end - 2) : end])
        # Control frames come between messages, each of which ends in a line feed.
        if buffer[2] == 0x89:
            self._pong(fd, bytes(buffer[2:end]))
        elif (at := buffer.find(b"\r\n\x89", start, end)) >= 0:
            self._pong(fd, bytes(buffer[at + 2 : end]))
        if fd in self._tails:
            now = time.monotonic_ns()
            data = self._tails[fd] + buffer[2:end]
            complete, _, self._tails[fd] = data.rpartition(b"\r\n")
            for match in STAMP.finditer(complete):
                self.latencies.append(now - (int(match[1]) - EPOCH))

    def _pong(self, fd: int, ping: bytes) -> None:
        payload = ping[2 : 2 + ping[1]] if len(ping) > 1 and ping[1] < 126 else b""
        sock = self._sockets.get(fd) or self._stuck[fd]
        sock.send(struct.pack("!BBI", 0x8A, 0x80 | len(payload), 0) + payload)

    def _await(self, done: Callable[[], bool]) -> bool:
        """Receive until it is done, or until nothing has arrived for a while."""
        seen, since = self.received, time.monotonic()
        while not done():
            self._turn(0.2)
            now = time.monotonic()
            if self.received != seen:
                seen, since = self.received, now
            elif now - since > PATIENCE:
                return False
        return True

    # ---- measuring

    def _publish_on(self, count: int) -> list[Publisher]:
        publishers = [Publisher(self.port, self.kind) for _ in range(count)]
        for publisher in publishers:
            fd = publisher.socket.fileno()
            self._publishers[fd] = publisher
            self._publisher_epoll.register(fd, select.EPOLLIN)
        return publishers

    def _stop_publishing(self) -> None:
        for fd, publisher in self._publishers.items():
            self._publisher_epoll.unregister(fd)
            publisher.socket.close()
        self._publishers.clear()

    def _measure(self, publications: Callable[[], Iterator[int]]) -> dict[str, Any]:
        """Run a generator that publishes and yields counts; measure deliveries, time and memory."""
        self.received, self.latencies = 0, []
        published = 0
        server, own, wall = cpu_time(self.pid), time.process_time(), time.monotonic()
        for count in publications():
            published = count
        # Until everything has arrived, or the missing deliveries must be lost.
        expected = published * self._audience
        complete = self._await(lambda: self.received >= expected)
        wall = time.monotonic() - wall - (0 if complete else PATIENCE)
        own, server = time.process_time() - own, cpu_time(self.pid) - server
        self._stop_publishing()
        latencies = sorted(self.latencies) or [0]
        return {
            "published": published,
            "expected": expected,
            "received": self.received,
            "cpu": server,
            "seconds": wall,
            "load": own / wall,
            "p50": latencies[len(latencies) // 2] / 1e9,
            "p99": latencies[len(latencies) * 99 // 100] / 1e9,
        }

    def fanout(self, messages: int, size: int, seconds: float) -> dict[str, Any]:
        """Publish messages one by one, each after all subscribers have received the previous one.

        The channels take turns. Publish at least one message, and none after this many seconds.
        """
        publications = [
            Publication(self.kind, self.secret, size, channel) for channel in range(self._channels)
        ]

        def one_in_flight() -> Iterator[int]:
            (publisher,) = self._publish_on(1)
            end = time.monotonic() + seconds
            for number in range(1, messages + 1):
                if number > 1 and time.monotonic() > end:
                    return
                publisher.send(publications[number % self._channels].request())
                expected = number * self._audience
                if not self._await(lambda: not publisher.busy and self.received >= expected):  # noqa: B023
                    raise LoadError(f"{expected - self.received} deliveries did not come")
                yield number

        return self._measure(one_in_flight)

    def burst(self, seconds: float, publishers: int, size: int, batch: int = 1) -> dict[str, Any]:
        """Publish on several connections, each as fast as it is answered.

        With a batch, each request has this many publications.
        """
        publication = Publication(self.kind, self.secret, size, batch=batch)

        def as_fast_as_answered() -> Iterator[int]:
            published, end = 0, time.monotonic() + seconds
            senders = self._publish_on(publishers)
            while time.monotonic() < end:
                for sender in senders:
                    if not sender.busy:
                        sender.send(publication.request())
                        published += batch
                self._turn(0.2)
            yield published
            if not self._await(lambda: not any(sender.busy for sender in senders)):
                raise LoadError("a publish was not answered")

        return self._measure(as_fast_as_answered)

    def paced(self, seconds: float, rate: float, size: int, bound: int) -> dict[str, Any]:
        """Publish at a steady rate, while the stuck subscribers read nothing.

        Report how long after `bound` published bytes the last stuck subscriber was closed.
        """
        publication = Publication(self.kind, self.secret, size)
        peers = {sock.getsockname()[1] for sock in self._stuck.values()}
        # Watched in the server: a client that does not read is not told that it was closed.
        stuck = accepted(self.pid, self.port, peers)
        if len(stuck) != len(peers):
            raise LoadError("stuck connections were closed too early")
        exceeded = closed = look = 0.0

        def steadily() -> Iterator[int]:
            nonlocal exceeded, closed, look
            begin = time.monotonic()
            (publisher,) = self._publish_on(1)
            for number in range(1, int(seconds * rate) + 1):
                while publisher.busy or time.monotonic() < begin + number / rate:
                    wait = begin + number / rate - time.monotonic()
                    self._turn(min(max(wait, 0.0), 0.2) if not publisher.busy else 0.2)
                publisher.send(publication.request())
                if not exceeded and number * size > bound:
                    exceeded = time.monotonic()
                if exceeded and not closed and time.monotonic() > look:
                    look = time.monotonic() + 0.05
                    if not still_open(stuck):
                        closed = look - 0.05
                yield number

        with open(f"/proc/{self.pid}/clear_refs", "w") as refs:
            refs.write("5")  # reset the peak
        before = memory(self.pid)["VmRSS"]
        result = self._measure(steadily)
        result["grown"] = memory(self.pid)["VmHWM"] - before
        for sock in self._stuck.values():
            sock.close()
        self._stuck.clear()
        result["closed_after"] = closed - exceeded if closed else None
        return result

    def settle(self, seconds: float) -> dict[str, Any]:
        """Wait until the server has finished its work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._turn(0.2)
        return {}

    def serve(self) -> None:
        """Carry out commands; in between, answer pings."""
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        commands: dict[str, Callable[..., dict[str, Any]]] = {
            "connect": self.connect,
            "join": self.join,
            "spread": self.spread,
            "fanout": self.fanout,
            "burst": self.burst,
            "paced": self.paced,
            "settle": self.settle,
        }
        while True:
            self._turn(1.0)
            if not select.select([sys.stdin], [], [], 0)[0]:
                continue
            line = sys.stdin.readline()
            if not line:
                return
            # Level-triggered: while a command runs, its own line must not wake the loop.
            name, arguments = json.loads(line)
            try:
                answer = commands[name](**arguments)
            except (LoadError, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
            if "error" in answer:
                return


def main() -> None:
    """Generate load until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=ALL_KINDS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--secret", default="")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Load(options.kind, options.port, options.pid, options.secret).serve()


if __name__ == "__main__":
    main()
