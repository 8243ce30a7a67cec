"""The server as `app.py` wires it, with a scripted site and clients in place of the network."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from djhookbox.server import app
from djhookbox.server.config import ServerConfig
from djhookbox.server.connection import Connection, Handshake, Packet
from djhookbox.server.core.model import Channel
from djhookbox.server.engine.base import Engine
from djhookbox.server.refusals import Refusal
from djhookbox.server.site.webhooks import Reply, caller, reply_to
from djhookbox.wire import webhooks
from djhookbox.wire.closing import NORMAL, Disconnect
from djhookbox.wire.replies import Refused
from djhookbox.wire.webhooks import Webhook

from ..stand_ins import site as stand_in

R = TypeVar("R")

#: Turns of the event loop in which everything settles that waits for nobody.
TURNS = 60

#: The webhooks that the site supports in addition to those of 0.3.3.
ACCEPTED = frozenset({"events", "recheck", "message", "prune", "subscribe_many"})


async def turns(count: int = TURNS) -> None:
    """Let the loop go round so often; there is no I/O here that could take longer."""
    for _ in range(count):
        await asyncio.sleep(0)


class Site(stand_in.Site):
    """Stands in for `Webhooks`, with a site behind it: notes the calls, and lets them wait."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(ACCEPTED)
        self.config = config
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.held: dict[str, asyncio.Event] = {}
        #: As in `Webhooks`.
        self.earlier: Callable[..., Any] | None = None

    async def send(
        self,
        webhook: Webhook[R],
        connection: Any = None,
        *,
        cookie: bool = True,
        patience: float = 1.0,
        quiet: bool = False,
        urgent: bool = False,
    ) -> Reply[R]:
        if isinstance(webhook, webhooks.BATCHABLE) and self.earlier is not None:
            earlier = self.earlier(webhook, connection)
            if earlier is not None:
                await earlier
        form = webhooks.write(webhook, caller(connection))
        hook = form["action"]
        self.calls.append((hook, {name: text for name, text in form.items() if name != "action"}))
        held = [self.held[name] for name in _decisions(webhook) if name in self.held]
        for event in held:
            await event.wait()
        if not held:
            await asyncio.sleep(0)
        return reply_to(webhook, self.answer(form))

    def refusal(self, error: Exception) -> Refused:
        if type(error) is Refusal:
            return Refused(error.reason, error.code)
        raise error

    async def stop(self) -> None:
        """There is no connection pool to close."""

    def hold(self, hook: str) -> asyncio.Event:
        """Let the decisions of a hook wait until the event is set."""
        return self.held.setdefault(hook, asyncio.Event())

    def took(self, *hooks: str) -> list[tuple[str, dict[str, str]]]:
        """Return the calls since the last time (of these hooks), and forget them."""
        self.decided = []
        found = [call for call in self.calls if not hooks or call[0] in hooks]
        self.calls = [call for call in self.calls if call not in found]
        return found

    def names(self) -> list[str]:
        return [hook for hook, _ in self.took()]


def _decisions(webhook: Webhook[Any]) -> list[str]:
    """Return a webhook's name, and those of the decisions that it asks for."""
    found = [webhook.name]
    if isinstance(webhook, webhooks.SubscribeMany):
        if any(wanted.create for wanted in webhook.channels):
            found.append("create_channel")
        found.append("subscribe")
    return found


class FakeConnection(Connection):
    """A client whose frames are written down."""

    transport = "websocket"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frames: list[tuple[str, dict[str, Any]]] = []
        self.packets: list[bytes] = []
        self.end: Disconnect | None = None

    @property
    def unsent(self) -> int:
        return 0

    def write(self, packet: Packet) -> None:
        assert not self.closed, "nothing may be sent to a client that has gone"
        self.packets.append(packet.data)
        for line in packet.data.split(b"\r\n")[:-1]:
            number, name, args = json.loads(line)
            assert type(number) is int
            self.frames.append((name, args))

    def _end(self, disconnect: Disconnect) -> None:
        self.end = disconnect

    def took(self) -> list[tuple[str, dict[str, Any]]]:
        frames, self.frames = self.frames, []
        return frames

    def names(self) -> list[str]:
        return [name for name, _ in self.took()]


class Rig:
    """A server without a network."""

    def __init__(
        self,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.time,
        **config: Any,
    ) -> None:
        settings = ServerConfig(version="test", rest_secrets=("s",), **config)
        self.site = Site(settings)
        webhooks: Any = self.site
        self.server = app.Server(settings, webhooks=webhooks, engine=engine, clock=clock)
        runtime = self.server.runtime
        self.hub, self.events, self.connections = runtime.hub, runtime.events, runtime.connections
        self.lifecycle = self.server.channels.lifecycle
        self.calls = self.server.service.rest._calls

    @property
    def channels(self) -> dict[str, Channel]:
        return self.hub.channels

    def client(self, cookie: str = "") -> FakeConnection:
        """Return a client that has not sent CONNECT."""
        config = self.server.config
        connection = FakeConnection(
            handshake=Handshake(cookie, "10.0.0.1"),
            handle=self.server.clients.frames.handle,
            on_end=self.server.clients.ended,
            max_frame_size=config.max_frame_size,
            frames_per_second=config.max_frames_per_second,
            incoming=self.server.clients.handshakes.incoming,
            all_unsent=self.server.clients.handshakes.unsent,
        )
        self.connections.add(connection)
        return connection

    async def connect(self, name: str, **args: Any) -> FakeConnection:
        client = self.client()
        await self.send(client, "CONNECT", cookie_string="", payload=json.dumps(name), **args)
        assert client.user is not None, client.frames
        client.took()
        return client

    async def send(self, client: FakeConnection, name: str, /, **args: Any) -> None:
        """Send a frame and let everything settle."""
        await client.receive(json.dumps([7, name, args]) + "\r\n")
        await turns()

    async def subscribe(self, client: FakeConnection, channel: str = "room") -> None:
        await self.send(client, "SUBSCRIBE", channel_name=channel)
        assert client.took()[-1][0] == "SUBSCRIBE"

    async def subscribe_and_forget(self, client: FakeConnection, channel: str = "room") -> None:
        await self.send(client, "SUBSCRIBE", channel_name=channel)
        assert "SUBSCRIBE" in client.names()

    async def leave(self, client: FakeConnection) -> None:
        client.lost(NORMAL)
        await turns()

    async def rest(self, call: str, /, **form: str) -> dict[str, Any]:
        return await self.calls.by_name[call](form)

    def reported(self) -> list[dict[str, Any]]:
        """Return the events that wait for the site."""
        return [json.loads(event.text) for event in self.events._queue]

    def check(self) -> None:
        """Check what must hold whenever nothing is going on: no ghosts, nothing left over."""
        for user in self.hub.users.values():
            assert user.connections
            assert not any(c.closed for c in user.connections)  # type: ignore[attr-defined]
        for name, channel in self.channels.items():
            assert channel.name == name
            for user_name, subscription in channel.subscribers.items():
                assert self.hub.users[user_name] is subscription.user
            assert not any(c.closed for c in channel.audience)  # type: ignore[attr-defined]
        assert not self.lifecycle._pins
        assert not self.lifecycle._locks._locks
        assert not self.server.clients.subscriptions._turns._locks
        assert not self.server.channels.proposals._turns.last
        assert not self.connections._connecting
