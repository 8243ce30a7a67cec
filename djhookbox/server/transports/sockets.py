"""The sockets that requests come on: how long they may take, and how many there may be.

aiohttp waits for a request as long as it likes, byte by byte, and for a reader of its answer for
ever. Sockets that wait for a request are held like connections that have not sent CONNECT.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..clients.unconnected import Unconnected
from .accepting import Acceptor

#: Seconds in which an answer must be read on by its client.
ANSWER_SECONDS = 30.0


class Socket(web.RequestHandler):
    """A client's socket, with the time limits that aiohttp lacks.

    Args:
        server: Whose requests it handles.
        waiting: All sockets that wait for a request.
        kwargs: See aiohttp's `RequestHandler`.

    """

    __slots__ = ("_between", "_reader_timer", "_waiting", "unhurried")

    def __init__(self, server: web.Server, waiting: Unconnected, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._waiting = waiting
        #: Whether it waits for a further request, of which nothing has come yet.
        self._between = False
        self._reader_timer: asyncio.TimerHandle | None = None
        #: Set once its transport bounds what waits for the client.
        self.unhurried = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, which has to come in time."""
        super().connection_made(transport)
        self._wait(timed=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self._waiting.remove(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in bytes; once a request has begun the rest of it has to come in time."""
        if self._between:
            self._wait(timed=True)
        super().data_received(data)

    def requested(self) -> None:
        """Note that a request has come; who answers it limits its body."""
        self._between = False
        self._waiting.remove(self)

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Note that a request has been answered: aiohttp calls this after each."""
        super().log_access(request, response, time)
        if self.transport is not None and not self.transport.is_closing():
            self._wait(timed=False)  # aiohttp limits how long it is kept alive
            self._between = True

    def pause_writing(self) -> None:
        """Give a client that does not read its answer some time to do so."""
        super().pause_writing()
        if not self.unhurried and self._reader_timer is None:
            loop = asyncio.get_running_loop()
            self._reader_timer = loop.call_later(ANSWER_SECONDS, self._drop)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _wait(self, *, timed: bool) -> None:
        self._between = False
        peer = self.peername
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._waiting.add(self, address, self._drop, timed=timed)

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class SocketSite(web.SockSite):
    """Accepts sockets.

    Args:
        runner: Set up.
        listener: Bound.
        waiting: All sockets that wait for a request.
        kwargs: See aiohttp's `RequestHandler`.

    """

    def __init__(
        self, runner: web.AppRunner, listener: socket.socket, waiting: Unconnected, **kwargs: Any
    ) -> None:
        super().__init__(runner, listener, backlog=1024)
        self._waiting = waiting
        self._kwargs = kwargs
        self._acceptor: Acceptor | None = None

    async def start(self) -> None:
        """Begin to accept."""
        await web.BaseSite.start(self)
        loop = asyncio.get_running_loop()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner has not been set up")
        self._acceptor = Acceptor(
            self._sock, lambda: Socket(server, self._waiting, loop=loop, **self._kwargs)
        )
        self._acceptor.start()

    async def stop(self) -> None:
        """Accept no more; what has been accepted goes on."""
        if self._acceptor is not None:
            await self._acceptor.stop()
        await super().stop()


@web.middleware
async def gate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Note each request with its socket, and refuse bodies that would have to be unpacked."""
    if isinstance(request.protocol, Socket):
        request.protocol.requested()
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        # A few bytes can be packed gigabytes (RFC 9110, section 15.5.16).
        return web.Response(
            status=415,
            headers={"Accept-Encoding": "identity"},
            text="Compressed requests are not accepted.\n",
        )
    try:
        return await handler(request)
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        return web.Response(status=400)  # to nobody: the client has gone meanwhile
