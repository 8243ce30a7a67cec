"""What nearly every part of the server works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels.delivery import Delivery
    from .clients.registry import Connections
    from .config import ServerConfig
    from .core.hub import Hub
    from .metrics import Metrics
    from .site.events import Events
    from .site.webhooks import Webhooks
    from .tasks import Tasks


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one server that the others share.

    Attributes:
        config: How the server runs.
        clock: Gives the time in seconds since the epoch.
        tasks: Owns all background work.
        metrics: Counts.
        hub: The core: channels, users and subscriptions.
        connections: All open connections.
        delivery: Carries out what the core wants sent.
        webhooks: Calls to the site.
        events: What the site learns in batches.

    """

    config: ServerConfig
    clock: Callable[[], float]
    tasks: Tasks
    metrics: Metrics
    hub: Hub
    connections: Connections
    delivery: Delivery
    webhooks: Webhooks
    events: Events
