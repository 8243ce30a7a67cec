"""The baseline: a bare aiohttp server that writes one prebuilt frame to every connection.

It has no users, limits or backpressure: this is the cost of aiohttp and the event loop alone.
`POST /publish?id=1` sends its body to all WebSocket connections that were opened with `?id=1`.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
from collections import defaultdict

from aiohttp import web

try:
    import uvloop as loops
except ImportError:
    import asyncio as loops  # type: ignore[no-redef]

connections: defaultdict[str, set[asyncio.WriteTransport]] = defaultdict(set)


def text_frame(payload: bytes) -> bytes:
    """Return an unmasked WebSocket text message in one frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Keep a connection open until it ends."""
    response = web.WebSocketResponse()
    await response.prepare(request)
    transport = request.transport
    if transport is None:
        return response
    audience = connections[request.query["id"]]
    audience.add(transport)
    try:
        async for _ in response:
            pass
    finally:
        audience.discard(transport)
    return response


async def publish(request: web.Request) -> web.Response:
    """Frame the body once, and write it to the transport of each connection with this id."""
    frame = text_frame(await request.read())
    for transport in connections[request.query["id"]]:
        transport.write(frame)
    return web.Response(text="ok")


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    app = web.Application()
    app.router.add_get("/ws", websocket)
    app.router.add_post("/publish", publish)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # As the server under test does, so that both get as much into the kernel with one call.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    listener.bind(("127.0.0.1", port))
    loop = loops.new_event_loop()
    web.run_app(app, sock=listener, backlog=1024, access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
