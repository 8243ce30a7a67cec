"""A server without sockets, for the tests of a site: real frames, real decisions, no network.

Everything above the transports is the real server. Connections are objects in memory, REST calls
are method calls, and webhooks are handed to a function instead of being sent over HTTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ..wire import batches
from ..wire.closing import NORMAL, Disconnect
from ..wire.engines import MEMORY
from ..wire.values import JSONObject, loads
from .app import Server
from .config import ServerConfig
from .connection import Connection, Handshake, Packet
from .metrics import Metrics
from .protocol import rtjp
from .site.explaining import explain, parse
from .site.outcomes import BadStatus
from .site.webhooks import Webhooks

#: Turns of the event loop without a webhook, after which nothing more happens by itself.
TURNS = 10
#: Seconds to wait for the answer to a frame.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """The site's answer to a webhook."""

    status: int
    headers: Mapping[str, str]
    body: bytes


#: Gets the name of a webhook, its body and its headers.
Site = Callable[[str, bytes, Mapping[str, str]], Awaitable[SiteAnswer]]


class DirectWebhooks(Webhooks):
    """Hands webhooks to a function."""

    def __init__(self, config: ServerConfig, metrics: Metrics, site: Site) -> None:
        super().__init__(config, metrics)
        self._site = site
        #: How many webhooks have no answer yet.
        self.in_flight = 0

    async def start(self) -> None:
        """Open no connections."""

    async def stop(self) -> None:
        """Close no connections."""

    async def _post(
        self, hook: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[object, tuple[str, ...]]:
        self.in_flight += 1
        try:
            answer = await self._site(hook, body, headers)
        finally:
            self.in_flight -= 1
        if accepts := answer.headers.get("X-Hookbox-Accepts", ""):
            self.accepted = frozenset(word.strip() for word in accepts.split(","))
        if answer.status != 200:
            location = answer.headers.get("Location", "")
            raise BadStatus(answer.status, explain(answer.status, location, "", len(body)))
        return parse(bytearray(answer.body), batches.MAX_DEPTH), ()


class MemoryConnection(Connection):
    """A client in the same process.

    Attributes:
        frames: The frames that it has received, as name and arguments.
        ended: Why it was closed, or None.

    """

    __slots__ = ("_last_id", "ending", "frames")

    transport = "websocket"

    def __init__(self, **terms: Any) -> None:
        super().__init__(**terms)
        self.frames: list[tuple[str, JSONObject]] = []
        self.ending: Disconnect | None = None
        self._last_id = 0

    def write(self, packet: Packet) -> None:
        """Keep the frames."""
        for line in packet.data.decode().split("\r\n"):
            if line:
                _id, name, args = cast(tuple[int, str, JSONObject], loads(line))
                self.frames.append((name, args))

    @property
    def unsent(self) -> int:
        """Nothing ever waits."""
        return 0

    def _end(self, disconnect: Disconnect) -> None:
        self.ending = disconnect

    async def ask(self, name: str, args: Mapping[str, object]) -> JSONObject | None:
        """Send a frame and wait for its answer; return the arguments of ERROR, or None.

        Raises:
            asyncio.TimeoutError: There was no answer.

        """
        self._last_id += 1
        number = self._last_id
        await self.receive(rtjp.frame(number, name, args))
        deadline = asyncio.get_running_loop().time() + PATIENCE
        seen = 0
        while True:
            for kind, answer in self.frames[seen:]:
                if kind in ("ACK", "ERROR") and answer.get("id") == number:
                    return answer if kind == "ERROR" else None
                if kind == "CONNECTED" and name == "CONNECT":
                    return None
            seen = len(self.frames)
            if self.closed:
                return {"msg": "The connection is closed.", "code": "closed"}
            if asyncio.get_running_loop().time() > deadline:
                raise asyncio.TimeoutError
            await asyncio.sleep(0.001)


class InProcessServer:
    """The server; all methods must be called in its event loop.

    Args:
        config: The configuration; addresses have no meaning.
        site: Answers webhooks.
        clock: Returns the time in seconds since the epoch.

    """

    def __init__(self, config: ServerConfig, site: Site, clock: Callable[[], float]) -> None:
        # Tests have nothing to do with a Redis that the settings may name, nor with the files of
        # the site's process.
        config = replace(config, engine=MEMORY, run_dir="")
        self._webhooks = DirectWebhooks(config, Metrics(clock()), site)
        self._server = Server(config, webhooks=self._webhooks, clock=clock)
        self._connections: list[MemoryConnection] = []
        # Only when asked to: a test must not be interrupted by webhooks that it has not caused.
        self._server.runtime.tasks.start(self._server.channels.durable.run(idle=math.inf))

    def connect(self, cookie: str = "", address: str = "", origin: str = "") -> MemoryConnection:
        """Open a connection, which must send CONNECT."""
        handshakes = self._server.clients.handshakes
        handshake = Handshake(
            cookie=cookie, remote_addr=address, user_agent="djhookbox.testing", origin=origin
        )
        connection = MemoryConnection(**handshakes.terms(handshake))
        handshakes.enter(connection)
        self._connections.append(connection)
        return connection

    async def rest(
        self, name: str, form: Mapping[str, str]
    ) -> tuple[bool, Mapping[str, object], int]:
        """Make a REST call; return success, the answer and the HTTP status.

        Raises:
            KeyError: There is no call of this name.

        """
        answer = await self._server.service.rest.perform(name, form)
        # No `settle()`: the site may call while the server waits for it.
        self._server.runtime.delivery.flush()
        return answer

    async def settle(self) -> None:
        """Wait until everything that was caused so far has happened.

        Work that waits for a time is not waited for: see `tick`.
        """
        quiet = 0
        while quiet < TURNS:
            is_busy = self._webhooks.in_flight or self._server.channels.durable.is_woken
            await asyncio.sleep(0.001 if is_busy else 0)
            quiet = 0 if is_busy else quiet + 1
        self._server.runtime.delivery.flush()
        await self._server.runtime.events.flush()

    async def tick(self) -> None:
        """Do what is due once a second, and what follows from it."""
        await self._server.tick()
        await self.settle()

    async def stop(self) -> None:
        """Close all connections, and report what has happened."""
        for connection in self._connections:
            connection.close(NORMAL)
        await self.settle()
        await self._server.runtime.tasks.finish(0)
