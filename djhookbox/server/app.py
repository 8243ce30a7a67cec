"""Assemble the server: its parts, periodic work and graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from ..wire import loglines
from ..wire.closing import NO_PONG, TOO_SLOW, Disconnect, restart
from ..wire.urls import bracketed
from .channels.delivery import Delivery
from .channels.durable import Durable
from .channels.lifecycle import Lifecycle
from .channels.pollers import Pollers
from .channels.presence import ServerPresence
from .channels.publications import Publications
from .clients.addresses import TrustedProxies
from .clients.commands import Commands
from .clients.expiries import Expiries
from .clients.frames import Frames
from .clients.handshake import Handshakes
from .clients.leaving import Leaving
from .clients.registry import Connections
from .clients.subscriptions import Subscriptions
from .clients.unconnected import Unconnected
from .collecting import Collecting
from .config import ServerConfig
from .connection import Connection
from .core.effects import Emptied, PollingChanged, PresenceDue
from .core.hub import Hub
from .core.keeping import Shelf
from .core.states import States
from .engine.base import Engine
from .engine.making import make_engine
from .joining import make_cluster, make_proposals
from .listening import address_of, machine
from .measuring import Measuring
from .metrics import Metrics
from .operators import Operators
from .port import Port
from .problems import Problems
from .reporting import Reporter
from .rest.calls import Calls
from .rest.handler import Rest
from .rest.reports import Reports
from .runtime import Runtime
from .site.authorize import Authorizer
from .site.confirming import Confirming
from .site.events import Events
from .site.expiring import Expiring
from .site.housekeeping import Housekeeping
from .site.rechecks import Rechecks
from .site.revoking import Revoking
from .site.webhooks import Webhooks
from .systemd import Systemd
from .tasks import Tasks, within
from .tracing import make_tracing
from .transports.csp import Csp
from .transports.forwarding import Forwarding
from .transports.websocket import WebSocketConnection

if TYPE_CHECKING:
    from .channels.shared import SharedProposals
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
        # Channels.
        self._proposals = proposals = make_proposals(runtime, engine)
        rechecks, self._confirming = Rechecks(runtime, proposals), Confirming(runtime)
        revoking = Revoking(runtime, rechecks, self._confirming)
        self._durable = proposals.durable = Durable(runtime, proposals, revoking)
        self._publications = Publications(runtime, engine, proposals)
        self._lifecycle = Lifecycle(runtime, proposals, self._publications)
        self._pollers = Pollers(runtime, proposals, self._publications)
        runtime.delivery.hand_over(
            {
                Emptied: self._lifecycle.emptied,
                PollingChanged: self._pollers.changed,
                PresenceDue: ServerPresence(runtime, proposals).due,
            }
        )
        if cluster is not None:
            cluster.bind(runtime, cast("SharedProposals", proposals))
            cluster.answer("poke", self._durable.wake)
        # Clients.
        proxies = TrustedProxies(config.trusted_proxies)
        bounds = (
            config.max_unconnected,
            config.max_unconnected_per_address,
            config.connect_timeout,
            proxies.includes,
        )
        #: Sockets waiting for a request, and connections waiting for CONNECT.
        self._sockets, self._unconnected = Unconnected(*bounds), Unconnected(*bounds)
        authorizer = Authorizer(runtime, proposals, self._lifecycle)
        self._subscriptions = Subscriptions(runtime, proposals, self._lifecycle, authorizer)
        commands = Commands(
            runtime, proposals, self._lifecycle, self._publications, authorizer, self._durable
        )
        self._frames = Frames(runtime, commands, self._subscriptions, self._unconnected)
        self._leaving = Leaving(runtime, proposals, self._lifecycle)
        self._handshakes = Handshakes(
            runtime, self._unconnected, proxies, self._frames.handle, self._ended
        )
        self._forwarding = (
            Forwarding(config, cluster.shared.node, machine(), cluster.route_to)
            if cluster is not None
            else None
        )
        self._csp = Csp(config, self._handshakes, self._forwarding)
        # The site.
        self._problems = Problems(runtime, self._durable, self._handshakes.unsent)
        self._measuring = Measuring(runtime)
        reports = Reports(runtime, engine.name, self._problems, self._handshakes.unsent)
        self._reporter = Reporter(runtime, proposals, reports.report)
        calls = Calls(
            runtime, proposals, self._durable, self._lifecycle, self._publications, rechecks,
            revoking, reports,
        )  # fmt: skip
        if cluster is not None:
            from .rest.elsewhere import Elsewhere

            Elsewhere(calls.by_name, cluster, proposals, runtime.hub)
        self._rest = Rest(calls, config)
        self._operators = Operators(
            runtime, self._durable, self._handshakes.unsent, self._handshakes.incoming,
            engine.name, lambda: calls.secrets,
        )  # fmt: skip
        self._systemd = Systemd()
        self._port = Port(
            config, self._handshakes, self._sockets, self._rest,
            (self._operators.add_routes, self._csp.add_routes),
        )  # fmt: skip
        self._collecting = Collecting()
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
            if self._cluster is not None and self._forwarding is not None:
                await self._forwarding.start(self._csp.handle)
                self._cluster.route = self._forwarding.route
                await self._cluster.start()
            host, port = self._port.bind(listener)
        except BaseException:
            if self._cluster is not None and self._forwarding is not None:
                await self._cluster.stop()
                await self._forwarding.stop()
            raise
        self._collecting.start()
        await self.runtime.webhooks.start()
        await self._operators.start()
        await self._port.start()
        for work in (
            self.runtime.events.run(),
            self._every_second(),
            self._ping_all(),
            self._durable.run(),
            Housekeeping(self.runtime.webhooks).run(),
            self._confirming.run(),
            Expiring(self.runtime, self._confirming).run(),
        ):
            self._periodic.append(self.runtime.tasks.start(work))  # logs a failure
        self._systemd.ready()
        self.runtime.events.address = address_of(port, self.config.worker)
        return f"http://{bracketed(host)}:{port}"

    async def stop(self) -> None:
        """Stop accepting, ask clients to reconnect and report events, within the grace period.

        Each step has its own deadline, so that neither clients nor the site can delay the stop.
        """
        deadline = time.monotonic() + STOP_SHARE * self.config.grace_period

        def left(share: float = 1.0) -> float:
            return max(0.1, share * (deadline - time.monotonic()))

        self._systemd.stopping()
        self.runtime.connections.stopping = self._lifecycle.stopping = True
        await _step("Closing the port", min(1.0, left(0.1)), self._port.stop())
        await _step("Stopping the pollers", min(1.0, left(0.1)), self._pollers.stop())
        self.runtime.delivery.flush()
        connections = list(self.runtime.connections)
        farewell = restart(len(connections))
        for index, connection in enumerate(connections):
            connection.close(farewell)
            if index % PING_TURN == 0:
                await asyncio.sleep(0)
        self._csp.stop()
        for task in self._periodic:
            task.cancel()
        if self._periodic:
            await asyncio.wait(self._periodic, timeout=min(1.0, left(0.2)))
        await _step("Reporting the events", left(0.6), self.runtime.events.flush(tries=3))
        await self.runtime.tasks.finish(min(1.0, left(0.3)))
        # A connect that the site allowed in the meantime needs a disconnect, which is reported too.
        await _step("The last webhooks", left(0.3), self.runtime.connections.all_answered())
        self._measuring.report(self.runtime.clock())
        self.runtime.events.stopped()
        await _step("Reporting the last events", left(0.3), self.runtime.events.flush(tries=2))
        await _step("Closing the connections", left(0.8), self._port.close())
        if self._cluster is not None:
            await _step("Leaving the other nodes", left(), self._cluster.stop())
        if self._forwarding is not None:
            await _step("Closing the internal address", left(), self._forwarding.stop())
        self._collecting.stop()
        await _step("Closing the webhooks", left(), self.runtime.webhooks.stop())
        await _step("Closing the port for metrics", left(), self._operators.stop())

    def _ended(self, connection: Connection, disconnect: Disconnect) -> None:
        self.metrics.closed[disconnect.code] += 1
        if disconnect is TOO_SLOW:
            self.metrics.dropped_slow += 1
        self._unconnected.remove(connection)
        self._frames.cookies.forget(connection)
        self._leaving.ended(connection, disconnect)
        self._csp.ended(connection)

    # ---- periodic work ---------------------------------------------------

    async def _every_second(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begin = loop.time()
            await asyncio.sleep(1.0)
            self.metrics.loop_lag = max(0.0, loop.time() - begin - 1.0)
            self._systemd.alive(loop.time())
            await self.tick()

    async def tick(self) -> None:
        """Do what is due once a second."""
        now = self.runtime.clock()
        self.metrics.sample(now)
        self._handshakes.unsent.look()
        await self._port.look()
        self._collecting.look(now, len(self.runtime.connections), self.metrics.activity)
        self._problems.look(now)
        self._measuring.look(now)
        self._reporter.tick(now)
        await self._lifecycle.expire(now)
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
