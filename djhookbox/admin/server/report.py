"""What the server page shows: read from whatever answered, which may be another version."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...models import ConnectionLog
from ...process.control import ProcessStatus, finite

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A live channel in the list."""

    name: str
    subscribers: str
    history: str
    rate: str


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """An open connection in the list."""

    id: str
    user: str
    transport: str
    since: datetime.datetime | None
    channels: str

    @property
    def clock(self) -> str:
        """When it was made: the time, and the day if that is not today."""
        if self.since is None:
            return ""
        same_day = self.since.date() == timezone.localtime(timezone.now()).date()
        return f"{self.since:%H:%M:%S}" if same_day else f"{self.since:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """A list that may show only the first of many."""

    total: int
    rows: tuple[Row, ...]

    @property
    def is_cut(self) -> bool:
        """Whether there are more than it shows."""
        return self.total > len(self.rows)


@dataclass(frozen=True, slots=True)
class Count:
    """A figure with its name; `series` is what it has been in the last ten minutes."""

    key: str
    name: str
    value: str
    series: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows of a process that answers, besides its state."""

    counts: tuple[Count, ...]
    #: None where the process does not list them.
    channels: Listing[ChannelRow] | None
    connections: Listing[ConnectionRow] | None


def read_report(now: ProcessStatus) -> Report:
    """Return what a process said of itself; what it left out, or is nonsense, is left out."""
    info = now.info
    return Report(
        tuple(_counts(info)),
        _listing(info.get("channel_list"), _channel),
        _listing(info.get("connection_list"), _connection),
    )


def etag(*parts: object) -> str:
    """Return a tag that changes with what is shown.

    Of the values, not of the page: each rendering of a form has another CSRF token.
    """
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


# ---- parts -----------------------------------------------------------------------------------


def _counts(info: Mapping[str, Any]) -> list[Count]:
    rates = _object(info.get("rates"))
    webhooks = _object(info.get("webhooks"))
    p95 = finite(webhooks.get("p95_ms"))
    counts = [
        Count("connections", _("Connections"), whole(info.get("connections"))),
        Count("users", _("Users"), whole(info.get("users"))),
        Count("channels", _("Channels"), whole(info.get("channels"))),
        Count(
            "in", _("Messages in per second"), rate(info.get("messages_in_per_second")),
            _series(rates.get("in")),
        ),
        Count(
            "out", _("Messages out per second"), rate(info.get("messages_out_per_second")),
            _series(rates.get("out")),
        ),
        Count(
            "p95", _("Webhooks, 95% within"),
            "" if p95 is None else _("%(time)s ms") % {"time": whole(round(p95))},
        ),
        Count("failed", _("Webhooks that failed"), whole(webhooks.get("failed"))),
    ]  # fmt: skip
    return [count for count in counts if count.value]


def _channel(row: Mapping[str, Any]) -> ChannelRow | None:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        return None
    return ChannelRow(
        name, whole(row.get("subscribers")), whole(row.get("history")), rate(row.get("rate"))
    )


def _connection(row: Mapping[str, Any]) -> ConnectionRow | None:
    number, user = row.get("id"), row.get("user")
    if not isinstance(number, str) or not isinstance(user, str):
        return None
    return ConnectionRow(
        id=number,
        user=user,
        transport=transport_label(row.get("transport")),
        since=moment_of(row.get("since")),
        channels=whole(row.get("channels")),
    )


def _listing(value: object, read: Callable[[Mapping[str, Any]], Row | None]) -> Listing[Row] | None:
    found = _object(value)
    listed, total = found.get("listed"), found.get("total")
    if not isinstance(listed, list) or not isinstance(total, int):
        return None
    rows = [read(row) for row in listed if isinstance(row, Mapping)]
    return Listing(total, tuple(row for row in rows if row is not None))


def _series(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(max(0.0, finite(point) or 0.0) for point in value)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# ---- how values are written; `static/djhookbox/admin/report.js` writes them alike ---------------


def whole(value: object) -> str:
    """Write a count, "" if it is none."""
    found = finite(value)
    return "" if found is None else formats.number_format(int(found))


def rate(value: object) -> str:
    """Write how often a second, "" if it is no number."""
    found = finite(value)
    return "" if found is None else formats.number_format(round(found, 1), decimal_pos=1)


def transport_label(value: object) -> str:
    """Write how a browser is connected."""
    return str(transports().get(str(value), value or ""))


def transports() -> dict[str, str]:
    """Return the names of the transports."""
    return {str(value): str(label) for value, label in ConnectionLog.Transport.choices if value}


def moment_of(value: object) -> datetime.datetime | None:
    """Return a time of the server in the site's time zone, None if it is none."""
    seconds = finite(value)
    if seconds is None:
        return None
    try:
        return timezone.localtime(datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc))
    except (ValueError, OverflowError, OSError):
        return None


def uptime(seconds: float) -> str:
    """Write how long a process has been up, to the minute."""
    days, minutes = divmod(max(0, int(seconds)) // 60, 1440)
    clock = f"{minutes // 60}:{minutes % 60:02d}"
    if not days:
        return _("%(clock)s h") % {"clock": clock}
    return ngettext("%(days)d day, %(clock)s h", "%(days)d days, %(clock)s h", days) % {
        "days": days,
        "clock": clock,
    }


def facts(now: ProcessStatus) -> Sequence[tuple[str, str]]:
    """Return what is known of the process, by name."""
    known: list[tuple[str, str]] = [(_("Address"), now.address)]
    if now.pid is not None:
        known.append((_("Pid"), str(now.pid)))
    if now.uptime is not None:
        known.append((_("Up for"), uptime(now.uptime)))
    if now.version:
        known.append((_("Version"), now.version))
    if now.engine:
        known.append((_("Engine"), now.engine))
    return known
