"""The set-ups that must all behave in the same way: in memory, on one node, and on two.

A group of servers looks like one: its clients, and calls by code, are spread over the servers at
random.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from djhookbox.server.core.model import Channel
from djhookbox.server.engine.memory import MemoryEngine

from ..redis_server import RedisServer
from .nodes import Node
from .rig import FakeConnection, Rig, turns

#: The number of nodes in each set-up; 0 without Redis.
SETUPS = {"memory": 0, "one-node": 1, "two-nodes": 2}


class Group:
    """Servers with the clients that are connected to them.

    Args:
        servers: The servers; several of them are nodes on one Redis.
        seed: Decides which client, or call, is which server's.
        make: Makes the successor of a node that is killed.

    """

    def __init__(
        self, servers: list[Rig], seed: int = 1, make: Callable[[], Node] | None = None
    ) -> None:
        self.servers = servers
        self.make = make
        self.chance = random.Random(seed)
        #: The server of each client.
        self.home: dict[FakeConnection, Rig] = {}

    @property
    def nodes(self) -> list[Node]:
        return [server for server in self.servers if isinstance(server, Node)]

    def any(self) -> Rig:
        return self.chance.choice(self.servers)

    def answers(self, hook: str, answer: Any) -> None:
        """Set what the site answers, whichever server asks."""
        for server in self.servers:
            server.site.answers[hook] = answer

    def channels(self, name: str) -> Iterator[Channel]:
        """Return a channel as each server that has it open knows it."""
        for server in self.servers:
            if name in server.channels:
                yield server.channels[name]

    # ---- start and stop --------------------------------------------------

    async def start(self) -> Group:
        for node in self.nodes:
            await node.start()
        await self.beat()
        return self

    async def beat(self) -> None:
        for node in self.nodes:
            await node.redis.nodes.beat_once()

    async def kill(self, node: Node, redis: RedisServer) -> None:
        """Kill a node; another one tidies up after it as if its lease had ended."""
        await node.kill()
        self.home = {client: home for client, home in self.home.items() if home is not node}
        assert self.make is not None
        successor = self.make()
        self.servers[self.servers.index(node)] = successor
        await successor.start()
        redis.command("DEL", f"{node.redis.address.prefix}n:{node.redis.node}")
        await self.any_node().redis.nodes._reap([node.redis.node])
        await self.beat()
        await self.settle()

    async def lose_all(self, redis: RedisServer) -> None:
        """Let Redis lose everything, and wait until the nodes have noticed and restored it."""
        redis.command("FLUSHALL")
        await self.beat()
        while any(node.redis.openings._tasks for node in self.nodes):
            await turns()
        await self.settle()

    def any_node(self) -> Node:
        return self.chance.choice(self.nodes)

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()

    # ---- clients and code ------------------------------------------------

    async def join(self, name: str, **args: Any) -> FakeConnection:
        """Connect, and return the client with the frames that it received."""
        server = self.any()
        client = server.client()
        self.home[client] = server
        await self.send(client, "CONNECT", cookie_string="", payload=json.dumps(name), **args)
        return client

    async def connect(self, name: str, **args: Any) -> FakeConnection:
        client = await self.join(name, **args)
        assert client.user is not None, client.frames
        client.took()
        return client

    async def send(self, client: FakeConnection, name: str, /, **args: Any) -> None:
        """Send a frame, and let everything settle."""
        await client.receive(json.dumps([7, name, args]) + "\r\n")
        await self.settle()

    async def rest(self, call: str, /, **form: str) -> dict[str, Any]:
        answer = await self.any().rest(call, **form)
        await self.settle()
        return answer

    async def leave(self, client: FakeConnection) -> None:
        await self.home.pop(client).leave(client)
        await self.settle()

    # ---- time ------------------------------------------------------------

    async def expire(self, now: float) -> None:
        for server in self.servers:
            await server.lifecycle.expire(now)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is under way within or between the servers."""
        await turns()
        quiet = 0 if self.nodes else 2
        while quiet < 2:
            # What was sent to the inboxes before this has arrived after the second round trip.
            for _ in range(2):
                for node in self.nodes:
                    await node.redis.link.run("whereis", node.redis.nodes.arguments(""))
            await turns(30)
            quiet = 0 if any(map(_is_busy, self.nodes)) else quiet + 1

    def check(self) -> None:
        for server in self.servers:
            server.check()


def _is_busy(node: Node) -> object:
    redis = node.redis
    assert node.cluster is not None
    return (
        redis.link._waiting
        or redis.link._sent
        or redis.peers._tasks
        or redis.openings._reloading
        or node.cluster._departing
        or node.server.channels.proposals._turns.last
    )


def make_group(
    setup: str, url: Callable[[], str], clock: Callable[[], float], **config: Any
) -> Group:
    """Return the servers of a set-up, which have not been started.

    Args:
        setup: Its name.
        url: Returns the address of a Redis.
        clock: Tells the time, also in place of the clock of Redis.
        config: Of each server.

    """
    count = SETUPS[setup]
    recovery = config.get("recovery_seconds", 60)
    if not count:
        return Group([Rig(MemoryEngine(recovery=recovery), clock, **config)])

    def make() -> Node:
        return Node(url(), recovery=recovery, given_clock=clock, **config)

    return Group([make() for _ in range(count)], make=make)
