"""What happens when a connection ends.

Nothing waits for it: the user leaves all channels immediately, and the webhooks that notify the
site follow in the background, in the order of the reference (section 8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from ...wire import webhooks
from ...wire.closing import Disconnect
from ...wire.events import Unsubscribed
from ...wire.webhooks import Webhook
from ..channels.lifecycle import Lifecycle
from ..channels.proposals import Proposals
from ..core.model import Channel, User
from ..decision_log import Sample
from ..runtime import Runtime
from ..site.webhooks import Refusal
from .connection import Connection

logger = logging.getLogger("djhookbox.server")

R = TypeVar("R")


class Leaving:
    """Clean up after connections."""

    def __init__(self, runtime: Runtime, proposals: Proposals, lifecycle: Lifecycle) -> None:
        self._connections = runtime.connections
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._tasks = runtime.tasks
        self._cluster = runtime.cluster
        self._clock = runtime.clock
        self._sample = Sample(runtime.config.log_sample)
        self._proposals = proposals
        self._lifecycle = lifecycle

    def ended(self, connection: Connection, disconnect: Disconnect) -> None:
        """Remove a connection from everything; called once for each connection."""
        self._connections.remove(connection)
        user = connection.user
        if user is None:
            logger.info("Connection %s closed before it connected", connection.id)
            return
        told = [] if self._connections.stopping else list(user.subscriptions.values())
        for channel in told:
            self._lifecycle.pin(channel.name)  # destroy_channel comes after unsubscribe
        left = self._proposals.detach(connection)
        self._events.add(connection.ended(user.name, disconnect))
        if self._sample.has_end(connection.id, disconnect):
            logger.info(
                "Connection %s of %r closed: %d %s",
                connection.id, user.name, disconnect.code, disconnect.reason,
                extra={
                    "connection": connection.id, "user": user.name, "code": disconnect.code,
                    "reason": disconnect.reason, "transport": connection.transport,
                    "duration_ms": round((self._clock() - connection.since) * 1000),
                },
            )  # fmt: skip
        for channel in left:
            if self._connections.stopping or not channel.options.asks("unsubscribe"):
                self._report(channel, user, connection, "disconnect", disconnect.reason)
        departed: asyncio.Task[bool] | None = None
        if self._cluster is not None and not user.connections:
            departed = asyncio.ensure_future(self._cluster.depart(user.name))
        if not self._connections.stopping and (told or not user.connections):
            self._tasks.start(self._tell(connection, user, told, left, departed))

    async def _tell(
        self,
        connection: Connection,
        user: User,
        pinned: Sequence[Channel],
        left: Sequence[Channel],
        departed: asyncio.Task[bool] | None,
    ) -> None:
        last = not user.connections
        ended: list[str] = []  # ended by the site in the meantime
        for channel in pinned:
            if channel in left and channel.options.asks("unsubscribe"):
                if channel.name in ended:
                    self._report(channel, user, connection, "auto", "")
                else:
                    webhook = webhooks.Unsubscribe(channel.name, user.name)
                    reply = await self._call(webhook, connection)
                    ended += reply.auto_unsubscribe if reply is not None else ()
            await self._lifecycle.release(channel)
        if last and departed is not None:
            last = await departed
        if last:
            await self._call(webhooks.Disconnect(user.name), connection)

    async def _call(self, webhook: Webhook[R], connection: Connection) -> R | None:
        # The webhook logs a failure, and the user is gone regardless. An auto_subscribe in the
        # answer cannot be carried out for a user who is gone (D37).
        with suppress(Refusal):
            return (await self._webhooks.send(webhook, connection)).check()
        return None

    def _report(
        self, channel: Channel, user: User, connection: Connection, by: str, reason: str
    ) -> None:
        self._events.add(
            Unsubscribed(
                channel_name=channel.name,
                user=user.name,
                conn_id=connection.id,
                by=by,
                reason=reason,
            )
        )
