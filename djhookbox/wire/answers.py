"""The answers to REST calls: one record for each.

An answer is `[true, {…}]`, or `[false, {"msg": …, "code": …}]`. Nearly every field has a default,
as another version may have written the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .values import dumps


@dataclass(frozen=True, slots=True)
class Published:
    """The number of connections a publication reached, and its position in the channel's stream.

    The genuine 0.3.3 reports neither.

    Attributes:
        reported: Whether an event will report it, so that the caller need not record it.

    """

    delivered: int | None = None
    epoch: str | None = None
    offset: int | None = None
    reported: bool | None = None

    def json(self) -> str:
        """Return the same as `records.write` as JSON, which takes much longer."""
        parts = [] if self.delivered is None else [f'"delivered":{self.delivered}']
        if self.epoch is not None:
            parts.append(f'"epoch":{dumps(self.epoch)}')
        if self.offset is not None:
            parts.append(f'"offset":{self.offset}')
        if self.reported is not None:
            parts.append(f'"reported":{dumps(self.reported)}')
        return f"{{{','.join(parts)}}}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of one of many publications.

    Attributes:
        delivered: The number of connections that it reached, if it was published.
        msg: Why it was not published; empty if it was.
        code: A short code for that.
        reported: Whether an event will report it, so that the caller need not record it.

    """

    delivered: int | None = None
    msg: str = ""
    code: str = ""
    reported: bool | None = None


@dataclass(frozen=True, slots=True)
class PublishedMany:
    """What has become of each of many publications, in order."""

    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class CursorAnswer:
    """A position as `epoch:offset`, or "" if the channel has no stream."""

    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The number of connections closed."""

    disconnected: int = 0


@dataclass(frozen=True, slots=True)
class Rechecking:
    """The extent of a recheck, which continues in the background."""

    channels: int | None = None
    subscriptions: int | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """What became of revocations, without those that were carried out before.

    Attributes:
        disconnected: The number of connections closed.
        channels: The number of channels with a recheck, which continues in the background.
        connections: The number of connections that are concerned by it.

    """

    disconnected: int | None = None
    channels: int | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class ListedConnection:
    """An open connection.

    Attributes:
        since: In seconds since the epoch.
        user_agent: Its browser's User-Agent header.
        origin: The origin of its page.
        unsent: Bytes that wait for the client.
        identity: The site's identifier of its session or token.

    """

    conn_id: str
    user: str = ""
    transport: str = ""
    remote_addr: str = ""
    since: float | None = None
    channels: tuple[str, ...] = ()
    user_agent: str = ""
    origin: str = ""
    unsent: int | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The listed connections, and the total number."""

    total: int = 0
    connections: tuple[ListedConnection, ...] = ()


@dataclass(frozen=True, slots=True)
class UserNames:
    """The names of connected users, each once, including those of anonymous visitors."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A live channel, as listed; `rate` is in publications per second."""

    name: str
    subscribers: int | None = None
    connections: int | None = None
    history: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelList:
    """The listed channels, and the total number."""

    total: int | None = None
    channels: tuple[ListedChannel, ...] = ()


@dataclass(frozen=True, slots=True)
class Tailed:
    """A publication in the tail of a channel.

    Attributes:
        offset: Its number in the channel's stream.
        at: When it was made, in seconds since the epoch.
        user: The sender; empty if the site sent it, or if the channel is anonymous.
        payload: The message as JSON text, if it was asked for and is not too long.

    """

    offset: int
    at: float | None = None
    user: str = ""
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelTail:
    """A channel's latest publications, the newest first.

    Attributes:
        kept: Whether the channel keeps its publications at all.
        publications: Those that it still has.

    """

    kept: bool = False
    publications: tuple[Tailed, ...] = ()


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A connected user."""

    name: str
    connections: int = 0
    channels: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """Statistics on webhooks; `p95_ms` is in milliseconds."""

    url: str = ""
    total: int | None = None
    failed: int | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages per second in steps of `step` seconds, oldest first."""

    step: float | None = None
    incoming: tuple[float, ...] | None = field(default=None, metadata={"as": "in"})
    outgoing: tuple[float, ...] | None = field(default=None, metadata={"as": "out"})


@dataclass(frozen=True, slots=True)
class BusyChannel:
    """A channel in a report.

    Attributes:
        rate: Publications per second.
        since: When it was opened, in seconds since the epoch.

    """

    name: str
    subscribers: int | None = None
    history: int | None = None
    rate: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class BusyChannels:
    """A part of the live channels, in the requested order, and the total number."""

    total: int
    listed: tuple[BusyChannel, ...]


@dataclass(frozen=True, slots=True)
class LatestConnection:
    """A connection in a report; `since` is in seconds since the epoch, `unsent` in bytes."""

    id: str
    user: str
    transport: str = ""
    since: float | None = None
    channels: int | None = None
    unsent: int | None = None


@dataclass(frozen=True, slots=True)
class LatestConnections:
    """A part of the open connections, in the requested order, and the total number."""

    total: int
    listed: tuple[LatestConnection, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the server; a newer server may report others.

    Attributes:
        name: Which one, see `server/problems.py`.
        value: How large it is: a number, or seconds.
        limit: What the value is compared with, if it has a limit.
        since: Since when, in seconds since the epoch.

    """

    name: str
    value: float
    limit: float | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One of several processes that share their channels.

    The one that answers reports its current figures, the others those of their last heartbeats.

    Attributes:
        address: Its machine and port, and the number of the worker.
        started: When it started, in seconds since the epoch.
        lag: By how much its event loop was late, in seconds.
        alive: Whether it has reported within its lease.
        round_trip: How long Redis takes to answer, in seconds, averaged over the latest answers.
        reconnects: How often its connection to Redis was made again.
        inbox_reconnects: The same of the connection for messages of other processes.
        versions_missed: How often messages of other processes were lost.
        snapshots_reloaded: How many channels it has reloaded.
        leases_lost: How often the others considered it dead.

    """

    id: str
    address: str = ""
    pid: int | None = None
    version: str = ""
    started: float | None = None
    connections: int | None = None
    users: int | None = None
    channels: int | None = None
    lag: float | None = None
    alive: bool = True
    round_trip: float | None = None
    reconnects: int | None = None
    inbox_reconnects: int | None = None
    versions_missed: int | None = None
    snapshots_reloaded: int | None = None
    leases_lost: int | None = None


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server's report about itself; the last three fields are set only in a full report.

    Attributes:
        uptime: Seconds since it started.
        supervisor: The process id of the supervisor if this process is one of its workers.
        worker: The number of this worker, from 1.
        nodes: All processes that share their channels, this one included.
        files: Open file descriptors, and their limit; memory in bytes, and its limit.
        slow_clients: Clients that have not read everything, and the bytes that wait for them.

    """

    version: str = ""
    pid: int | None = None
    supervisor: int | None = None
    worker: int | None = None
    uptime: float | None = None
    engine: str | None = None
    connections: int | None = None
    users: int | None = None
    channels: int | None = None
    connections_total: int | None = None
    connections_refused: int | None = None
    connections_too_slow: int | None = None
    messages_in: int | None = None
    messages_out: int | None = None
    messages_in_per_second: float | None = None
    messages_out_per_second: float | None = None
    webhooks: WebhookFigures | None = None
    events_dropped: int | None = None
    problems: tuple[Problem, ...] = ()
    nodes: tuple[NodeInfo, ...] = ()
    files: int | None = None
    files_limit: int | None = None
    memory: int | None = None
    memory_limit: int | None = None
    slow_clients: int | None = None
    unsent: int | None = None
    rates: Rates | None = None
    channel_list: BusyChannels | None = None
    connection_list: LatestConnections | None = None


@dataclass(frozen=True, slots=True)
class Poked:
    """The answer to `poke`.

    Attributes:
        looks_in: Seconds until the server will look at the outbox again; 0 if it may be looking
            now. What is committed before needs no other poke.

    """

    looks_in: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The answer of calls that return nothing."""
