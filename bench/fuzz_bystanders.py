"""Bystanders, one on each transport, who must receive every publication in between."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable

from . import garbage
from .fuzz_clients import Http, Socket, found, frame, rest
from .fuzz_site import CHANNEL


class Bystanders:
    """Receive what is published, and record when.

    Args:
        find: Records a fault.

    """

    def __init__(self, find: Callable[[str], None]) -> None:
        self._find = find
        self.published = self.served = 0
        self.slowest = 0.0
        #: For each publication, its time and the transports that have not received it.
        self.pending: dict[int, tuple[float, set[str]]] = {}

    async def watch_socket(self, socket: Socket) -> None:
        """Receive publications over a WebSocket."""
        socket.send(garbage.message(1, frame("CONNECT", cookie_string="", payload='"by1"')))
        socket.send(garbage.message(1, frame("SUBSCRIBE", channel_name=CHANNEL)))
        async for data in socket.texts():
            for number in re.findall(rb'"payload":(\d+)', data):
                self._arrived(int(number), "WebSocket")

    async def watch_session(self, http: Http) -> None:
        """Receive publications over CSP."""
        _, text = await http.ask("POST", "/csp/handshake?du=5", b"")
        key = json.loads(text.strip(b"()"))["session"]
        lines = frame("CONNECT", cookie_string="", payload='"by2"')
        lines += frame("SUBSCRIBE", channel_name=CHANNEL)
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
        at, left = self.pending[number]
        left.remove(transport)
        self.slowest = max(self.slowest, time.monotonic() - at)
        self.served += 1
        if not left:
            del self.pending[number]

    async def publish(self, http: Http, bystander: Socket) -> None:
        """Publish ten numbers a second."""
        number = 0
        while True:
            self.pending[number] = (time.monotonic(), {"WebSocket", "CSP"})
            answer = await rest(http, "publish", channel_name=CHANNEL, payload=str(number))
            if answer.get("delivered") != 2:
                self._find(f"a publication reached {answer}")
            self.published, number = self.published + 1, number + 1
            bystander.send(garbage.message(10, b""))  # instead of answers to pings
            await asyncio.sleep(0.1)
