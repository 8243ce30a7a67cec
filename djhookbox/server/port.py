"""The port: what listens on it, and who answers requests."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial

from aiohttp import web

from .clients.handshake import Handshakes
from .clients.unconnected import Unconnected
from .config import ServerConfig
from .front.sockets import Fronts, Request
from .http_log import HttpLog
from .listening import listen
from .rest.handler import Rest
from .transports import websocket
from .transports.sockets import IDLE_SECONDS, Socket, SocketSite, gate
from .transports.websocket import WebSocketConnection

logger = logging.getLogger("djhookbox.server")

#: Seconds that calls have to finish when the port is closed.
CLOSE_SECONDS = 1.0


class Port:
    """Listen, answer plain requests in the front, and all others by aiohttp.

    Args:
        config: The address and the limits.
        handshakes: Decides which requests may begin a connection.
        waiting: All sockets that wait for a request.
        rest: Answers REST calls.
        add_routes: Add further routes to aiohttp's application.

    """

    def __init__(
        self,
        config: ServerConfig,
        handshakes: Handshakes,
        waiting: Unconnected,
        rest: Rest,
        add_routes: Iterable[Callable[[web.UrlDispatcher], None]],
    ) -> None:
        self._config = config
        self._handshakes = handshakes
        self._waiting = waiting
        self._fronts = Fronts(rest, self._plain_websocket, waiting, self._new_handler)
        app = web.Application(middlewares=[gate])
        for add in add_routes:
            add(app.router)
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/ws/{rest:.*}", self._websocket)
        for prefix in ("rest", "web"):
            app.router.add_route("GET", f"/{prefix}/{{call:.*}}", rest.handle)
            app.router.add_route("POST", f"/{prefix}/{{call:.*}}", rest.handle)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=CLOSE_SECONDS)
        self._listener: socket.socket | None = None

    def bind(self, listener: socket.socket | None = None) -> tuple[str, int]:
        """Bind the port; return the host and the actual port, if 0 is configured.

        Args:
            listener: A listening socket, instead of the configured address.

        Raises:
            OSError: If the server cannot listen on the address.

        """
        self._listener = listener or listen(self._config.interface, self._config.port)
        host, port = self._listener.getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Start accepting."""
        if self._listener is None:
            raise RuntimeError("the port has not been bound")
        await self._runner.setup()
        await SocketSite(self._runner, self._listener, self._fronts.make).start()

    async def stop(self) -> None:
        """Stop accepting."""
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self) -> None:
        """Close all sockets; calls that have begun may finish for a second."""
        await self._fronts.stop(CLOSE_SECONDS)
        await self._runner.cleanup()

    async def look(self) -> None:
        """Find the sockets that take too long; called once a second."""
        await self._fronts.look()

    # ---- requests --------------------------------------------------------

    def _new_handler(self) -> Socket:
        """Return aiohttp's protocol for a socket with a request that is not plain."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("the port has not been opened, or has been closed")
        return Socket(
            server,
            self._waiting,
            loop=asyncio.get_running_loop(),
            logger=HttpLog(logger, {}),
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,  # see `gate`
        )

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        """Answer a handshake that aiohttp has read."""
        refusal = self._handshakes.foreign(request)
        if refusal is None:
            refusal = self._handshakes.full()
        if refusal is not None:
            return refusal
        terms = self._handshakes.terms(self._handshakes.handshake(request))
        if isinstance(request.protocol, Socket):
            request.protocol.unhurried = True
        return await websocket.serve(request, partial(self._enter, terms))

    def _plain_websocket(
        self, request: Request, transport: asyncio.Transport, answer: bytes
    ) -> WebSocketConnection | None:
        """Answer a plain handshake, or return None if it is not admitted."""
        handshake = self._handshakes.welcomed(request)
        if handshake is None:
            return None
        transport.write(answer)
        return self._enter(self._handshakes.terms(handshake), transport)

    def _enter(self, terms: dict[str, object], transport: asyncio.Transport) -> WebSocketConnection:
        connection = WebSocketConnection(transport, self._config.max_unsent, **terms)
        self._handshakes.enter(connection)
        return connection
