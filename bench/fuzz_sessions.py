"""Sessions of CSP: random and mutated requests, and what the server must have made of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from djhookbox.server.protocol.csp import BadBatch, Inbox, parse_batch

from . import garbage
from .fuzz_clients import PATIENCE, Gone, Http, Look, connect, found


class Run(Protocol):
    """What a session needs of the run that it belongs to."""

    port: int
    connections: int
    requests: int
    numbers: Iterator[int]
    look: Look
    find: Callable[[str], None]

    @property
    def over(self) -> bool:
        """Whether enough has been sent."""


class Sessions:
    """Sends requests of sessions; what it finds is recorded by the run."""

    def __init__(self, fuzz: Run) -> None:
        self._fuzz = fuzz

    async def worker(self, rnd: random.Random) -> None:
        """Send requests of one session after another."""
        while not self._fuzz.over:
            self._fuzz.connections += 1
            try:
                async with Http.open(self._fuzz.port, self._fuzz.look) as http:
                    await self._session(rnd, http)
            except Gone as error:
                self._fuzz.find(f"CSP: {error}")

    async def _session(self, rnd: random.Random, http: Http) -> None:
        opening = garbage.Request("POST", "handshake", [("du", "0")])
        while rnd.random() < 0.3:
            name = rnd.choice(["rp", "rs", "ct", "ps", "p", "bp", "bs", "se", "is", "g", "i"])
            opening.query.append((name, rnd.choice(garbage.VARIABLES[name])))
        _, text = await self._ask(http, opening, "")
        key = re.search(rb'"session": ?"([0-9a-f]{32})"', text)
        if key is None:
            return self._fuzz.find(f"no session: {text[:200]!r}")
        mirror = Inbox()  # what the server must have made of it
        batch = json.dumps(garbage.packets(rnd, 1, connect(rnd))).encode()
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
            if self._fuzz.over:
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
        self._fuzz.requests += 1
        status, text = await http.ask(request.method, request.target(key), request.body)
        if status not in (200, 400, 404, 405, 413, 429):
            self._fuzz.find(f"status {status} for {request}: {text[:200]!r}")
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
        number = next(self._fuzz.numbers)
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
        self._fuzz.find(f"a CSP session that should live: status {status}, {text[:200]!r}")

    async def _ended(self, http: Http, key: str) -> None:
        """Check that a session reports its end by the client and then no longer exists."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            query = [("s", "KEY"), ("du", "0")]
            status, text = await self._ask(http, garbage.Request("POST", "comet", query), key)
            if status == 404 or re.search(rb", ?0, ?null\]", text):
                return
            await asyncio.sleep(0.01)
        self._fuzz.find(f"a CSP session that should have ended: {text[:200]!r}")

    async def _dropped(self, target: str) -> None:
        """Send a request and disconnect before it is answered."""
        async with Http.open(self._fuzz.port, self._fuzz.look) as http:
            http.start("POST", target, b"")
            await asyncio.sleep(0)
