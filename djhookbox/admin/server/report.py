"""What the server page shows, read from an answer that may come from another version."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from django.template.defaultfilters import filesizeformat
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...models import ConnectionLog
from ...process.describing import finite
from ...process.states import ProcessStatus
from ...wire.listing import PAGE
from ..pages import grouped
from ..times import local, today

if TYPE_CHECKING:
    from ...wire.answers import BusyChannels, LatestConnections, NodeInfo, ServerInfo

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A live channel in the list."""

    name: str
    subscribers: str
    history: str
    rate: str
    since: datetime.datetime | None

    @property
    def clock(self) -> str:
        """The time it was opened."""
        return clock(self.since)


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """An open connection in the list."""

    id: str
    user: str
    transport: str
    since: datetime.datetime | None
    channels: str
    unsent: str

    @property
    def clock(self) -> str:
        """The time it was opened."""
        return clock(self.since)


def clock(moment: datetime.datetime | None) -> str:
    """Format a time, with the day if that is not today."""
    if moment is None:
        return ""
    return f"{moment:%H:%M:%S}" if moment.date() == today() else f"{moment:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """The first rows of a list that may be longer."""

    total: int
    rows: tuple[Row, ...]

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than it shows."""
        return self.total > len(self.rows)


@dataclass(frozen=True, slots=True)
class Count:
    """A named figure; `series` holds its values in the last ten minutes."""

    key: str
    name: str
    value: str
    series: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the page shows about a running process, besides its state."""

    counts: tuple[Count, ...]
    #: None if the process does not list them.
    channels: Listing[ChannelRow] | None
    connections: Listing[ConnectionRow] | None


def read_report(now: ProcessStatus) -> Report:
    """Return what a process reported; missing or invalid values are omitted."""
    info = now.info
    return Report(
        tuple(_counts(info)),
        _channels(info.channel_list),
        _connections(info.connection_list),
    )


def etag(*parts: object) -> str:
    """Return a tag that changes with the shown values.

    It depends on the values, not on the page: each rendering of a form has another CSRF token.
    """
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


# ---- parts -----------------------------------------------------------------------------------


def _counts(info: ServerInfo) -> list[Count]:
    rates, webhooks = info.rates, info.webhooks
    p95 = None if webhooks is None else webhooks.p95_ms
    failed = None if webhooks is None else webhooks.failed
    incoming, outgoing = (None, None) if rates is None else (rates.incoming, rates.outgoing)
    counts = [
        _all_connections(info),
        Count("users", _("Users"), whole(info.users)),
        Count("channels", _("Channels"), whole(info.channels)),
        Count(
            "in", _("Messages in per second"), rate(info.messages_in_per_second),
            _series(incoming),
        ),
        Count(
            "out", _("Messages out per second"), rate(info.messages_out_per_second),
            _series(outgoing),
        ),
        Count(
            "p95", _("Webhooks, 95th percentile"),
            "" if p95 is None else _("%(time)s ms") % {"time": whole(round(p95))},
        ),
        Count("failed", _("Failed webhooks"), whole(failed)),
    ]  # fmt: skip
    return [count for count in counts if count.value]


def _all_connections(info: ServerInfo) -> Count:
    """Return how many connections there are; `static/djhookbox/admin/report.js` counts alike."""
    if len(info.nodes) < 2:
        return Count("connections", _("Connections"), whole(info.connections))
    found = sum(finite(node.connections) or 0 for node in info.nodes if node.alive)
    return Count("connections", _("Connections, all processes"), whole(found))


def _channels(found: BusyChannels | None) -> Listing[ChannelRow] | None:
    if found is None:
        return None
    rows = [
        ChannelRow(
            name=row.name,
            subscribers=whole(row.subscribers),
            history=whole(row.history),
            rate=rate(row.rate),
            since=moment_of(row.since),
        )
        for row in found.listed[:PAGE]  # an older process lists more
        if row.name
    ]
    return Listing(found.total, tuple(rows))


def _connections(found: LatestConnections | None) -> Listing[ConnectionRow] | None:
    if found is None:
        return None
    rows = [
        ConnectionRow(
            id=row.id,
            user=row.user,
            transport=transport_label(row.transport),
            since=moment_of(row.since),
            channels=whole(row.channels),
            unsent=whole(row.unsent) if row.unsent else "",
        )
        for row in found.listed[:PAGE]
    ]
    return Listing(found.total, tuple(rows))


def _series(points: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if points is None else tuple(max(0.0, point) for point in points)


# ---- how values are written; `static/djhookbox/admin/report.js` writes them alike ---------------


def whole(value: object) -> str:
    """Format a count, or return "" if it is missing."""
    found = finite(value)
    return "" if found is None else grouped(int(found))


def rate(value: object) -> str:
    """Format a rate per second, or return "" if it is not a number."""
    found = finite(value)
    if found is None:
        return ""
    return formats.number_format(round(found, 1), decimal_pos=1, force_grouping=True)


def transport_label(value: object) -> str:
    """Return the label of a transport."""
    return str(transports().get(str(value), value or ""))


def transports() -> dict[str, str]:
    """Return the labels of all transports."""
    return {str(value): str(label) for value, label in ConnectionLog.Transport.choices if value}


def moment_of(value: object) -> datetime.datetime | None:
    """Return a server time in the site's time zone, or None if it is missing."""
    seconds = finite(value)
    if seconds is None:
        return None
    try:
        return local(datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc))
    except (ValueError, OverflowError, OSError):
        return None


def uptime(seconds: float) -> str:
    """Format how long a process has been running, to the minute."""
    days, minutes = divmod(max(0, int(seconds)) // 60, 1440)
    clock = f"{minutes // 60}:{minutes % 60:02d}"
    if not days:
        return _("%(clock)s h") % {"clock": clock}
    return ngettext("%(days)d day, %(clock)s h", "%(days)d days, %(clock)s h", days) % {
        "days": days,
        "clock": clock,
    }


@dataclass(frozen=True, slots=True)
class ShownNode:
    """One of several processes in the page."""

    address: str
    pid: str
    version: str
    uptime: str
    connections: str
    users: str
    channels: str
    lag: str
    round_trip: str
    alive: bool


def nodes(now: ProcessStatus) -> Sequence[ShownNode]:
    """Return the processes that share their channels, if there are several."""
    several = now.info.nodes if len(now.info.nodes) > 1 else ()
    return [_shown(node) for node in several]


def _shown(node: NodeInfo) -> ShownNode:
    started = finite(node.started)
    return ShownNode(
        address=node.address or node.id,
        pid="" if node.pid is None else str(node.pid),
        version=node.version,
        uptime="" if started is None else uptime(time.time() - started),
        connections=whole(node.connections),
        users=whole(node.users),
        channels=whole(node.channels),
        lag=_milliseconds(node.lag),
        round_trip=_milliseconds(node.round_trip),
        alive=node.alive,
    )


def _of(value: float, limit: float | None, write: Callable[[float], str]) -> str:
    if limit is None:
        return write(value)
    return _("%(value)s of %(limit)s") % {"value": write(value), "limit": write(limit)}


def _milliseconds(seconds: float | None) -> str:
    known = finite(seconds)
    return "" if known is None else _("%(number)d ms") % {"number": round(1000 * known)}


def facts(now: ProcessStatus) -> Sequence[tuple[str, str]]:
    """Return facts about the process as labels and values."""
    known: list[tuple[str, str]] = [(_("Address"), now.address)]
    if now.pid is not None:
        known.append((_("PID"), str(now.pid)))
    if now.uptime is not None:
        known.append((_("Uptime"), uptime(now.uptime)))
    if now.version:
        known.append((_("Version"), now.version))
    if now.engine:
        known.append((_("Engine"), now.engine))
    info = now.info
    if memory := finite(info.memory):
        known.append((_("Memory"), _of(memory, finite(info.memory_limit), filesizeformat)))
    if files := finite(info.files):
        known.append((_("File descriptors"), _of(files, finite(info.files_limit), whole)))
    if slow := finite(info.slow_clients):
        words = {"count": whole(slow), "size": filesizeformat(finite(info.unsent) or 0)}
        known.append((_("Slow clients"), _("%(count)s (%(size)s wait for them)") % words))
    return known
