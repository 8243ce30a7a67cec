"""A client that never reads is disconnected and notified."""

from __future__ import annotations

import asyncio
import socket

import pytest

from djhookbox.server.budget import Incoming
from djhookbox.server.connection import Handshake, Packet
from djhookbox.server.protocol import websocket as frames
from djhookbox.server.transports import websocket
from djhookbox.server.transports.websocket import WebSocketConnection
from djhookbox.server.unsent import Unsent


def read_to_the_end(client: socket.socket) -> None:
    while client.recv(1_000_000):
        pass


async def test_the_kernel_does_not_keep_what_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.05)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _address = listener.accept()
    accepted.setblocking(False)
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()

    class Watching(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            lost.set_result(None)

    transport, _protocol = await loop.create_connection(Watching, sock=accepted)
    connection = WebSocketConnection(
        transport,
        65_536,
        handshake=Handshake(),
        handle=None,  # type: ignore[arg-type]
        on_end=lambda connection, end: None,
        max_frame_size=100,
        frames_per_second=10,
        incoming=Incoming(1_000_000),
        all_unsent=Unsent(100_000_000),
    )
    data = b"x" * 50_000
    packet = Packet(data, frames.text(data))
    for _ in range(1000):
        connection.write(packet)
        await asyncio.sleep(0)
        if connection.closed:
            break
    assert connection.closed
    await asyncio.wait_for(lost, 5)
    # A reset, where a plain close would let it read on for as long as it likes.
    with pytest.raises(ConnectionResetError):
        read_to_the_end(client)
    client.close()
    listener.close()
