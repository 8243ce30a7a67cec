"""Several nodes that share a Redis, in one event loop, each with clients of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from djhookbox.server.engine.redis.clock import SharedClock
from djhookbox.server.engine.redis.engine import RedisEngine
from djhookbox.wire.closing import NORMAL
from djhookbox.wire.engines import parse

from ..stand_ins.waiting import until
from .rig import FakeConnection, Rig, turns

#: Seconds after which something that was to happen counts as missing.
PATIENCE = 15.0


async def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    await until(condition, patience=patience, pause=0.01)


class GivenClock(SharedClock):
    """A clock that a test sets, whatever time Redis has."""

    def read(self, told: Sequence[bytes], asked: float) -> None:
        """Ignore the reading."""


class Node(Rig):
    """A node: its frames and calls wait for Redis."""

    def __init__(
        self,
        url: str,
        lease: float = 10.0,
        recovery: float = 0.0,
        given_clock: Callable[[], float] | None = None,
        **config: Any,
    ) -> None:
        self.redis = RedisEngine(parse(url), lease=lease, recovery=recovery)
        if given_clock is not None:
            self.redis.nodes.clock = GivenClock()
            config["clock"] = given_clock
        super().__init__(self.redis, **config)
        self.cluster = self.server._cluster
        self.ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        assert self.cluster is not None
        await self.cluster.start()

    async def stop(self) -> None:
        assert self.cluster is not None
        for connection in list(self.connections):
            connection.lost(NORMAL)
        await self.settle()
        await self.cluster.stop()
        await self.server.runtime.tasks.finish(0.1)

    async def kill(self) -> None:
        """Let the node end as if it had been killed: Redis keeps what it had."""
        for task in self.redis._tasks:
            task.cancel()
        await asyncio.gather(*self.redis._tasks, return_exceptions=True)
        self.redis._tasks.clear()
        await self.redis.openings.stop()

    async def settle(self) -> None:
        """Wait until nothing is under way between the nodes."""
        quiet = 0
        while quiet < 4:
            link = self.redis.link
            await asyncio.sleep(0.003)
            busy = link._waiting or link._sent or self.server.channels.proposals._turns.last
            quiet = 0 if busy else quiet + 1
        await turns(20)

    def check(self) -> None:
        """Check as for one node, except for what other nodes have."""
        for name, channel in self.channels.items():
            for user, subscription in channel.subscribers.items():
                known = self.hub.users.get(user) or self.hub.absent[user]
                assert known is subscription.user
                assert self.hub.has_members(known, channel), (name, user)
        for name, user in self.hub.absent.items():
            assert not user.connections
            assert user.subscriptions, name
        assert not self.lifecycle._pins
        assert not self.lifecycle._locks._locks
        assert not self.server.clients.subscriptions._turns._locks
        assert not self.server.channels.proposals._turns.last

    async def send(self, client: FakeConnection, name: str, /, **args: Any) -> None:
        await super().send(client, name, **args)
        await self.settle()


class Proxy:
    """Stands between a node and Redis, and can get in its way.

    Attributes:
        delay: Seconds by which everything is late.
        mute: Whether answers are swallowed.
        passes: Cleared while nothing gets through, as if packets were lost; then all of it does.

    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.mute = False
        self.passes = asyncio.Event()
        self.passes.set()
        #: The connections of inboxes, and those whose messages stay where they are.
        self._inboxes: set[asyncio.StreamWriter] = set()
        self._choked: set[asyncio.StreamWriter] = set()
        self.is_cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Close all connections, and accept no others."""
        self.is_cut = True
        self.drop()

    def heal(self) -> None:
        self.is_cut = False

    def drop(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def choke(self) -> None:
        """Read nothing more from the connections of inboxes, so that Redis has to keep it."""
        self._choked |= self._inboxes

    def release(self) -> None:
        """Read on from the connections of inboxes."""
        self._choked.clear()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.is_cut:
            writer.transport.abort()
            return
        # Small buffers: what does not fit stays with Redis.
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        near.setblocking(False)
        await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", self._port))
        far_reader, far = await asyncio.open_connection(sock=near, limit=16_384)
        self._writers |= {writer, far}
        try:
            await asyncio.gather(
                self._copy(reader, far, back=writer), self._copy(far_reader, writer)
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers -= {writer, far}
            self._inboxes -= {writer}
            self._choked -= {writer}
            writer.transport.abort()
            far.transport.abort()

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter | None = None,
    ) -> None:
        answers = back is None
        while data := await reader.read(65_536):
            if self.delay:
                await asyncio.sleep(self.delay)
            if back is not None and b"\r\nSUBSCRIBE\r\n" in data:
                self._inboxes.add(back)
            await self.passes.wait()
            while writer in self._choked:
                await asyncio.sleep(0.01)
            if not (answers and self.mute):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
