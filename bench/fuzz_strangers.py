"""Clients that do not connect, against a server whose limits all have their defaults.

They open sockets, WebSockets and CSP sessions from many addresses, and send nothing, half a
request, or anything but CONNECT. Meanwhile a bystander must stay connected, new visitors must get
in, and whoever has not connected must be gone in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from djhookbox.server.config import ServerConfig
from tests.ports import free_port
from tests.stand_ins.upgrade import upgrade

from . import garbage
from .fuzz_clients import PATIENCE, Gone, Http, Socket, frame, rest
from .load import ORIGIN
from .processes import SECRET, python
from .procfs import memory

LIMITS = ServerConfig()
#: Strangers that are open at the same time, of which the server keeps only some.
CROWD = 2 * LIMITS.max_unconnected
#: Seconds for which more strangers come; in each, everybody's time is over at least once.
SECONDS = 3 * LIMITS.connect_timeout
#: Connections of one address, in addition to those that it may have.
TOO_MANY = 50
#: Bytes by which the server may grow for all of them.
MAX_GROWTH = 96 * 1_048_576

Open = Callable[[random.Random], bytes]


def _upgrade(rnd: random.Random) -> bytes:
    return upgrade(ORIGIN, {"X-Forwarded-For": _address(rnd)})


def _address(rnd: random.Random) -> str:
    if rnd.random() < 0.3:
        return f"2001:db8:{rnd.randrange(9)}::{rnd.randrange(1, 65_535):x}"
    return f"203.0.{rnd.randrange(3)}.{rnd.randrange(255)}"


def _session(rnd: random.Random) -> bytes:
    head = f"Host: 127.0.0.1\r\nOrigin: {ORIGIN}\r\nX-Forwarded-For: {_address(rnd)}\r\n"
    return f"POST /csp/handshake HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n".encode()


def _other_frames(rnd: random.Random) -> bytes:
    lines = b"".join(
        line + b"\r\n" for line in garbage.lines(rnd, 20).split(b"\r\n") if b"CONNECT" not in line
    )
    return _upgrade(rnd) + garbage.messages(rnd, lines)


def _pings(rnd: random.Random) -> bytes:
    return _upgrade(rnd) + garbage.message(9, b"x") * rnd.randrange(5)


def _half(rnd: random.Random) -> bytes:
    whole = rnd.choice([_upgrade, _session])(rnd)
    return whole[: rnd.randrange(len(whole) - 2)]


#: What strangers send, by name.
KINDS: dict[str, Open] = {
    "silent": lambda rnd: b"", "half": _half, "WebSocket": _upgrade, "pings": _pings,
    "frames": _other_frames, "session": _session,
}  # fmt: skip
#: Those that the server must have closed in time; sessions share kept-alive sockets.
CLOSED = ("silent", "half", "WebSocket", "pings", "frames")


class Strangers:
    """One crowd; `findings` says what was wrong with the server."""

    def __init__(self, port: int, rnd: random.Random) -> None:
        self._port = port
        self._rnd = rnd
        self._tasks: set[asyncio.Task[None]] = set()
        self.findings: list[str] = []
        self.came: Counter[str] = Counter()
        self.visitors = self.most = 0
        self.longest = self.slowest = 0.0
        self._numbers = iter(range(10**9, 2 * 10**9))

    def look(self, data: bytes, where: str) -> None:
        """Check for output that a client must never receive."""
        if b"Traceback" in data or b"Internal error" in data:
            self.findings.append(f"{where} got {data[:300]!r}")

    # ---- strangers ---------------------------------------------------------------------------

    def _come(self, kind: str, local: str | None = None) -> None:
        self.came[kind] += 1
        task = asyncio.get_running_loop().create_task(self._stay(kind, local))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stay(self, kind: str, local: str | None) -> None:
        address = None if local is None else (local, 0)
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._port, local_addr=address
            )
        except OSError:
            return  # the server has closed it already
        began = time.monotonic()
        try:
            writer.write(KINDS[kind](self._rnd))
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    self.look(data, f"a stranger ({kind})")
            if kind in CLOSED:
                self.longest = max(self.longest, time.monotonic() - began)
        finally:
            writer.transport.abort()

    async def _many_of_one_address(self, local: str) -> None:
        """Open more than one address may have; the oldest must be closed at once."""
        before = len(self._tasks)
        for _ in range(LIMITS.max_unconnected_per_address + TOO_MANY):
            self._come("WebSocket", local)
            await asyncio.sleep(0.005)
        allowed = before + LIMITS.max_unconnected_per_address
        end = time.monotonic() + LIMITS.connect_timeout / 2
        while len(self._tasks) > allowed and time.monotonic() < end:
            await asyncio.sleep(0.05)
        if len(self._tasks) > allowed:
            self.findings.append(f"{len(self._tasks) - before} strangers of one address stay")

    # ---- the others --------------------------------------------------------------------------

    async def _visit(self) -> None:
        """Connect as a page does."""
        began = time.monotonic()
        try:
            async with Socket.open(self._port, self.look) as socket:
                await self._greet(socket, "by2")
        except (Gone, OSError, AssertionError, asyncio.IncompleteReadError) as error:
            self.findings.append(f"a visitor does not get in: {error!r}")
        self.visitors += 1
        self.slowest = max(self.slowest, time.monotonic() - began)

    async def _greet(self, socket: Socket, name: str) -> None:
        socket.send(garbage.message(1, frame("CONNECT", cookie_string="", payload=f'"{name}"')))
        await socket.expect(b'"CONNECTED"', PATIENCE)
        await self._alive(socket)

    async def _alive(self, socket: Socket) -> None:
        number = next(self._numbers)
        socket.send(garbage.message(1, b'\r\n[%d,"STILL THERE?",{}]\r\n' % number))
        await socket.wait_for(number, PATIENCE)

    async def run(self, pid: int, seconds: float) -> dict[str, Any]:
        """Let strangers come for some seconds; return the figures."""
        async with (
            Socket.open(self._port, self.look) as bystander,
            Http.open(self._port, self.look) as caller,
        ):
            await self._greet(bystander, "by1")
            before = memory(pid)["VmRSS"]
            await self._many_of_one_address("127.0.0.2")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for _ in range(min(100, CROWD - len(self._tasks))):
                    self._come(self._rnd.choice(list(KINDS)))
                await asyncio.sleep(0.05)
                await self._visit()
                await self._alive(bystander)
                info = await rest(caller, "get_server_info")
                self.most = max(self.most, info["connections"])
            peak = memory(pid)["VmRSS"]
            await self._empty(caller, bystander)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.most > LIMITS.max_unconnected + 2:
            self.findings.append(f"{self.most} connections, though nearly nobody has connected")
        # Dropping takes a second; the rest is for a busy machine.
        if self.longest > LIMITS.connect_timeout + PATIENCE / 2:
            self.findings.append(f"a stranger stayed for {self.longest:.0f} s")
        if peak - before > MAX_GROWTH:
            self.findings.append(f"strangers take up {(peak - before) / 1_048_576:.0f} MiB")
        return {"growth": peak - before}

    async def _empty(self, caller: Http, bystander: Socket) -> None:
        """Wait until only the bystander is left, while the strangers still wait."""
        end = time.monotonic() + LIMITS.connect_timeout + PATIENCE
        while True:
            info = await rest(caller, "get_server_info")
            if info["connections"] == info["users"] == 1:
                break
            if time.monotonic() > end:
                self.findings.append(f"{info['connections']} connections stay, of 1 user")
                break
            await asyncio.sleep(0.2)
        await self._alive(bystander)


def strangers(seed: int, *, quick: bool = False) -> tuple[list[str], str]:
    """Run a server among strangers; return the faults, and a line for the summary."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, site = free_port(), free_port()
    crowd = Strangers(port, random.Random(seed))
    print("the strangers come", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["bench.server", "--port", str(port), "--rest-secret", SECRET]
        command += ["--webhook-url", f"http://127.0.0.1:{site}/hookbox"]
        application = ["bench.fuzz_site", "--port", str(site), "--seed", str(seed)]
        with (
            log.open("wb") as output,
            python(*application, cpu=1, port=site),
            python(*command, cpu=0, port=port, stderr=output, stdout=output) as process,
        ):
            seconds = LIMITS.connect_timeout if quick else SECONDS
            figures = asyncio.run(crowd.run(process.pid, seconds))
            if process.poll() is not None:
                crowd.findings.append(f"the server ended by itself: {process.returncode}")
        text = log.read_text(errors="replace")
    if re.search("Traceback|Unexpected error|never retrieved", text):
        crowd.findings.append(f"strangers in the server's log: {text[:500]}")
    summary = (
        f"{sum(crowd.came.values()):,} strangers, at most {crowd.most:,} connections, the longest "
        f"for {crowd.longest:.1f} s, {figures['growth'] / 1_048_576:.0f} MiB; "
        f"{crowd.visitors} visitors, the slowest in {crowd.slowest:.1f} s"
    )
    return crowd.findings, summary
