"""Assemble the server: its parts, periodic work and graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..wire import loglines
from ..wire.closing import NO_PONG, restart
from ..wire.urls import bracketed
from .channels.delivery import Delivery
from .clients.expiries import Expiries
from .clients.registry import Connections
from .config import ServerConfig
from .core.hub import Hub
from .core.keeping import Shelf
from .core.states import States
from .engine.base import Engine
from .engine.making import make_engine
from .joining import make_cluster
from .listening import address_of
from .metrics import Metrics
from .parts import Channels, Clients, Service
from .runtime import Runtime
from .site.events import Events
from .site.expiring import Expiring
from .site.housekeeping import Housekeeping
from .site.webhooks import Webhooks
from .tasks import Tasks, within
from .tracing import make_tracing
from .transports.websocket import WebSocketConnection

if TYPE_CHECKING:
    from .cluster import Cluster

logger = logging.getLogger("djhookbox.server")

#: Connections to ping, or to close, before yielding to other tasks.
PING_TURN = 200
#: Share of the grace period that the shutdown steps may use; the process must exit within it.
STOP_SHARE = 0.9


class Server:
    """A Hookbox server that listens in the running event loop.

    Args:
        config: The validated configuration.
        webhooks: Makes the calls to the site; over HTTP by default.
        engine: Stores the streams of channels; in memory by default.
        clock: Returns the time in seconds since the epoch; several nodes use the clock of their
            engine instead.

    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        webhooks: Webhooks | None = None,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        loglines.install()
        self.config = config
        self.metrics = Metrics(clock())
        engine = engine or make_engine(config)
        #: This node among others, if there are any.
        self._cluster = cluster = make_cluster(engine)
        if cluster is not None:
            clock = cluster.clock(clock)
        webhooks = webhooks or Webhooks(config, self.metrics)
        self.runtime = runtime = _runtime(config, self.metrics, webhooks, clock, cluster)
        self.channels = Channels(runtime, engine)
        self.clients = Clients(runtime, self.channels)
        self.service = Service(runtime, engine, self.channels, self.clients)
        self._periodic: list[asyncio.Task[None]] = []

    # ---- start and stop --------------------------------------------------

    async def start(self, listener: socket.socket | None = None) -> str:
        """Start listening and return the address, with the actual port if 0 is configured.

        Args:
            listener: A listening socket, instead of the configured address.

        Raises:
            OSError: If the server cannot listen on the address.
            Unusable: If the engine cannot be used.

        """
        try:
            if self._cluster is not None and self.clients.forwarding is not None:
                await self.clients.forwarding.start(self.clients.csp.handle)
                self._cluster.route = self.clients.forwarding.route
                await self._cluster.start()
            host, port = self.service.port.bind(listener)
        except BaseException:
            if self._cluster is not None and self.clients.forwarding is not None:
                await self._cluster.stop()
                await self.clients.forwarding.stop()
            raise
        self.service.collecting.start()
        await self.runtime.webhooks.start()
        await self.service.operators.start()
        await self.service.port.start()
        for work in (
            self.runtime.events.run(),
            self._every_second(),
            self._ping_all(),
            self.channels.durable.run(),
            Housekeeping(self.runtime.webhooks).run(),
            self.channels.confirming.run(),
            Expiring(self.runtime, self.channels.confirming).run(),
        ):
            self._periodic.append(self.runtime.tasks.start(work))  # logs a failure
        self.service.systemd.ready()
        self.runtime.events.address = address_of(port, self.config.worker)
        return f"http://{bracketed(host)}:{port}"

    async def stop(self) -> None:
        """Stop accepting, ask clients to reconnect and report events, within the grace period.

        Each step has its own deadline, so that neither clients nor the site can delay the stop.
        """
        deadline = time.monotonic() + STOP_SHARE * self.config.grace_period

        def left(share: float = 1.0) -> float:
            return max(0.1, share * (deadline - time.monotonic()))

        self.service.systemd.stopping()
        self.runtime.connections.stopping = self.channels.lifecycle.stopping = True
        await _step("Closing the port", min(1.0, left(0.1)), self.service.port.stop())
        await _step("Stopping the pollers", min(1.0, left(0.1)), self.channels.pollers.stop())
        self.runtime.delivery.flush()
        connections = list(self.runtime.connections)
        farewell = restart(len(connections))
        for index, connection in enumerate(connections):
            connection.close(farewell)
            if index % PING_TURN == 0:
                await asyncio.sleep(0)
        self.clients.csp.stop()
        for task in self._periodic:
            task.cancel()
        if self._periodic:
            await asyncio.wait(self._periodic, timeout=min(1.0, left(0.2)))
        await _step("Reporting the events", left(0.6), self.runtime.events.flush(tries=3))
        await self.runtime.tasks.finish(min(1.0, left(0.3)))
        # A connect that the site allowed in the meantime needs a disconnect, which is reported too.
        await _step("The last webhooks", left(0.3), self.runtime.connections.all_answered())
        self.service.measuring.report(self.runtime.clock())
        self.runtime.events.stopped()
        await _step("Reporting the last events", left(0.3), self.runtime.events.flush(tries=2))
        await _step("Closing the connections", left(0.8), self.service.port.close())
        if self._cluster is not None:
            await _step("Leaving the other nodes", left(), self._cluster.stop())
        if self.clients.forwarding is not None:
            await _step("Closing the internal address", left(), self.clients.forwarding.stop())
        self.service.collecting.stop()
        await _step("Closing the webhooks", left(), self.runtime.webhooks.stop())
        await _step("Closing the port for metrics", left(), self.service.operators.stop())

    # ---- periodic work ---------------------------------------------------

    async def _every_second(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begin = loop.time()
            await asyncio.sleep(1.0)
            self.metrics.loop_lag = max(0.0, loop.time() - begin - 1.0)
            self.service.systemd.alive(loop.time())
            await self.tick()

    async def tick(self) -> None:
        """Do what is due once a second."""
        now = self.runtime.clock()
        self.metrics.sample(now)
        self.clients.handshakes.unsent.look()
        await self.service.port.look()
        self.service.collecting.look(now, len(self.runtime.connections), self.metrics.activity)
        self.service.problems.look(now)
        self.service.measuring.look(now)
        self.service.reporter.tick(now)
        await self.channels.lifecycle.expire(now)
        if self._cluster is not None:
            await self._cluster.watch(now)

    async def _ping_all(self) -> None:
        # The answers would be one long turn if they came all at once.
        half = self.config.ping_interval / 2
        while True:
            await asyncio.sleep(half)
            connections = list(self.runtime.connections)
            starts = range(0, max(len(connections), 1), PING_TURN)
            for start in starts:
                for connection in connections[start : start + PING_TURN]:
                    if isinstance(connection, WebSocketConnection) and not connection.ping():
                        connection.close(NO_PONG)
                await asyncio.sleep(half / len(starts))


def _runtime(
    config: ServerConfig,
    metrics: Metrics,
    webhooks: Webhooks,
    clock: Callable[[], float],
    cluster: Cluster | None,
) -> Runtime:
    """Return what all parts of a server share."""
    hub = Hub(
        shelf=Shelf(config.max_channel_history, config.max_history),
        states=States(config.max_channel_state, config.max_state),
        durable_seconds=config.durable_seconds,
        recovery_seconds=config.recovery_seconds,
    )
    return Runtime(
        config=config,
        clock=clock,
        tasks=Tasks(),
        metrics=metrics,
        hub=hub,
        connections=Connections(hub.users),
        expiries=Expiries(clock),
        delivery=Delivery(metrics, clock, make_tracing(config.tracing, config.version)),
        webhooks=webhooks,
        events=Events(webhooks, metrics, config.max_events),
        shared=cluster.shared if cluster else None,
        cluster=cluster,
    )


async def _step(what: str, seconds: float, work: Awaitable[object]) -> None:
    """Run one shutdown step; its failure or timeout must not prevent the others."""
    try:
        await within(seconds, work)
    except asyncio.TimeoutError:
        logger.warning("%s took longer than %.1f s and was left unfinished", what, seconds)
    except Exception:
        logger.exception("%s failed", what)
