"""Limits on the sockets that carry requests: how long they may take, and how many may be open.

aiohttp waits without limit for a request, byte by byte, and for a client to read its answer.
Sockets that wait for a request are treated like connections that have not sent CONNECT.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from ..clients.unconnected import Unconnected
from .accepting import Acceptor

#: Timeout in seconds for a client that has stopped reading its answer.
ANSWER_SECONDS = 30.0
#: Seconds that a socket may be idle between requests.
IDLE_SECONDS = 75.0


class Socket(web.RequestHandler):
    """A client's socket, with the time limits that aiohttp lacks.

    Args:
        server: The server whose requests it handles.
        waiting: All sockets that wait for a request.
        kwargs: See aiohttp's `RequestHandler`.

    """

    __slots__ = ("_between", "_reader_timer", "_waiting", "unhurried")

    def __init__(self, server: web.Server, waiting: Unconnected, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._waiting = waiting
        #: Whether it waits for a further request, none of which has arrived yet.
        self._between = False
        self._reader_timer: asyncio.TimerHandle | None = None
        #: Set once its transport limits the bytes waiting for the client.
        self.unhurried = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, which must arrive in time."""
        super().connection_made(transport)
        self._wait(timed=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self._waiting.remove(self)
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Accept bytes; once a request has begun, the rest of it must arrive in time."""
        if self._between and data:  # aiohttp itself passes b"" to resume reading
            self._wait(timed=True)
        super().data_received(data)

    def requested(self) -> None:
        """Record that a request has arrived; its handler limits its body."""
        self._between = False
        self._waiting.remove(self)

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Record that a request has been answered: aiohttp calls this after each request."""
        super().log_access(request, response, time)
        if self.transport is not None and not self.transport.is_closing():
            self._wait(timed=False)  # aiohttp limits the keep-alive time
            self._between = True

    def pause_writing(self) -> None:
        """Start the timer for a client that does not read its answer."""
        super().pause_writing()
        if not self.unhurried and self._reader_timer is None:
            loop = asyncio.get_running_loop()
            self._reader_timer = loop.call_later(ANSWER_SECONDS, self._drop)

    def resume_writing(self) -> None:
        """Stop the timer: the client has read."""
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
        self._waiting.add(self, address, self._make_room, timed=timed)

    def _make_room(self) -> None:
        """Close the socket, unless it was idle and its next request is about to be read.

        Clients repeat a request on a new connection if this one was closed before; only they can
        know that for sure, so it should not happen.
        """
        if self._between and self.transport is not None and _has_unread(self.transport):
            self._wait(timed=True)
        else:
            self._drop()

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _has_unread(transport: asyncio.Transport) -> bool:
    """Whether bytes, or the end, of the client have arrived and not been read."""
    unread = select.poll()
    unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(unread.poll(0))


class SocketSite(web.SockSite):
    """A site that accepts sockets with these limits.

    Args:
        runner: The runner, already set up.
        listener: A bound socket.
        make: Creates the protocol of a socket.

    """

    def __init__(
        self,
        runner: web.AppRunner,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        super().__init__(runner, listener, backlog=1024)
        self._acceptor = Acceptor(self._sock, make)

    async def start(self) -> None:
        """Start accepting."""
        await web.BaseSite.start(self)
        self._acceptor.start()

    async def stop(self) -> None:
        """Stop accepting; sockets that have been accepted stay open."""
        self._acceptor.stop()
        await super().stop()


@web.middleware
async def gate(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Record each request at its socket, and refuse bodies with a content encoding."""
    if isinstance(request.protocol, Socket):
        request.protocol.requested()
    encodings = ",".join(request.headers.getall("Content-Encoding", ())).lower().split(",")
    if not {encoding.strip() for encoding in encodings} <= {"", "identity"}:
        # A few bytes may decompress to gigabytes (RFC 9110, section 15.5.16).
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
        return web.Response(status=400)  # nobody receives this: the client has gone
