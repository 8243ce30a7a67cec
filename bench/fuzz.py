"""Send random and mutated input to a real server: `python -m bench.fuzz [--seed N]`.

Frames are sent over WebSockets, batches and all other requests over CSP, and garbage to the bare
port; the site also answers with garbage. At the same time, two bystanders, one on each transport,
must receive every publication. The exit status is 1 if anything is found.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.stand_ins.waiting import TimedOut, until

from . import garbage
from .fuzz_bystanders import Bystanders
from .fuzz_clients import PATIENCE, Gone, Http, Socket, connect, rest
from .fuzz_gate import Gate
from .fuzz_restarts import restarts
from .fuzz_sessions import Sessions
from .fuzz_site import CHANNEL
from .fuzz_strangers import strangers
from .processes import SECRET, python
from .procfs import memory

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
        self.findings: list[str] = []
        self.port = free_port()
        self.gate = Gate(self.port, self.look, self.find)
        self.sessions = Sessions(self)
        self.bystanders = Bystanders(self.find)
        self.turned_away = 0
        self.site = free_port()
        self.numbers = iter(range(10**9, 2 * 10**9))

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
        socket.send(garbage.message(1, connect(rnd)))
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
            number = next(self.numbers)
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
        number = next(self.numbers)
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

    # ---- neither ---------------------------------------------------------------------------

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

    # ---- the whole -------------------------------------------------------------------------

    async def run(self, pid: int) -> dict[str, Any]:
        """Send everything; return the figures."""
        began = time.monotonic()
        async with (
            Http.open(self.port, self.look) as caller,
            Http.open(self.port, self.look) as other,
            Socket.open(self.port, self.look) as socket,
        ):
            loop = asyncio.get_running_loop()
            watching = [
                loop.create_task(self.bystanders.watch_socket(socket)),
                loop.create_task(self.bystanders.watch_session(other)),
            ]
            await self._until(caller, socket, connections=2, channels=1)
            watching.append(loop.create_task(self.bystanders.publish(caller, socket)))
            growth = loop.create_task(self._growth(pid))
            seeds = random.Random(self.seed)
            workers: list[Awaitable[None]] = [
                *(self.socket_worker(random.Random(seeds.random())) for _ in range(SOCKETS)),
                *(self.sessions.worker(random.Random(seeds.random())) for _ in range(SESSIONS)),
                self.junk_worker(random.Random(seeds.random())),
                *(self.gate_worker(random.Random(seeds.random())) for _ in range(GATES)),
            ]
            await asyncio.gather(*workers)
            watching.pop().cancel()
            await self._wait(
                lambda: not self.bystanders.pending, "publications that did not arrive"
            )
            async with Http.open(self.port, self.look) as last:
                info = await self._until(last, socket, connections=2, users=2)
                listed = await rest(last, "list_channels")
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
            info = await rest(http, "get_server_info")
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
            self.find(f"{problem}: {self.bystanders.pending}")

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


@contextlib.contextmanager
def _server(fuzz: Fuzz, log: Path) -> Iterator[int]:
    """Run the server; afterwards check its log and exit status.

    The site refuses some users, and on a busy machine their sessions would time out while the
    fuzzer still uses them. All other options have their defaults; `fuzz_strangers` leaves this one
    alone too.
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
    parser.add_argument("--frames", type=int, help="frames and requests (1,000,000)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="only for a look: 20,000 of them, strangers come for 10 seconds",
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    fuzz = Fuzz(seed, options.frames or (20_000 if options.quick else 1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with _server(fuzz, log) as pid:
            figures = asyncio.run(fuzz.run(pid))
        with log.open(errors="replace") as text:
            lines = text.read().split("\n")
    bugs = [line for line in lines if re.search("Traceback|Unexpected error|never retrieved", line)]
    for line in [line for line in lines if not line.isprintable() or "ERROR forged" in line[:20]]:
        fuzz.find(f"in the server's log, not escaped: {line!r}")
    missing, reports = asyncio.run(restarts(seed, LIVES))
    for problem in missing:
        fuzz.find(f"written {problem}")
    problems, crowd = strangers(seed, quick=options.quick)
    for problem in problems:
        fuzz.find(problem)
    for line in bugs[:5]:
        fuzz.find(f"in the server's log: {line.strip()}")
    mib, gate, seen = 1_048_576, fuzz.gate, fuzz.bystanders
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
        f"bystanders                  {seen.served} of {2 * seen.published} publications, "
        f"the slowest after {seen.slowest:.1f} s\n"
        f"not connected               {crowd}\n"
        f"restarts                    {reports}\n"
        f"findings                    {len(fuzz.findings)}"
    )
    return 1 if fuzz.findings else 0


if __name__ == "__main__":
    sys.exit(main())
