"""Send random and mutated input to a real server: `python -m bench.fuzz [--seed N]`.

Frames are sent over WebSockets, batches and all other requests over CSP, and garbage to the bare
port; the site also answers with garbage. At the same time, two bystanders, one on each transport,
must receive every publication. The exit status is 1 if anything is found.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from djhookbox.server.protocol.csp import BadBatch, Inbox, parse_batch
from tests.ports import free_port
from tests.stand_ins.waiting import TimedOut, until

from . import garbage
from .fuzz_clients import Gone, Http, Socket, found
from .fuzz_gate import Gate
from .fuzz_restarts import restarts
from .fuzz_site import CHANNEL
from .processes import SECRET, python
from .procfs import memory

#: Seconds to wait for anything; the machine may be busy.
PATIENCE = 60.0
SOCKETS, SESSIONS, GATES = 10, 14, 4
#: Leaves part of the server's default rate limit, 1000 frames per second averaged over ten seconds,
#: to others.
FRAMES_OF_A_SOCKET = 6000
BURST = 100
#: The server's default.
MAX_FRAME_SIZE = 262_144
#: How often the server is restarted during its reports.
LIVES = 10
#: Bytes by which the server may grow after warming up. Garbage must not take up memory.
MAX_GROWTH = 64 * 1_048_576


class Fuzz:
    """One run: what is sent and what is found."""

    def __init__(self, seed: int, frames: int) -> None:
        self.seed = seed
        self.budget = frames
        self.frames = self.requests = self.junk = self.connections = 0
        self.published = self.served = 0
        self.slowest = 0.0
        self.findings: list[str] = []
        self.port = free_port()
        self.gate = Gate(self.port, self.look, self.find)
        self.turned_away = 0
        self.site = free_port()
        self._numbers = iter(range(10**9, 2 * 10**9))
        self._pending: dict[int, tuple[float, set[str]]] = {}

    @property
    def thrown(self) -> int:
        """Return the number of frames and requests, except those that only check."""
        return self.frames + self.requests + self.junk + self.turned_away

    @property
    def over(self) -> bool:
        return self.thrown >= self.budget or len(self.findings) > 20

    def find(self, problem: str) -> None:
        self.findings.append(problem)
        print(f"FOUND: {problem}", file=sys.stderr, flush=True)

    def look(self, data: bytes, where: str) -> None:
        """Check for output that a client must never receive."""
        for word in (b"Traceback", b"Internal error", b'File "'):
            if word in data:
                self.find(f"{where} got {word!r}: {data[:300]!r}")

    # ---- WebSockets ------------------------------------------------------------------------

    async def socket_worker(self, rnd: random.Random) -> None:
        while not self.over:
            self.connections += 1
            async with Socket.open(self.port, self.look) as socket:
                await self._socket(rnd, socket)

    async def _socket(self, rnd: random.Random, socket: Socket) -> None:
        # First of all CONNECT: clients that do not send it are soon closed.
        socket.send(garbage.message(1, _connect(rnd)))
        for _ in range(FRAMES_OF_A_SOCKET // BURST):
            if self.over:
                break
            data = garbage.lines(rnd, BURST)
            if rnd.random() < 0.05:
                data += b"x" * rnd.choice([262_144, 262_145, 400_000]) + b"\r\n"
            socket.send(garbage.messages(rnd, data))
            self.frames += data.count(b"\r\n")
            if rnd.random() < 0.02 and not await self._wide(rnd, socket):
                return
            number = next(self._numbers)
            socket.send(garbage.message(1, b'\r\n[%d,"STILL THERE?",{}]\r\n' % number))
            try:
                await socket.wait_for(number, PATIENCE)
            except Gone as error:
                self.find(f"a WebSocket that should live: {error}")
                return
            if rnd.random() < 0.03:
                break
        pick = rnd.random()
        if pick < 0.3:
            socket.send(garbage.broken(rnd))
        elif pick < 0.6:
            socket.send(garbage.message(8, b"\x03\xe8"))
        # Otherwise it just disappears, possibly with unread bytes.

    async def _wide(self, rnd: random.Random, socket: Socket) -> bool:
        """Check that the limit of frames counts bytes; return whether the connection stays open."""
        number = next(self._numbers)
        line, larger = garbage.wide(rnd, number, MAX_FRAME_SIZE)
        socket.send(garbage.message(1, b"\r\n" + line))
        self.frames += 1
        try:
            answer = await socket.line(number, PATIENCE)
        except Gone as error:
            self.find(f"a WebSocket that should live: {error}")
            return False
        if (b"Frame too large" in answer) is not larger:
            self.find(f"a frame of {len(line) - 2} bytes got {answer!r}")
        return True

    # ---- CSP -------------------------------------------------------------------------------

    async def session_worker(self, rnd: random.Random) -> None:
        while not self.over:
            self.connections += 1
            try:
                async with Http.open(self.port, self.look) as http:
                    await self._session(rnd, http)
            except Gone as error:
                self.find(f"CSP: {error}")

    async def _session(self, rnd: random.Random, http: Http) -> None:
        opening = garbage.Request("POST", "handshake", [("du", "0")])
        while rnd.random() < 0.3:
            name = rnd.choice(["rp", "rs", "ct", "ps", "p", "bp", "bs", "se", "is", "g", "i"])
            opening.query.append((name, rnd.choice(garbage.VARIABLES[name])))
        _, text = await self._ask(http, opening, "")
        key = re.search(rb'"session": ?"([0-9a-f]{32})"', text)
        if key is None:
            return self.find(f"no session: {text[:200]!r}")
        mirror = Inbox()  # what the server must have made of it
        batch = json.dumps(garbage.packets(rnd, 1, _connect(rnd))).encode()
        await self._ask(
            http, garbage.Request("POST", "send", [("s", "KEY")], batch), key[1].decode()
        )
        mirror.take(parse_batch(batch))
        for _ in range(6):
            for _ in range(15):
                request = garbage.request(rnd, mirror.last_id + 1)
                if rnd.random() < 0.02:
                    await self._dropped(request.target(key[1].decode()))
                status, _ = await self._ask(http, request, key[1].decode())
                if status == 200:
                    self._reflect(request, mirror)
            if mirror.ended:
                return await self._ended(http, key[1].decode())
            if mirror.last_id > 2**60:
                break  # a damaged id leaves no room for further ids
            await self._alive(http, key[1].decode(), mirror)
            if self.over:
                break
        if rnd.random() < 0.5:
            await self._ask(http, garbage.Request("POST", "close", [("s", "KEY")]), key[1].decode())
            await self._ended(http, key[1].decode())
        else:
            end = garbage.Request("POST", "send", [("s", "KEY")], b"[[0, 0, null]]")
            await self._ask(http, end, key[1].decode())
            await self._ended(http, key[1].decode())
        return None

    async def _ask(self, http: Http, request: garbage.Request, key: str) -> tuple[int, bytes]:
        self.requests += 1
        status, text = await http.ask(request.method, request.target(key), request.body)
        if status not in (200, 400, 404, 405, 413, 429):
            self.find(f"status {status} for {request}: {text[:200]!r}")
        return status, text

    @staticmethod
    def _reflect(request: garbage.Request, mirror: Inbox) -> None:
        """Record the effect of a send, so that the next ids are known."""
        if request.call != "send":
            return
        body = request.body
        if request.method == "GET":
            data = next((text for name, text in request.query if name == "d" and text), "")
            body = data.encode("utf-8", "replace")
        with contextlib.suppress(BadBatch):
            mirror.take(parse_batch(body))

    async def _alive(self, http: Http, key: str, mirror: Inbox) -> None:
        number = next(self._numbers)
        line = b'\r\n[%d,"STILL THERE?",{}]\r\n' % number
        batch = json.dumps(garbage.packets(random.Random(number), mirror.last_id + 1, line))
        await self._ask(http, garbage.Request("POST", "send", [("s", "KEY")], batch.encode()), key)
        mirror.take(parse_batch(batch.encode()))
        seen, deadline = 0, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            query = [("s", "KEY"), ("a", str(seen)), ("du", "0")]
            status, text = await self._ask(http, garbage.Request("POST", "comet", query), key)
            if status != 200:
                break
            for packet, data in found(text):
                if b'"id":%d,' % number in data:
                    return
                seen = packet
            await asyncio.sleep(0.01)
        self.find(f"a CSP session that should live: status {status}, {text[:200]!r}")

    async def _ended(self, http: Http, key: str) -> None:
        """Check that a session reports its end by the client and then no longer exists."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            query = [("s", "KEY"), ("du", "0")]
            status, text = await self._ask(http, garbage.Request("POST", "comet", query), key)
            if status == 404 or re.search(rb", ?0, ?null\]", text):
                return
            await asyncio.sleep(0.01)
        self.find(f"a CSP session that should have ended: {text[:200]!r}")

    async def _dropped(self, target: str) -> None:
        """Send a request and disconnect before it is answered."""
        async with Http.open(self.port, self.look) as http:
            http.start("POST", target, b"")
            await asyncio.sleep(0)

    async def junk_worker(self, rnd: random.Random) -> None:
        """Send bytes that are not HTTP."""
        starts = [
            b"",
            b"GET /ws HTTP/1.1\r\n",
            b"POST /csp/send?s= HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        ]
        while not self.over:
            self.junk += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(rnd.choice(starts) + rnd.randbytes(rnd.randrange(300)) + b"\r\n\r\n")
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
                self.look(await asyncio.wait_for(reader.read(4096), 0.2), "junk")
            writer.transport.abort()
            await asyncio.sleep(0.05)

    async def gate_worker(self, rnd: random.Random) -> None:
        """Send requests that must be rejected early."""
        while not self.over:
            self.turned_away += 1
            with contextlib.suppress(ConnectionError):
                await self.gate.turn(rnd)
        self.gate.drop()

    # ---- bystanders ------------------------------------------------------------------------

    async def watch_socket(self, socket: Socket) -> None:
        socket.send(garbage.message(1, _frame("CONNECT", cookie_string="", payload='"by1"')))
        socket.send(garbage.message(1, _frame("SUBSCRIBE", channel_name=CHANNEL)))
        async for data in socket.texts():
            for number in re.findall(rb'"payload":(\d+)', data):
                self._arrived(int(number), "WebSocket")

    async def watch_session(self, http: Http) -> None:
        _, text = await http.ask("POST", "/csp/handshake?du=5", b"")
        key = json.loads(text.strip(b"()"))["session"]
        lines = _frame("CONNECT", cookie_string="", payload='"by2"')
        lines += _frame("SUBSCRIBE", channel_name=CHANNEL)
        batch = json.dumps([[1, 1, base64.b64encode(lines).decode()]]).encode()
        await http.ask("POST", f"/csp/send?s={key}", batch)
        seen = 0
        while True:
            _, text = await http.ask("POST", f"/csp/comet?s={key}&a={seen}", b"")
            for packet, data in found(text):
                if packet > seen and (number := re.search(rb'"payload":(\d+)', data)):
                    self._arrived(int(number[1]), "CSP")
                seen = max(seen, packet)

    def _arrived(self, number: int, transport: str) -> None:
        at, left = self._pending[number]
        left.remove(transport)
        self.slowest = max(self.slowest, time.monotonic() - at)
        self.served += 1
        if not left:
            del self._pending[number]

    async def publish(self, http: Http, bystander: Socket) -> None:
        number = 0
        while True:
            self._pending[number] = (time.monotonic(), {"WebSocket", "CSP"})
            answer = await self.rest(http, "publish", channel_name=CHANNEL, payload=str(number))
            if answer.get("delivered") != 2:
                self.find(f"a publication reached {answer}")
            self.published, number = self.published + 1, number + 1
            bystander.send(garbage.message(10, b""))  # instead of answers to pings
            await asyncio.sleep(0.1)

    async def rest(self, http: Http, call: str, /, **form: str) -> dict[str, Any]:
        body = urlencode({"secret": SECRET, **form}).encode()
        _, text = await http.ask("POST", f"/rest/{call}", body)
        answer: dict[str, Any] = json.loads(text)[1]
        return answer

    # ---- the whole -------------------------------------------------------------------------

    async def run(self, pid: int) -> dict[str, Any]:
        """Send everything; return the figures."""
        began = time.monotonic()
        async with (
            Http.open(self.port, self.look) as rest,
            Http.open(self.port, self.look) as other,
            Socket.open(self.port, self.look) as socket,
        ):
            loop = asyncio.get_running_loop()
            watching = [
                loop.create_task(self.watch_socket(socket)),
                loop.create_task(self.watch_session(other)),
            ]
            await self._until(rest, socket, connections=2, channels=1)
            watching.append(loop.create_task(self.publish(rest, socket)))
            growth = loop.create_task(self._growth(pid))
            seeds = random.Random(self.seed)
            workers: list[Awaitable[None]] = [
                *(self.socket_worker(random.Random(seeds.random())) for _ in range(SOCKETS)),
                *(self.session_worker(random.Random(seeds.random())) for _ in range(SESSIONS)),
                self.junk_worker(random.Random(seeds.random())),
                *(self.gate_worker(random.Random(seeds.random())) for _ in range(GATES)),
            ]
            await asyncio.gather(*workers)
            watching.pop().cancel()
            await self._wait(lambda: not self._pending, "publications that did not arrive")
            async with Http.open(self.port, self.look) as last:
                info = await self._until(last, socket, connections=2, users=2)
                listed = await self.rest(last, "list_channels")
            ghosts = [c["name"] for c in listed["channels"] if c["subscribers"]]
            if ghosts != [CHANNEL]:
                self.find(f"ghosts in {ghosts}")
            for task in watching:
                if task.done():
                    self.find(f"a bystander was dropped: {task}")
                task.cancel()
            before, peak = await growth
        if peak - before > MAX_GROWTH:
            self.find(f"memory grew by {(peak - before) / 1_048_576:.0f} MiB")
        return {"seconds": time.monotonic() - began, "before": before, "peak": peak, **info}

    async def _until(self, http: Http, bystander: Socket, **wanted: int) -> dict[str, Any]:
        """Wait until the server reports the expected count; return its report."""
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            info = await self.rest(http, "get_server_info")
            if {name: info[name] for name in wanted} == wanted:
                return info
            if time.monotonic() > deadline:
                counts = {name: info[name] for name in wanted}
                self.find(f"ghosts: {counts} instead of {wanted}")
                return info
            bystander.send(garbage.message(10, b""))
            await asyncio.sleep(0.2)

    async def _wait(self, condition: Any, problem: str) -> None:
        try:
            await until(condition, patience=PATIENCE, pause=0.05)
        except TimedOut:
            self.find(f"{problem}: {self._pending}")

    async def _growth(self, pid: int) -> tuple[int, int]:
        """Return the memory of the server after a tenth of the input, and its later maximum."""
        shown = before = peak = 0
        while not self.over:
            await asyncio.sleep(0.5)
            size = memory(pid)["VmRSS"]
            if self.thrown * 10 < self.budget or not before:
                before = size
            peak = max(peak, size) if before != size else size
            if self.thrown * 10 // self.budget > shown:
                shown = self.thrown * 10 // self.budget
                print(f"{self.thrown:,} thrown", file=sys.stderr, flush=True)
        return before, max(peak, memory(pid)["VmRSS"])


def _connect(rnd: random.Random) -> bytes:
    return _frame("CONNECT", cookie_string="", payload=f'"fuzz{rnd.randrange(40)}"')


def _frame(name: str, **args: str) -> bytes:
    return json.dumps([1, name, args]).encode() + b"\r\n"


@contextlib.contextmanager
def _server(fuzz: Fuzz, log: Path) -> Iterator[int]:
    """Run the server; afterwards check its log and exit status.

    The site refuses some users, and on a busy machine their sessions would time out while the
    fuzzer still uses them. All other options have their defaults.
    """
    command = ["bench.server", "--port", str(fuzz.port), "--rest-secret", SECRET]
    command += ["--webhook-url", f"http://127.0.0.1:{fuzz.site}/hookbox", "--log-level", "INFO"]
    command += ["--connect-timeout", str(10 * PATIENCE)]
    site = ["bench.fuzz_site", "--port", str(fuzz.site), "--seed", str(fuzz.seed)]
    with log.open("wb") as output, python(*site, cpu=1, port=fuzz.site):
        with python(*command, cpu=0, port=fuzz.port, stderr=output, stdout=output) as process:
            yield process.pid
            if process.poll() is not None:
                fuzz.find(f"the server ended by itself: {process.returncode}")
        if process.returncode not in (0, -15):
            fuzz.find(f"the server ended with {process.returncode}")


def main() -> int:
    """Run the fuzzer, print the summary, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a run's input")
    parser.add_argument("--frames", type=int, default=1_000_000, help="frames and requests")
    parser.add_argument("--quick", action="store_true", help="20,000 of them, only for a look")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    fuzz = Fuzz(seed, 20_000 if options.quick else options.frames)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with _server(fuzz, log) as pid:
            figures = asyncio.run(fuzz.run(pid))
        with log.open(errors="replace") as text:
            lines = text.read().split("\n")
    bugs = [line for line in lines if re.search("Traceback|A bug|never retrieved", line)]
    for line in [line for line in lines if not line.isprintable() or "ERROR forged" in line[:20]]:
        fuzz.find(f"in the server's log, not escaped: {line!r}")
    missing, reports = asyncio.run(restarts(seed, 2 if options.quick else LIVES))
    for problem in missing:
        fuzz.find(f"written {problem}")
    for line in bugs[:5]:
        fuzz.find(f"in the server's log: {line.strip()}")
    mib, gate = 1_048_576, fuzz.gate
    print(
        f"frames on {fuzz.connections:,} connections  {fuzz.frames:,}\n"
        f"CSP requests                {fuzz.requests:,}\n"
        f"no HTTP at all              {fuzz.junk:,}\n"
        f"compressed, half, odd ends  {gate.compressed:,}, {gate.half:,}, {gate.closed:,}\n"
        f"Host, Origin, Sec-Fetch     {gate.pages:,}\n"
        f"seconds                     {figures['seconds']:.0f}\n"
        f"tracebacks                  {len(bugs)}\n"
        f"dead that should live       {sum('should live' in f for f in fuzz.findings)}\n"
        f"ghosts                      {sum('ghosts' in f for f in fuzz.findings)}\n"
        f"MiB when warm, and at most  {figures['before'] / mib:.1f}, {figures['peak'] / mib:.1f}\n"
        f"bystanders                  {fuzz.served} of {2 * fuzz.published} publications, "
        f"the slowest after {fuzz.slowest:.1f} s\n"
        f"restarts                    {reports}\n"
        f"findings                    {len(fuzz.findings)}"
    )
    return 1 if fuzz.findings else 0


if __name__ == "__main__":
    sys.exit(main())
