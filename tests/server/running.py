"""A server with real sockets, a site that says yes, and WebSocket clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.core.model import Channel

from ..stand_ins.frames import frame, read_frame
from ..stand_ins.site import Site, fields_of


class App(Site):
    """A site that says yes: a connection's payload is its name."""

    def __init__(self) -> None:
        super().__init__({"events"})
        self.calls: list[tuple[str, dict[str, str], str | None]] = []
        self.received: list[Mapping[str, str]] = []
        self.url = ""
        #: If set, no call is answered before this event.
        self.held: asyncio.Event | None = None

    async def handle(self, request: web.Request) -> web.Response:
        form = fields_of(await request.read(), request.content_type)
        self.calls.append((form["action"], form, request.headers.get("Cookie")))
        self.received.append(request.headers)
        if self.held is not None:
            await self.held.wait()
        return web.json_response(self.answer(form), headers=self.headers)


@pytest.fixture
async def site() -> AsyncIterator[App]:
    application = App()
    app = web.Application()
    app.router.add_post("/{path:.*}", application.handle)
    async with TestServer(app) as server:
        application.url = str(server.make_url("/hookbox"))
        yield application


Start = Callable[..., Awaitable["Running"]]


class Running:
    """A server, its address, and clients of it."""

    def __init__(self, server: Server, address: str, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.address = address
        self.http = http
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []
        self.responses: list[aiohttp.ClientResponse] = []

    async def open(self, name: str = "", **kwargs: Any) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket and, given a name, connect."""
        socket = await self.http.ws_connect(f"{self.address}/ws", **kwargs)
        self.sockets.append(socket)
        if name:
            args = {"cookie_string": "", "payload": json.dumps(name)}
            await send(socket, "CONNECT", **args)
            assert (await read(socket))[1] == "CONNECTED"
        return socket

    async def rest(self, call: str, **form: str) -> Any:
        data = {"secret": "s", **form}
        async with self.http.post(f"{self.address}/rest/{call}", data=data) as response:
            return json.loads(await response.text())

    @property
    def channels(self) -> dict[str, Channel]:
        return self.server.runtime.hub.channels


@pytest.fixture
async def start(site: App) -> AsyncIterator[Start]:
    running: list[Running] = []

    async def make(**config: Any) -> Running:
        values = {"webhook_url": site.url, "rest_secrets": ("s",), "port": 0, "grace_period": 3.0}
        server = Server(ServerConfig(**{**values, **config}))
        address = await server.start()
        running.append(Running(server, address, aiohttp.ClientSession()))
        return running[-1]

    yield make
    for one in running:
        for client in one.sockets:
            client._response.close()  # without courtesies, which some tests have made impossible
        for response in one.responses:
            response.close()
        await one.http.close()
        await one.server.stop()


async def send(socket: aiohttp.ClientWebSocketResponse, name: str, /, **args: Any) -> None:
    await socket.send_str(frame(1, name, args))


async def read(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """Return the next frame; the server may send several in one message."""
    waiting: list[str] = socket.__dict__.setdefault("waiting_frames", [])
    if not waiting:
        message = await asyncio.wait_for(socket.receive(), 10)
        assert message.type is WSMsgType.TEXT, message  # binary would not do (D02)
        assert message.data.endswith("\r\n")
        assert message.data.isascii()
        waiting += message.data.split("\r\n")[:-1]
    return read_frame(waiting.pop(0))


async def ended(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Return the code with which the server closes."""
    while True:
        message = await asyncio.wait_for(socket.receive(), 10)
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
            return socket.close_code


def transport(socket: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    """Return what a misbehaving client has its hands on."""
    found = socket._response.connection.transport  # type: ignore[union-attr]
    assert isinstance(found, asyncio.Transport)
    return found
