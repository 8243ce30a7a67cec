"""Admission of connections on every transport: origins, cookies and connection limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from ...wire.closing import NOT_CONNECTED, RESTART, Disconnect
from ...wire.urls import origin_of
from ..budget import Incoming
from ..connection import Connection, Handshake
from ..protocol.rtjp import BadFrame, Frame
from ..runtime import Runtime
from ..unsent import Unsent
from .addresses import TrustedProxies, host_name
from .origins import OriginRules
from .unconnected import Unconnected

logger = logging.getLogger("djhookbox.server")
# A separate logger, so that it can have its own file, as in 0.3.3 (`--log-file-access`).
access = logging.getLogger("djhookbox.server.access")


class Asking(Protocol):
    """The part of a request that a handshake consists of."""

    @property
    def headers(self) -> CIMultiDict[str] | CIMultiDictProxy[str]:
        """The headers."""

    @property
    def remote(self) -> str | None:
        """The address of the TCP peer."""


class Handshakes:
    """Decide from an HTTP request whether a connection may begin.

    Args:
        runtime: The origins, limits, counters and connections.
        unconnected: The connections that have not sent CONNECT yet.
        proxies: The proxies trusted to report a client's address.
        handle: Handles the frames of a connection.
        on_end: Called when a connection has ended.

    """

    def __init__(
        self,
        runtime: Runtime,
        unconnected: Unconnected,
        proxies: TrustedProxies,
        handle: Callable[[Connection, Frame | BadFrame], Coroutine[Any, Any, None]],
        on_end: Callable[[Connection, Disconnect], None],
    ) -> None:
        config = runtime.config
        self._config = config
        self._metrics = runtime.metrics
        self._connections = runtime.connections
        self._unconnected = unconnected
        self._handle = handle
        self._on_end = on_end
        self._origins = OriginRules(config.allowed_origins, config.allowed_hosts)
        self._proxies = proxies
        #: Bytes that clients have sent and the server has not handled yet.
        self.incoming = Incoming(config.max_incoming)
        self.unsent = Unsent(config.max_unsent_total)

    def welcomed(self, request: Asking) -> Handshake | None:
        """Return what an admitted request says, or None if `foreign` or `full` refuse it."""
        admission = self._origins.admit(request.headers)
        full = len(self._connections) >= self._config.max_connections
        if not admission.admitted or full or self._connections.stopping:
            return None
        return self._handshake(request, cookies=admission.cookies)

    def foreign(self, request: web.Request, *, script: bool = False) -> web.Response | None:
        """Return an error response if a request must be refused, else None.

        Args:
            request: Any request.
            script: Whether it may come from a `<script>` on a page written for 0.3.3 (JSONP).

        """
        admission = self._origins.admit(request.headers, script=script)
        if admission.admitted:
            return None
        self._metrics.refused_total += 1
        if admission.problem == "host":
            logger.warning(
                "A request for the host %.200r was refused: see HOOKBOX_ALLOWED_HOSTS",
                request.headers.get("Host", ""),
            )
            return web.Response(status=403, text="The server does not know this host name.\n")
        headers = request.headers
        page = headers.get("Origin") or origin_of(headers.get("Referer", ""))
        if "Origin" in headers:
            logger.warning("A page of %.200r was refused: see HOOKBOX_ALLOWED_ORIGINS", page)
        else:
            logger.warning(
                "A %s without an Origin was refused: its Sec-Fetch-Site is %.40r, its page %.200r",
                request.method, headers.get("Sec-Fetch-Site", ""), page,
            )  # fmt: skip
        return web.Response(status=403, text="This origin may not connect.\n")

    def full(self) -> web.Response | None:
        """Return an error response if no connection can be accepted at the moment."""
        if self._connections.stopping:
            return web.Response(status=503, text="The server is stopping.\n")
        full = len(self._connections) >= self._config.max_connections
        # A client that has not connected makes room for a new one.
        if full and not self._unconnected.drop_oldest():
            self._metrics.refused_total += 1
            logger.warning("A connection was refused: %d are open", self._config.max_connections)
            return web.Response(status=503, text="Too many connections.\n")
        return None

    def handshake(self, request: web.Request, *, cookies: bool = True) -> Handshake:
        """Return what a request says about the client that connects.

        Args:
            request: The handshake.
            cookies: Whether to use its cookies, if its headers prove which page it is from.

        """
        cookies = cookies and self._origins.admit(request.headers).cookies
        return self._handshake(request, cookies=cookies)

    def _handshake(self, request: Asking, *, cookies: bool) -> Handshake:
        return Handshake(
            cookie=_header(request, "Cookie") if cookies else "",
            remote_addr=self._proxies.client(
                request.remote or "", request.headers.getall("X-Forwarded-For", ())
            ),
            user_agent=_header(request, "User-Agent")[:255],
            origin=_header(request, "Origin")[:255],
            host=host_name(request.headers.getall("Host", ())),
        )

    def terms(self, handshake: Handshake) -> dict[str, object]:
        """Return the constructor arguments shared by connections of all transports."""
        return {
            "handshake": handshake,
            "handle": self._handle,
            "on_end": self._on_end,
            "max_frame_size": self._config.max_frame_size,
            "frames_per_second": self._config.max_frames_per_second,
            "incoming": self.incoming,
            "all_unsent": self.unsent,
        }

    def enter(self, connection: Connection) -> None:
        """Count a connection as open until its end is reported; it must send CONNECT in time."""
        self._connections.add(connection)
        address = connection.handshake.remote_addr
        self._unconnected.add(connection, address, partial(connection.close, NOT_CONNECTED))
        self._metrics.connections_total += 1
        if self._connections.stopping:  # began after the handshake did
            asyncio.get_running_loop().call_soon(connection.close, RESTART)
        access.info("Connection %s from %s", connection.id, address)


def _header(request: Asking, name: str) -> str:
    """Return a header as valid text: aiohttp decodes bytes that are not UTF-8 to surrogates."""
    value = request.headers.get(name, "")
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
