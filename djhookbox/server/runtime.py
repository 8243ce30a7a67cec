"""The objects that nearly every part of the server uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels.delivery import Delivery
    from .clients.expiries import Expiries
    from .clients.registry import Connections
    from .cluster import Cluster
    from .config import ServerConfig
    from .core.hub import Hub
    from .engine.redis.engine import RedisEngine
    from .metrics import Metrics
    from .site.events import Events
    from .site.webhooks import Webhooks
    from .tasks import Tasks


@dataclass(frozen=True, slots=True)
class Runtime:
    """The shared parts of one server.

    Attributes:
        config: The server's configuration.
        clock: Returns the time in seconds since the epoch.
        tasks: Owns all background tasks.
        metrics: The counters.
        hub: The core: channels, users and subscriptions.
        connections: All open connections.
        expiries: When their sessions expire.
        delivery: Performs the effects of the core.
        webhooks: Makes the calls to the site.
        events: Reports events to the site in batches.
        shared: The engine, if it is shared with other nodes.
        cluster: This node among those others.

    """

    config: ServerConfig
    clock: Callable[[], float]
    tasks: Tasks
    metrics: Metrics
    hub: Hub
    connections: Connections
    expiries: Expiries
    delivery: Delivery
    webhooks: Webhooks
    events: Events
    shared: RedisEngine | None = None
    cluster: Cluster | None = None
