"""The parts of the server, package by package, and which parts each one needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..wire.closing import TOO_SLOW, Disconnect
from .channels.durable import Durable
from .channels.lifecycle import Lifecycle
from .channels.pollers import Pollers
from .channels.presence import ServerPresence
from .channels.publications import Publications
from .clients.addresses import TrustedProxies
from .clients.commands import Commands
from .clients.frames import Frames
from .clients.handshake import Handshakes
from .clients.leaving import Leaving
from .clients.subscriptions import Subscriptions
from .clients.unconnected import Unconnected
from .collecting import Collecting
from .connection import Connection
from .core.effects import Emptied, PollingChanged, PresenceDue
from .engine.base import Engine
from .joining import make_proposals
from .listening import machine
from .measuring import Measuring
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
from .site.rechecks import Rechecks
from .site.revoking import Revoking
from .systemd import Systemd
from .transports.csp import Csp
from .transports.forwarding import Forwarding

if TYPE_CHECKING:
    from .channels.shared import SharedProposals


class Channels:
    """What changes channels, and what asks the site about them again."""

    def __init__(self, runtime: Runtime, engine: Engine) -> None:
        self.proposals = make_proposals(runtime, engine)
        self.rechecks = Rechecks(runtime, self.proposals)
        self.confirming = Confirming(runtime)
        self.revoking = Revoking(runtime, self.rechecks, self.confirming)
        self.durable = self.proposals.durable = Durable(runtime, self.proposals, self.revoking)
        self.publications = Publications(runtime, engine, self.proposals)
        self.lifecycle = Lifecycle(runtime, self.proposals, self.publications)
        self.pollers = Pollers(runtime, self.proposals, self.publications)
        runtime.delivery.hand_over(
            {
                Emptied: self.lifecycle.emptied,
                PollingChanged: self.pollers.changed,
                PresenceDue: ServerPresence(runtime, self.proposals).due,
            }
        )
        if runtime.cluster is not None:
            runtime.cluster.bind(runtime, cast("SharedProposals", self.proposals))
            runtime.cluster.answer("poke", self.durable.wake)


class Clients:
    """What serves connections, from the first byte to the end.

    Attributes:
        sockets: Those waiting for a request.
        unconnected: Connections waiting for CONNECT.
        forwarding: Hands CSP requests to the node that has the session, if there are other nodes.

    """

    def __init__(self, runtime: Runtime, channels: Channels) -> None:
        self._metrics = runtime.metrics
        config, proposals, lifecycle = runtime.config, channels.proposals, channels.lifecycle
        proxies = TrustedProxies(config.trusted_proxies)
        bounds = (
            config.max_unconnected,
            config.max_unconnected_per_address,
            config.connect_timeout,
            proxies.includes,
        )
        self.sockets, self.unconnected = Unconnected(*bounds), Unconnected(*bounds)
        authorizer = Authorizer(runtime, proposals, lifecycle)
        self.subscriptions = Subscriptions(runtime, proposals, lifecycle, authorizer)
        commands = Commands(
            runtime, proposals, lifecycle, channels.publications, authorizer, channels.durable
        )
        self.frames = Frames(runtime, commands, self.subscriptions, self.unconnected)
        self.leaving = Leaving(runtime, proposals, lifecycle)
        self.handshakes = Handshakes(
            runtime, self.unconnected, proxies, self.frames.handle, self.ended
        )
        cluster = runtime.cluster
        self.forwarding = (
            Forwarding(config, cluster.shared.node, machine(), cluster.route_to)
            if cluster is not None
            else None
        )
        self.csp = Csp(config, self.handshakes, self.forwarding)

    def ended(self, connection: Connection, disconnect: Disconnect) -> None:
        """Forget a connection that has ended; its user leaves."""
        self._metrics.closed[disconnect.code] += 1
        if disconnect is TOO_SLOW:
            self._metrics.dropped_slow += 1
        self.unconnected.remove(connection)
        self.frames.cookies.forget(connection)
        self.leaving.ended(connection, disconnect)
        self.csp.ended(connection)


class Service:
    """What the site and operators use: the port, the REST API, and what watches the process."""

    def __init__(
        self, runtime: Runtime, engine: Engine, channels: Channels, clients: Clients
    ) -> None:
        config, proposals, durable = runtime.config, channels.proposals, channels.durable
        unsent, incoming = clients.handshakes.unsent, clients.handshakes.incoming
        self.problems = Problems(runtime, durable, unsent)
        self.measuring = Measuring(runtime)
        reports = Reports(runtime, engine.name, self.problems, unsent)
        self.reporter = Reporter(runtime, proposals, reports.report)
        calls = Calls(
            runtime, proposals, durable, channels.lifecycle, channels.publications,
            channels.rechecks, channels.revoking, reports,
        )  # fmt: skip
        if runtime.cluster is not None:
            from .rest.elsewhere import Elsewhere

            Elsewhere(calls.by_name, runtime.cluster, proposals, runtime.hub)
        self.rest = Rest(calls, config)
        self.operators = Operators(
            runtime, durable, unsent, incoming, engine.name, lambda: calls.secrets
        )
        routes = (self.operators.add_routes, clients.csp.add_routes)
        self.port = Port(config, clients.handshakes, clients.sockets, self.rest, routes)
        self.collecting = Collecting()
        self.systemd = Systemd()
