"""CSP requests that reach another node than the one that has their session.

A session id begins with the id of its node. Any node that receives a request for a session of
another one passes it on and streams the answer back, so a load balancer may send each request
anywhere. Nodes reach each other at an internal address: a Unix socket in the run folder, which the
nodes of one machine share, or a URL of their own. Requests there need the REST secret.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from ...wire.proof import SECRET_HEADER, from_header, to_header
from ...wire.urls import bracketed
from ..config import ServerConfig
from ..routes import Route
from ..tasks import within

logger = logging.getLogger("djhookbox.server")

#: Headers that concern one connection only (RFC 9110, section 7.6.1).
HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
#: Separates the id of a node from the rest of a session id.
SEPARATOR = "-"
#: Maximum bytes of a socket's path (sun_path on Linux is 108, on macOS 104).
LONGEST_PATH = 100
#: Seconds within which another node must accept a connection.
CONNECT_SECONDS = 2.0
#: Seconds that a client may take to read a part of an answer.
ANSWER_SECONDS = 30.0
#: Seconds within which nodes learn of a new one, and requests that may wait for that.
HEARTBEAT_SECONDS = 1.5
MAX_WAITING = 100
#: What ids of nodes look like.
NODE = re.compile(r"[0-9a-f]{16}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NodeGone(Exception):
    """The node of a session does not exist any more."""


class NodeUnreachable(Exception):
    """The node of a session does not answer at the moment."""


class Forwarding:
    """Pass requests on to other nodes, and accept those that they pass on.

    Args:
        config: The internal address, the run folder and the secrets.
        node: The id of this node.
        machine: Identifies this machine.
        find: Returns the route to another node, or None if there is no such node.

    """

    def __init__(
        self,
        config: ServerConfig,
        node: str,
        machine: str,
        find: Callable[[str], Route | None],
    ) -> None:
        self._config = config
        self._node = node
        self._machine = machine
        self._find = find
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sockets: dict[str, aiohttp.ClientSession] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._path = ""
        self._waiting = 0

    @property
    def route(self) -> Route:
        """How other nodes reach this one, once it has started."""
        if self._config.node_url:
            return Route(url=self._url())
        return Route(socket=self._path, machine=self._machine)

    def new_key(self, token: str) -> str:
        """Return the id of a new session of this node."""
        return f"{self._node}{SEPARATOR}{token}"

    def owner(self, key: str) -> str | None:
        """Return the other node to which a session belongs, if any."""
        node, separator, _token = key.partition(SEPARATOR)
        return node if separator and node != self._node else None

    # ---- start and stop --------------------------------------------------

    async def start(self, handle: Handler) -> None:
        """Accept the requests that other nodes pass on.

        Args:
            handle: Answers them.

        Raises:
            OSError: If the internal address cannot be used.

        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            given = from_header(request.headers.get(SECRET_HEADER, ""))
            secrets = self._config.rest_secrets
            if not any(hmac.compare_digest(given.encode(), one.encode()) for one in secrets):
                return web.Response(status=403, text="Invalid secret\n")
            return await handle(request)

        app = web.Application()
        app.router.add_route("*", "/csp/{endpoint:.*}", guarded)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=1.0, auto_decompress=False
        )
        await self._runner.setup()
        if self._config.node_url:
            parts = urlsplit(self._url())
            await web.TCPSite(self._runner, parts.hostname, parts.port).start()
            return
        self._path = self._new_path()
        listener = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        listener.bind(self._path)
        os.chmod(self._path, stat.S_IRUSR | stat.S_IWUSR)
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Close the internal address and the connections to other nodes."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)
        for session in (*self._sockets.values(), *filter(None, [self._session])):
            await session.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _url(self) -> str:
        """Return this node's own URL: workers of one supervisor use ports in a row."""
        parts = urlsplit(self._config.node_url)
        port = (parts.port or 80) + max(0, self._config.worker - 1)
        return f"http://{bracketed(parts.hostname or '')}:{port}"

    def _new_path(self) -> str:
        folder = self._config.run_dir
        path = f"{folder}/node-{self._node}.sock"
        if not folder or len(os.fsencode(path)) > LONGEST_PATH:
            self._folder = tempfile.TemporaryDirectory(prefix="hookbox-")  # mode 0700
            return f"{self._folder.name}/node-{self._node}.sock"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _remove_dead(Path(folder).glob("node-*.sock"))
        return path

    # ---- passing on ------------------------------------------------------

    async def forward(self, request: web.Request, node: str) -> web.StreamResponse:
        """Pass a request on and stream the answer back.

        Raises:
            NodeGone: If the node does not exist any more.
            NodeUnreachable: If the node does not answer; nothing has been sent to the client.

        """
        session, base = self._client_of(await self._look_up(node))
        if session is None:
            logger.warning(
                "A CSP request for a node on another machine cannot be passed on: set "
                "HOOKBOX_NODE_URL on each machine"
            )
            raise NodeUnreachable
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP and name.lower() != SECRET_HEADER.lower()
        ]
        headers.append((SECRET_HEADER, to_header(self._config.rest_secrets[0])))
        response = web.StreamResponse()
        try:
            async with session.request(
                request.method,
                URL(f"{base}{request.raw_path}", encoded=True),
                headers=headers,
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
            ) as answer:
                return await _pass_back(request, answer, response)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            logger.warning("A CSP request to node %s failed: %s", node, error)
            if not response.prepared:
                raise NodeUnreachable from None
            if request.transport is not None:
                request.transport.abort()  # a part of an answer must not look complete
            return response

    async def _look_up(self, node: str) -> Route:
        """Return the route to a node, after the next heartbeat if it is not known yet.

        Raises:
            NodeGone: If it does not exist any more.

        """
        route = self._find(node)
        if route is None and self._waiting < MAX_WAITING and NODE.fullmatch(node):
            self._waiting += 1
            try:
                await asyncio.sleep(HEARTBEAT_SECONDS)
            finally:
                self._waiting -= 1
            route = self._find(node)
        if route is None:
            raise NodeGone
        return route

    def _client_of(self, route: Route) -> tuple[aiohttp.ClientSession | None, str]:
        """Return the client and the base URL for a node."""
        if route.url:
            if self._session is None:
                self._session = _client(aiohttp.TCPConnector(limit=0))
            return self._session, route.url
        if route.machine != self._machine:
            return None, ""
        if route.socket not in self._sockets:
            self._sockets[route.socket] = _client(aiohttp.UnixConnector(route.socket, limit=0))
        return self._sockets[route.socket], "http://node"


def _client(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        # Held requests and streams last as long as their clients want.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


async def _pass_back(
    request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
) -> web.StreamResponse:
    response.set_status(answer.status, answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in HOP_BY_HOP:
            response.headers.add(name, value)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await within(ANSWER_SECONDS, response.write(chunk))
    await within(ANSWER_SECONDS, response.write_eof())
    return response


def _remove_dead(paths: Iterable[Path]) -> None:
    """Remove the sockets of nodes that were killed."""
    for path in paths:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.5)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                pass
