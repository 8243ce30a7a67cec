"""What happens when a connection ends.

Nobody waits for it: the user is out of all channels at once, and the webhooks that tell the
site about it follow in the background, in the order of the reference (section 8).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...wire.closing import Disconnect
from ..channels.delivery import Delivery
from ..channels.lifecycle import Lifecycle
from ..core.hub import Hub
from ..core.model import Channel, User
from ..site.events import Events
from ..site.webhooks import Refusal, Webhooks
from ..tasks import Tasks
from .commands import Operations
from .connection import Connection

logger = logging.getLogger("djhookbox.server")


class Departures:
    """Cleans up after connections."""

    def __init__(
        self,
        hub: Hub,
        delivery: Delivery,
        operations: Operations,
        lifecycle: Lifecycle,
        webhooks: Webhooks,
        events: Events,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._delivery = delivery
        self._by_identity = operations.by_identity
        self._lifecycle = lifecycle
        self._webhooks = webhooks
        self._events = events
        self._tasks = tasks
        self.connections: set[Connection] = set()
        #: Set while the server stops: all go at once and come back soon, so that a webhook for
        #: each would only storm the site.
        self.stopping = False

    def ended(self, connection: Connection, disconnect: Disconnect) -> None:
        """Take a connection out of everything; called once for each."""
        self.connections.discard(connection)
        user = connection.user
        if user is None:
            logger.info("Connection %s closed before it connected", connection.id)
            return
        if connection.identity:
            self._forget_identity(connection)
        self._delivery.flush()
        told = [] if self.stopping else list(user.subscriptions.values())
        for channel in told:
            self._lifecycle.pin(channel)  # destroy_channel comes after unsubscribe
        effects, left = self._hub.detach(connection, time.time())
        self._delivery.perform(effects)
        self._events.add(
            "disconnect",
            **connection.facts(),
            user=user.name,
            code=disconnect.code,
            reason=disconnect.reason,
        )
        logger.info(
            "Connection %s of %r closed: %d %s",
            connection.id, user.name, disconnect.code, disconnect.reason,
        )  # fmt: skip
        for channel in left:
            if self.stopping or not channel.options.asks("unsubscribe"):
                self._report(channel, user, connection, "disconnect", disconnect.reason)
        if not self.stopping and (told or not user.connections):
            self._tasks.start(self._tell(connection, user, told, left))

    async def _tell(
        self,
        connection: Connection,
        user: User,
        pinned: Sequence[Channel],
        left: Sequence[Channel],
    ) -> None:
        last = not user.connections
        ended: list[object] = []  # what the site has ended itself while it was told
        for channel in pinned:
            if channel in left and channel.options.asks("unsubscribe"):
                if channel.name in ended:
                    self._report(channel, user, connection, "auto", "")
                else:
                    form = {"channel_name": channel.name, "user": user.name}
                    options = await self._call("unsubscribe", form, connection)
                    names = options.get("auto_unsubscribe")
                    ended += names if isinstance(names, list) else []
            await self._lifecycle.release(channel)
        if last:
            await self._call("disconnect", {"name": user.name}, connection)

    async def _call(
        self, hook: str, form: dict[str, str], connection: Connection
    ) -> Mapping[str, Any]:
        # A failure is logged by the webhook, and the user has gone all the same. An
        # auto_subscribe in the answer has nobody to go to (D37).
        with suppress(Refusal):
            return (await self._webhooks.call(hook, form, connection)).options
        return {}

    def _report(
        self, channel: Channel, user: User, connection: Connection, by: str, reason: str
    ) -> None:
        self._events.add(
            "unsubscribe",
            channel_name=channel.name,
            user=user.name,
            conn_id=connection.id,
            by=by,
            reason=reason,
        )

    def _forget_identity(self, connection: Connection) -> None:
        # All anonymous visitors have the same: this must not take longer the more there are.
        same = self._by_identity.get(connection.identity, set())
        same.discard(connection)
        if not same:
            self._by_identity.pop(connection.identity, None)
