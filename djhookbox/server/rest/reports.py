"""The calls of the REST API that only look: users, connections, channels, counters."""

from __future__ import annotations

import heapq
import os
import time
from typing import Any

from ..clients.leaving import Departures
from ..core.hub import Hub
from ..core.model import User
from ..metrics import STEP, Metrics
from ..site.webhooks import Webhooks
from .forms import MAX_LISTED, BadCall, Form, list_limit, needed, regexes


def named_user(hub: Hub, form: Form, field: str) -> User:
    """Return the user whom a field names.

    Raises:
        BadCall: If nobody of that name is connected.

    """
    name = needed(form, field)
    user = hub.users.get(name)
    if user is None:
        raise BadCall(f"User {name} doesn't exist")
    return user


class Reports:
    """Says what is there."""

    def __init__(
        self,
        *,
        hub: Hub,
        departures: Departures,
        webhooks: Webhooks,
        metrics: Metrics,
        engine_name: str,
    ) -> None:
        self._hub = hub
        self._departures = departures
        self._webhooks = webhooks
        self._metrics = metrics
        self._engine_name = engine_name
        self.by_name = {
            "get_user_info": self._get_user_info,
            "get_server_info": self._get_server_info,
            "list_channels": self._list_channels,
            "list_connections": self._list_connections,
        }

    async def _get_user_info(self, form: Form) -> dict[str, Any]:
        user = named_user(self._hub, form, "user_name")
        options = {name: getattr(user.options, name) for name in user.options.__slots__}
        return {
            "name": user.name,
            "connections": len(user.connections),
            "channels": list(user.subscriptions),
            "options": options,
        }

    async def _get_server_info(self, form: Form) -> dict[str, Any]:
        if form.get("report") != "1":
            return self._info()
        return self.report(form.get("channel", ""), form.get("user", ""))

    def report(self, channel: str = "", user: str = "") -> dict[str, Any]:
        """Return the counts, the rates of the last minutes, and what is going on most.

        Args:
            channel: What the names of the channels listed contain.
            user: What the names of the users whose connections are listed contain.

        """
        incoming, outgoing = self._metrics.series()
        return {
            **self._info(),
            "rates": {
                "step": STEP,
                "in": [round(rate, 2) for rate in incoming],
                "out": [round(rate, 2) for rate in outgoing],
            },
            "channel_list": self._busiest(channel.casefold(), time.time()),
            "connection_list": self._latest(user.casefold()),
        }

    def _info(self) -> dict[str, Any]:
        metrics, now = self._metrics, time.time()
        config = self._webhooks.config
        rate_in, rate_out = metrics.rates()
        p95 = metrics.webhook_percentile(0.95)
        return {
            "version": self._webhooks.config.version,
            "pid": os.getpid(),
            "uptime": round(now - metrics.started, 3),
            "engine": self._engine_name,
            "connections": len(self._departures.connections),
            "users": len(self._hub.users),
            "channels": len(self._hub.channels),
            "connections_total": metrics.connections_total,
            "connections_refused": metrics.refused_total,
            "connections_too_slow": metrics.dropped_slow,
            "messages_in": metrics.messages_in,
            "messages_out": metrics.messages_out,
            "messages_in_per_second": round(rate_in, 2),
            "messages_out_per_second": round(rate_out, 2),
            "webhooks": {
                "url": config.shown(config.webhook_url),
                "total": metrics.webhooks_total,
                "failed": metrics.webhooks_failed,
                "p95_ms": None if p95 is None else round(p95 * 1000, 1),
            },
            "events_dropped": metrics.events_dropped,
        }

    def _busiest(self, part: str, now: float) -> dict[str, Any]:
        channels = self._hub.channels.values()
        found = [c for c in channels if part in c.name.casefold()] if part else channels
        # Not sorted as a whole: there may be very many.
        listed = heapq.nsmallest(MAX_LISTED, found, key=lambda c: (-len(c.subscribers), c.name))
        return {
            "total": len(found),
            "listed": [
                {
                    "name": channel.name,
                    "subscribers": len(channel.subscribers),
                    "history": len(channel.history),
                    "rate": round(channel.published.per_second(now), 2),
                }
                for channel in listed
            ],
        }

    def _latest(self, part: str) -> dict[str, Any]:
        found = [
            (connection.since, connection.id, connection.user, connection.transport)
            for connection in self._departures.connections
            if connection.user is not None and part in connection.user.name.casefold()
        ]
        # By the id as well, which no two share: users cannot be compared.
        listed = heapq.nlargest(MAX_LISTED, found, key=lambda row: row[:2])
        return {
            "total": len(found),
            "listed": [
                {
                    "id": number,
                    "user": user.name,
                    "transport": transport,
                    "since": round(since, 3),
                    "channels": len(user.subscriptions),
                }
                for since, number, user, transport in listed
            ],
        }

    async def _list_channels(self, form: Form) -> dict[str, Any]:
        prefix, limit = form.get("prefix", ""), list_limit(form)
        patterns = regexes(form, "patterns")
        found = [
            channel
            for channel in self._hub.channels.values()
            if channel.name.startswith(prefix)
            and (patterns is None or any(p.fullmatch(channel.name) for p in patterns))
        ]
        found.sort(key=lambda channel: (-len(channel.subscribers), channel.name))
        return {
            "total": len(found),
            "channels": [
                {
                    "name": channel.name,
                    "subscribers": len(channel.subscribers),
                    "connections": len(channel.audience),
                    "history": len(channel.history),
                }
                for channel in found[:limit]
            ],
        }

    async def _list_connections(self, form: Form) -> dict[str, Any]:
        found = [c for c in self._departures.connections if c.user is not None]
        if name := form.get("name"):
            found = [c for c in found if c.user is not None and c.user.name == name]
        found.sort(key=lambda connection: -connection.since)
        return {
            "total": len(found),
            "connections": [
                {
                    "conn_id": connection.id,
                    "user": connection.user.name if connection.user else "",
                    "transport": connection.transport,
                    "remote_addr": connection.handshake.remote_addr,
                    "since": connection.since,
                    "channels": list(connection.user.subscriptions) if connection.user else [],
                }
                for connection in found[: list_limit(form)]
            ],
        }
