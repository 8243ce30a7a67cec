"""Nodes in this event loop that share a port: each socket is given to one of them at random."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.listening import listen
from djhookbox.server.transports.accepting import Acceptor


@asynccontextmanager
async def node(config: ServerConfig) -> AsyncIterator[Server]:
    """Run a server on its own port."""
    server = Server(replace(config, port=0))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def spread(
    config: ServerConfig, count: int, seed: str, starting: asyncio.Semaphore
) -> AsyncIterator[list[Server]]:
    """Run nodes behind the port of the configuration, as a load balancer does.

    Args:
        config: The configuration of all nodes.
        count: The number of nodes.
        seed: Decides which node is given each socket.
        starting: Limits how many start at a time: a loop that is too busy loses its connections.

    """
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        async with starting:
            nodes = [await stack.enter_async_context(node(config)) for _ in range(count)]
            for each in nodes:  # they know each other from the first request on
                assert each._cluster is not None
                await each._cluster.shared.nodes.beat_once()
        acceptor = Acceptor(
            listen(config.interface, config.port),
            lambda: chance.choice(nodes).service.port._fronts.make(),
        )
        acceptor.start()
        stack.callback(acceptor.stop)
        yield nodes
