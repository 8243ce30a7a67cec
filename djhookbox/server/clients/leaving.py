"""What happens when a connection ends.

Nothing waits for it: the user leaves all channels immediately. Events notify the site, or webhooks
in the background if a handler may answer them, in the order of the reference (section 8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from ...wire import capabilities, webhooks
from ...wire.closing import Disconnect
from ...wire.events import Disconnected, Unsubscribed
from ...wire.webhooks import Webhook
from ..channels.lifecycle import Lifecycle
from ..channels.proposals import Proposals
from ..connection import Connection
from ..core.model import Channel, User
from ..refusals import Refusal
from ..runtime import Runtime
from ..site.decision_log import Sample
from ..site.order import traces

logger = logging.getLogger("djhookbox.server")

R = TypeVar("R")

#: Seconds to wait for the other nodes before the end of a connection is reported.
DEPARTURE_SECONDS = 5.0


class Leaving:
    """Clean up after connections."""

    def __init__(self, runtime: Runtime, proposals: Proposals, lifecycle: Lifecycle) -> None:
        self._connections = runtime.connections
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._tasks = runtime.tasks
        self._cluster = runtime.cluster
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
        ended = connection.ended(user.name, disconnect)
        tells = not self._connections.stopping and (told or not user.connections)
        # The end of a user's last connection is the last that is reported of it, so that a crash
        # does not separate it from the signal.
        later = tells and not user.connections and capabilities.LEAVING in self._webhooks.accepted
        if not later:
            self._events.add(ended)
        if self._sample.has_end(connection.id, disconnect):
            logger.info(
                "Connection %s of %r closed: %d %s",
                connection.id, user.name, disconnect.code, disconnect.reason,
                extra={
                    "connection": connection.id, "user": user.name, "code": disconnect.code,
                    "reason": disconnect.reason, "transport": connection.transport,
                    "duration_ms": round(connection.age * 1000),
                },
            )  # fmt: skip
        for channel in left:
            if self._connections.stopping or not channel.options.asks("unsubscribe"):
                event = _unsubscribed(channel, connection, "disconnect", disconnect.reason)
                self._events.add(event)
        departed: asyncio.Task[bool] | None = None
        if self._cluster is not None and not user.connections:
            departed = asyncio.ensure_future(self._cluster.depart(user.name))
        if later:
            self._tasks.start(self._report_all(connection, ended, told, left, departed))
        elif tells:
            self._tasks.start(self._tell(connection, user, told, left, departed))

    async def _report_all(
        self,
        connection: Connection,
        ended: Disconnected,
        pinned: Sequence[Channel],
        left: Sequence[Channel],
        departed: asyncio.Task[bool] | None,
    ) -> None:
        """Report by events that a user has left its channels, and the end of its connection."""
        late: asyncio.Task[bool] | None = None
        browser = traces(connection)
        try:
            for channel in pinned:
                if channel in left and channel.options.asks("unsubscribe"):
                    event = _unsubscribed(channel, connection, "disconnect", ended.reason, True)
                    self._events.add(event, browser)
                await self._lifecycle.release(channel)
            last = True
            if departed is not None:
                done, _ = await asyncio.wait({departed}, timeout=DEPARTURE_SECONDS)
                last = bool(done) and departed.result()
                late = None if done else departed
            if last:
                ended = replace(ended, last=True)
        finally:
            self._events.add(ended, browser)
        if late is not None and await late:
            await self._call(webhooks.Disconnect(ended.user), connection)

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
                    self._events.add(_unsubscribed(channel, connection, "auto", ""))
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


def _unsubscribed(
    channel: Channel, connection: Connection, by: str, reason: str, signal: bool | None = None
) -> Unsubscribed:
    user = connection.user.name if connection.user is not None else ""
    return Unsubscribed(channel.name, user, connection.id, by, reason, signal)
