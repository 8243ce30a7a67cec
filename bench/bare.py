"""The baseline for connecting: a bare protocol that answers handshakes and frames with constants.

It reads neither headers nor frames: this is the cost of sockets and the event loop alone.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any

try:
    import uvloop as loops
except ImportError:
    import asyncio as loops  # type: ignore[no-redef]

from tests.stand_ins.upgrade import KEY

from .baseline import text_frame

#: The answer to the key that the load generator always uses.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()
SUBSCRIBED = text_frame(b'[1, "SUBSCRIBE", {}]\r\n')


class Bare(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._transport.write(SUBSCRIBED)
        elif KEY.encode() in data:
            self._upgraded = True
            self._transport.write(UPGRADED)


async def serve(port: int) -> None:
    """Serve until a signal is received."""
    loop = asyncio.get_running_loop()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    listener.bind(("127.0.0.1", port))
    server = await loop.create_server(Bare, sock=listener, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    loops.new_event_loop().run_until_complete(serve(port))


if __name__ == "__main__":
    main()
