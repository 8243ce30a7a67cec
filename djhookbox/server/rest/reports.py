"""The read-only calls of the REST API: users, connections, channels and counters."""

from __future__ import annotations

import heapq
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ...wire import answers, records, rest
from ...wire.listing import MAX_LISTED, MAX_PAGES, MAX_TAIL, PAGE
from ...wire.urls import without_password
from ...wire.values import dumps
from .. import usage
from ..connection import Connection
from ..core.hub import Hub
from ..core.model import Channel, User
from ..metrics import STEP
from ..problems import Problems
from ..runtime import Runtime
from ..unsent import Unsent
from .failures import NoChannel
from .forms import BadCall, Form, bound, compiled

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

#: Bytes of memory of the payloads in a tail; those that do not fit are omitted.
MAX_TAIL_BYTES = 262_144

Item = TypeVar("Item")


def named_user(hub: Hub, name: str) -> User:
    """Return a connected user.

    Raises:
        BadCall: If no user of that name is connected.

    """
    user = hub.users.get(name)
    if user is None:
        raise BadCall(f"User {name} doesn't exist")
    return user


def _part(
    found: Iterable[Item], key: Callable[[Item], SupportsRichComparison], page: int | None
) -> list[Item]:
    """Return a part of what was found, in an order."""
    end = PAGE * max(1, min(page or 1, MAX_PAGES))
    # Do not sort the whole list: it may be very long.
    return heapq.nsmallest(end, found, key=key)[end - PAGE :]


class Reports:
    """Answer the read-only calls."""

    def __init__(
        self, runtime: Runtime, engine_name: str, problems: Problems, unsent: Unsent
    ) -> None:
        self._problems = problems
        self._unsent = unsent
        self._hub = runtime.hub
        self._connections = runtime.connections
        self._webhooks = runtime.webhooks
        self._cluster = runtime.cluster
        self._metrics = runtime.metrics
        self._clock = runtime.clock
        self._engine_name = engine_name
        self.by_name: dict[str, Callable[[Form], Awaitable[dict[str, object]]]] = {
            rest.GetUserInfo.name: bound(rest.GetUserInfo, self._get_user_info),
            rest.GetServerInfo.name: bound(rest.GetServerInfo, self._get_server_info),
            rest.ListChannels.name: bound(rest.ListChannels, self._list_channels),
            rest.ListConnections.name: bound(rest.ListConnections, self._list_connections),
            rest.ListUsers.name: bound(rest.ListUsers, self._list_users),
            rest.Tail.name: bound(rest.Tail, self._tail),
        }

    async def _get_user_info(self, request: rest.GetUserInfo) -> answers.UserInfo:
        user = named_user(self._hub, request.user_name)
        return answers.UserInfo(
            name=user.name,
            connections=len(user.connections),
            channels=tuple(user.subscriptions),
            options=asdict(user.options),
        )

    async def _get_server_info(self, request: rest.GetServerInfo) -> answers.ServerInfo:
        if not request.report:
            return self._info()
        return self._report(request)

    def report(self) -> dict[str, object]:
        """Return the counts, the recent rates, and the busiest channels."""
        return records.write(self._report(rest.GetServerInfo()))

    def _report(self, request: rest.GetServerInfo) -> answers.ServerInfo:
        incoming, outgoing = self._metrics.series()
        return replace(
            self._info(),
            rates=answers.Rates(
                step=STEP,
                incoming=tuple(round(rate, 2) for rate in incoming),
                outgoing=tuple(round(rate, 2) for rate in outgoing),
            ),
            channel_list=self._busiest(request, self._clock()),
            connection_list=self._latest(request),
        )

    def _info(self) -> answers.ServerInfo:
        metrics, now = self._metrics, self._clock()
        rate_in, rate_out = metrics.rates()
        p95 = metrics.webhook_percentile(0.95)
        files, files_limit = usage.files()
        return answers.ServerInfo(
            version=self._webhooks.config.version,
            pid=os.getpid(),
            supervisor=self._webhooks.config.supervisor or None,
            worker=self._webhooks.config.worker or None,
            uptime=round(now - metrics.started, 3),
            engine=self._engine_name,
            connections=len(self._connections),
            users=len(self._hub.users),
            channels=len(self._hub.channels),
            connections_total=metrics.connections_total,
            connections_refused=metrics.refused_total,
            connections_too_slow=metrics.dropped_slow,
            messages_in=metrics.messages_in,
            messages_out=metrics.messages_out,
            messages_in_per_second=round(rate_in, 2),
            messages_out_per_second=round(rate_out, 2),
            webhooks=answers.WebhookFigures(
                url=without_password(self._webhooks.config.webhook_url),
                total=metrics.webhooks_total,
                failed=metrics.webhooks_failed,
                p95_ms=None if p95 is None else round(p95 * 1000, 1),
            ),
            events_dropped=metrics.events_dropped,
            problems=self._problems.found,
            files=files,
            files_limit=files_limit,
            memory=usage.resident(),
            memory_limit=usage.memory_limit(),
            slow_clients=self._unsent.clients,
            unsent=self._unsent.total,
            nodes=self._cluster.nodes() if self._cluster is not None else (),
        )

    def _busiest(self, request: rest.GetServerInfo, now: float) -> answers.BusyChannels:
        channels = self._hub.channels.values()
        part = request.channel.casefold()
        found = [c for c in channels if part in c.name.casefold()] if part else channels
        value: Callable[[Channel], float] = {
            "rate": lambda channel: channel.published.per_second(now),
            "history": lambda channel: len(channel.history),
            "newest": lambda channel: channel.created,
            "oldest": lambda channel: -channel.created,
        }.get(request.channel_sort, lambda channel: len(channel.subscribers))
        listed = _part(found, lambda channel: (-value(channel), channel.name), request.channel_page)
        return answers.BusyChannels(
            total=len(found),
            listed=tuple(
                answers.BusyChannel(
                    name=channel.name,
                    subscribers=len(channel.subscribers),
                    history=len(channel.history),
                    rate=round(channel.published.per_second(now), 2),
                    since=round(channel.created, 3),
                )
                for channel in listed
            ),
        )

    def _latest(self, request: rest.GetServerInfo) -> answers.LatestConnections:
        part = request.user.casefold()
        found = [
            (connection, connection.user)
            for connection in self._connections
            if connection.user is not None and part in connection.user.name.casefold()
        ]
        value: Callable[[tuple[Connection, User]], tuple[float, ...]] = {
            "unsent": lambda pair: (-pair[0].unsent,),
            "channels": lambda pair: (-len(pair[1].subscriptions),),
            "newest": lambda pair: (-pair[0].since,),
            "oldest": lambda pair: (pair[0].since,),
        }.get(request.user_sort, lambda pair: (-pair[0].unsent, -pair[0].since))
        # Compare ids too, which are unique: users cannot be compared.
        listed = _part(found, lambda pair: (value(pair), pair[0].id), request.user_page)
        return answers.LatestConnections(
            total=len(found),
            listed=tuple(
                answers.LatestConnection(
                    id=connection.id,
                    user=user.name,
                    transport=connection.transport,
                    since=round(connection.since, 3),
                    channels=len(user.subscriptions),
                    unsent=connection.unsent,
                )
                for connection, user in listed
            ),
        )

    async def _list_channels(self, request: rest.ListChannels) -> answers.ChannelList:
        patterns = None
        if request.patterns is not None:
            patterns = compiled(request.patterns, "patterns")
        found = [
            channel
            for channel in self._hub.channels.values()
            if channel.name.startswith(request.prefix)
            and (patterns is None or any(p.fullmatch(channel.name) for p in patterns))
        ]
        found.sort(key=lambda channel: (-len(channel.subscribers), channel.name))
        now = self._clock()
        return answers.ChannelList(
            total=len(found),
            channels=tuple(
                answers.ListedChannel(
                    name=channel.name,
                    subscribers=len(channel.subscribers),
                    connections=len(channel.audience),
                    history=len(channel.history),
                    rate=round(channel.published.per_second(now), 2),
                )
                for channel in found[: min(MAX_LISTED, request.limit)]
            ),
        )

    async def _tail(self, request: rest.Tail) -> answers.ChannelTail:
        channel = self._hub.channels.get(request.channel_name)
        if channel is None:
            raise NoChannel(request.channel_name)
        if channel.stream is None:
            return answers.ChannelTail()
        listed = []
        weight = 0
        for publication in islice(reversed(channel.stream.publications), MAX_TAIL):
            data = channel.shown(publication.data)
            fits = request.payloads and weight + publication.weight <= MAX_TAIL_BYTES
            weight += publication.weight * fits
            listed.append(
                answers.Tailed(
                    offset=publication.offset,
                    at=round(publication.at, 3),
                    user=str(data.get("user") or ""),
                    payload=dumps(data.get("payload")) if fits else None,
                )
            )
        return answers.ChannelTail(True, tuple(listed))

    async def _list_users(self, request: rest.ListUsers) -> answers.UserNames:
        if not request.channel_name:
            return answers.UserNames(tuple(self._hub.users))
        channel = self._hub.channels.get(request.channel_name)
        return answers.UserNames(() if channel is None else tuple(channel.subscribers))

    async def _list_connections(self, request: rest.ListConnections) -> answers.ConnectionList:
        found = [
            (connection, connection.user)
            for connection in self._connections
            if connection.user is not None and request.user_name in ("", connection.user.name)
        ]
        found.sort(key=lambda pair: -pair[0].since)
        return answers.ConnectionList(
            total=len(found),
            connections=tuple(
                answers.ListedConnection(
                    conn_id=connection.id,
                    user=user.name,
                    transport=connection.transport,
                    remote_addr=connection.handshake.remote_addr,
                    since=connection.since,
                    channels=tuple(user.subscriptions),
                    user_agent=connection.handshake.user_agent,
                    origin=connection.handshake.origin,
                    unsent=connection.unsent,
                    identity=connection.identity,
                )
                for connection, user in found[: min(MAX_LISTED, request.limit)]
            ),
        )
