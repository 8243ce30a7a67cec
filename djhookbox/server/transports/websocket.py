"""The WebSocket transport: aiohttp implements the protocol, and this module carries RTJP."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from ...wire.closing import ABNORMAL, NORMAL, TOO_SLOW, Disconnect
from ...wire.loglines import printable
from ..clients.connection import Connection, Packet
from ..protocol import rtjp, websocket

#: Timeout in seconds for a client's answer to a close frame.
CLOSE_SECONDS = 1.0
#: Minimum of the message size limit, in bytes; a message may contain many frames.
MIN_MESSAGE_SIZE = 1_048_576


class WebSocketConnection(Connection):
    """A client on a WebSocket.

    Args:
        transport: The socket's transport; prebuilt frames are written to it directly.
        max_unsent: Bytes that may wait for a client that does not read.
        kwargs: See `Connection`.

    """

    __slots__ = ("_heard", "_limit", "_shut", "_transport")

    transport = "websocket"

    def __init__(self, transport: asyncio.Transport, max_unsent: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._transport = transport
        self._limit = max_unsent
        self._shut = False
        self._heard = True

    def write(self, packet: Packet) -> None:
        """Send bytes, unless the client is so slow that too many are waiting already."""
        if self._shut:
            return
        transport = self._transport
        try:
            waiting = transport.get_write_buffer_size()
            if waiting <= self._limit + self._owed:
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
            return self._transport.get_write_buffer_size()
        except RuntimeError:  # uvloop: the socket is lost
            return 0

    def ping(self) -> bool:
        """Send a ping; return whether the client has been active since the last one."""
        heard, self._heard = self._heard or self.paused, False
        self._control(websocket.PING)
        if self._owed and not (self._shut or self._transport.is_closing()):
            self._settle(self._transport.get_write_buffer_size(), self._limit)
        return heard

    def _control(self, frame: bytes) -> None:
        if not (self._shut or self._transport.is_closing()):
            self._transport.write(frame)

    def _end(self, disconnect: Disconnect) -> None:
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

    async def serve(self, response: web.WebSocketResponse) -> None:
        """Read until the client has gone; then the connection is closed."""
        while True:
            message = await response.receive()
            self._heard = True
            if message.type is WSMsgType.TEXT:
                await self.receive(message.data)
            elif message.type is WSMsgType.BINARY:
                await self._receive_binary(message.data)
            elif message.type is WSMsgType.PING:
                self._control(websocket.pong(message.data))
            elif message.type is not WSMsgType.PONG:
                break
        self._finish(message)

    async def _receive_binary(self, data: bytes) -> None:
        # Message boundaries have no meaning, but a correct client never splits a character across
        # messages. Anything but UTF-8 becomes a line that is not JSON, and gets an ERROR (D07).
        await self.receive(data.decode("utf-8", "replace"))

    def _finish(self, message: WSMessage) -> None:
        if message.type is WSMsgType.CLOSE:
            code = message.data or 1000
            self.lost(Disconnect(code, printable(str(message.extra or ""))))
            self._control(websocket.close(NORMAL.code if code == 1005 else code))
            self._shut = True
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)
        elif message.type is WSMsgType.ERROR:
            self.lost(Disconnect(1002, printable(str(message.data), 120)))
            self._shut = True
        else:
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
    request: web.Request,
    make: Callable[[asyncio.Transport], WebSocketConnection],
    max_frame_size: int,
) -> web.StreamResponse:
    """Answer an admitted handshake, and serve the connection until it ends."""
    problem = upgrade_problem(request)
    if problem is not None:
        return problem
    response = web.WebSocketResponse(
        autoclose=False,
        autoping=False,
        compress=False,  # compressed frames could not be shared by all receivers
        max_msg_size=max(MIN_MESSAGE_SIZE, 2 * max_frame_size),
    )
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        return response
    connection = make(transport)
    try:
        await connection.serve(response)
    finally:
        connection.lost(ABNORMAL)
    return response
