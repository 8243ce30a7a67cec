"""The WebSocket transport: RTJP in messages, for sockets whose handshake is over.

Handshakes are answered by the front, or by `serve` if aiohttp has read them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ...wire.closing import ABNORMAL, NORMAL, TOO_SLOW, Disconnect
from ...wire.loglines import printable
from ..connection import Connection, Packet
from ..protocol import incoming, rtjp, websocket
from ..protocol.incoming import Message, Reader, Violation
from ..protocol.websocket import accept_key

logger = logging.getLogger("djhookbox.server")

#: Timeout in seconds for a client's answer to a close frame.
CLOSE_SECONDS = 1.0
#: Minimum of the message size limit, in bytes; a message may contain many frames.
MIN_MESSAGE_SIZE = 1_048_576


class WebSocketConnection(Connection, asyncio.Protocol):
    """A client on a WebSocket: the protocol of its socket once the handshake is over.

    Args:
        transport: The socket's transport; prebuilt frames are written to it directly.
        max_unsent: Bytes that may wait for a client that does not read.
        kwargs: See `Connection`.

    """

    __slots__ = (
        "_gathered", "_heard", "_is_read", "_limit", "_reader", "_reading_paused", "_shut",
        "_transport",
    )  # fmt: skip

    transport = "websocket"

    def __init__(self, transport: asyncio.Transport, max_unsent: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._transport = transport
        self._limit = max_unsent
        self._reader = Reader(max(MIN_MESSAGE_SIZE, 2 * kwargs["max_frame_size"]))
        #: Whether nothing is written any more, whether reading waits, and whether it is over.
        self._shut = False
        self._reading_paused = False
        self._is_read = False
        self._heard = True
        #: What leaves at the end of the turn.
        self._gathered: list[bytes] | None = None

    def write(self, packet: Packet) -> None:
        """Send bytes, unless the client is so slow that too many are waiting already."""
        if self._shut:
            return
        transport = self._transport
        try:
            gathered = self._gathered
            waiting = transport.get_write_buffer_size() if gathered is None else self.unsent
            if waiting <= self._limit + self._owed:
                if gathered is not None:
                    gathered.append(packet.websocket)
                elif self._waiting:  # the answers to frames that came together leave together
                    self._gathered = [packet.websocket]
                    asyncio.get_running_loop().call_soon(self._write_gathered)
                else:
                    transport.write(packet.websocket)
                    if waiting:
                        self._all_unsent.wrote(self, len(packet.websocket))
                if packet.snapshot:
                    self._settle(waiting, self._limit)
                    self._owe(packet, self._limit)
                return
        except RuntimeError:
            # uvloop: the socket is lost, which the reader will notice in its next turn.
            self._shut = True
            return
        # Not immediately: the caller is iterating over the channel's audience.
        self._shut = True
        asyncio.get_running_loop().call_soon(self.close, TOO_SLOW)

    @property
    def unsent(self) -> int:
        """Number of bytes waiting for the client in this process."""
        try:
            waiting = self._transport.get_write_buffer_size()
        except RuntimeError:  # uvloop: the socket is lost
            return 0
        return waiting if self._gathered is None else waiting + sum(map(len, self._gathered))

    def ping(self) -> bool:
        """Send a ping; return whether the client has been active since the last one."""
        heard, self._heard = self._heard or self.paused, False
        self._control(websocket.PING)
        if self._owed and not (self._shut or self._transport.is_closing()):
            self._settle(self._transport.get_write_buffer_size(), self._limit)
        return heard

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered and not (self._shut or self._transport.is_closing()):
            data = b"".join(gathered)
            try:
                waiting = self._transport.get_write_buffer_size()
                self._transport.write(data)
                if waiting:
                    self._all_unsent.wrote(self, len(data))
            except RuntimeError:  # uvloop: the socket is lost
                self._shut = True

    def _control(self, frame: bytes) -> None:
        self._write_gathered()
        if not (self._shut or self._transport.is_closing()):
            self._transport.write(frame)

    def _end(self, disconnect: Disconnect) -> None:
        self._write_gathered()
        self._shut = True
        if disconnect is ABNORMAL or self._transport.is_closing():
            self._transport.abort()
            return
        if self.acks and disconnect.spread:
            # A close frame has no room for it. A client that asked for ACK frames obeys this one.
            frame = rtjp.encode("DISCONNECT", disconnect.args())
            self._transport.write(websocket.text(frame))
        self._transport.write(websocket.close(disconnect.code, disconnect.reason))
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        # Still open: the client has not even read the close frame. Without this, the kernel would
        # keep its buffer for minutes for a client that never reads, and the peer learn nothing.
        if not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # ---- from the client -------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read frames; the transport delivers none while reading is paused."""
        self._heard = True
        self._reader.feed(data)
        if not self._reading_paused:
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notice that the socket is gone."""
        self._is_read = True
        self._after_the_first_frame(self._gone)

    def _read(self) -> None:
        while not self._is_read:
            try:
                message = self._reader.take()
                if message is None:
                    return
                unfinished = self._received(message)
            except Violation as violation:
                self._fail(violation)
                return
            if unfinished is not None:
                self._reading_paused = True
                self._transport.pause_reading()
                unfinished.add_done_callback(self._read_on)
                return

    def _read_on(self, unfinished: asyncio.Task[None]) -> None:
        self._reading_paused = False
        if not unfinished.cancelled() and (error := unfinished.exception()) is not None:
            logger.error("Unexpected error: connection %s", self.id, exc_info=error)
        self._read()
        if not self._reading_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _received(self, message: Message) -> asyncio.Task[None] | None:
        """Handle a message; return a task if nothing may be read until it is done."""
        kind = message.kind
        if kind == incoming.TEXT:
            return self.accept(message.text)
        if kind == incoming.BINARY:
            # Message boundaries have no meaning, but a correct client never splits a character
            # across messages. Anything but UTF-8 becomes a line that is not JSON, and gets an
            # ERROR (D07).
            return self.accept(message.data.decode("utf-8", "replace"))
        if kind == incoming.PING:
            self._control(websocket.pong(message.data))
        elif kind == incoming.CLOSE:
            code, reason = incoming.close_code(message.data)
            self._is_read = True
            self._after_the_first_frame(self._left_by_client, code, reason)
        return None

    def _after_the_first_frame(self, action: Callable[..., None], *arguments: object) -> None:
        # Pages often publish just before they close: the frame is begun in its turn first.
        asyncio.get_running_loop().call_soon(action, *arguments)

    def _left_by_client(self, code: int, reason: str) -> None:
        self.lost(Disconnect(1000 if code == incoming.NO_CODE else code, printable(reason)))
        self._bid_farewell(NORMAL.code if code == incoming.NO_CODE else code)

    def _fail(self, violation: Violation) -> None:
        self._is_read = True
        self.lost(Disconnect(violation.code, printable(violation.reason, 120)))
        self._bid_farewell(violation.code)

    def _bid_farewell(self, code: int) -> None:
        self._control(websocket.close(code))
        self._shut = True
        self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def _gone(self) -> None:
        self.lost(ABNORMAL)
        self._shut = True


def upgrade_problem(request: web.Request) -> web.Response | None:
    """Return an error response to a request that is not a WebSocket handshake, else None."""
    if request.headers.get("Upgrade", "").lower().strip() != "websocket":
        return web.Response(status=400, text="This address is for WebSocket connections.\n")
    if request.headers.get("Sec-WebSocket-Version", "") not in ("13", "8"):
        versions = {"Sec-WebSocket-Version": "8, 13"}  # RFC 6455, section 4.4
        return web.Response(status=426, headers=versions, text="Unsupported version.\n")
    return None


async def serve(
    request: web.Request, make: Callable[[asyncio.Transport], WebSocketConnection]
) -> web.StreamResponse:
    """Answer an admitted handshake that aiohttp has read; serve the connection until it ends."""
    problem = upgrade_problem(request)
    if problem is not None:
        return problem
    handshake = web.WebSocketResponse()
    if not handshake.can_prepare(request):
        await handshake.prepare(request)  # raises the error response
    response = web.StreamResponse(status=101)
    response.headers.update(
        {
            "Upgrade": "websocket",
            "Connection": "upgrade",
            "Sec-WebSocket-Accept": accept_key(request.headers["Sec-WebSocket-Key"]),
        }
    )
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        return response
    connection = make(transport)
    forwarding = _Forwarding(connection)
    request.protocol.set_parser(forwarding)  # type: ignore[arg-type] # only these two methods
    request.protocol.keep_alive(False)
    await forwarding.ended
    return response


class _Forwarding:
    """Passes bytes on from aiohttp, as its WebSocketReader does.

    Attributes:
        ended: Set once aiohttp's connection is lost.

    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Accept bytes; the end is never known from these."""
        self._connection.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        """Notice that the socket is gone."""
        self._connection.connection_lost(None)
        if not self.ended.done():
            self.ended.set_result(None)
