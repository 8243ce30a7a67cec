"""Which charts there are, and the tables of webhooks and close codes next to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...measurements.reading import Durations, History, Point, durations
from ..logs.codes import in_words
from ..pages import grouped
from .drawing import MOST_LINES, Chart, Line

#: Close codes and kinds of webhooks that the tables show.
LISTED = 20

#: The operations in words, by the names of their webhooks.
OPERATIONS: Mapping[str, str | Promise] = {
    "connect": gettext_lazy("Connecting"),
    "create_channel": gettext_lazy("Creating a channel"),
    "subscribe": gettext_lazy("Subscribing"),
    "subscribe_many": gettext_lazy("Subscribing to several channels"),
    "publish": gettext_lazy("Publishing"),
    "message": gettext_lazy("Sending a message to a user"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of webhooks."""

    name: str
    count: str
    p50: str
    p95: str
    p99: str
    errors: int


def overview(history: History) -> tuple[Chart, Chart]:
    """Return the charts for the server page."""
    return (
        _chart(
            history, "connections", _("Connections and users"), _whole,
            (_("Connections"), lambda point: point.connections),
            (_("Users"), lambda point: point.users),
        ),
        _chart(
            history, "messages", _("Messages per second"), _rate,
            (_("Received"), lambda point: point.messages_in),
            (_("Sent"), lambda point: point.messages_out),
        ),
    )  # fmt: skip


def charts(history: History, webhook: str = "") -> list[Chart]:
    """Return all charts.

    Args:
        history: The figures.
        webhook: The webhook whose duration is shown; all of them if it is "".

    """
    minutes = history.period.point / 60

    def found(point: Point) -> Durations:
        if webhook:
            return durations([point.webhooks.get(webhook, {})])
        return durations(point.webhooks.values())

    name = webhook or _("all")
    calls = {index: found(point) for index, point in enumerate(history.points) if point is not None}

    def within(key: str) -> list[float | None]:
        return [
            getattr(calls[index], key) if index in calls else None for index in _places(history)
        ]

    times = (
        Line(_("Median"), within("p50")),
        Line(_("95th percentile"), within("p95")),
        Line(_("99th percentile"), within("p99")),
    )
    return [
        *overview(history),
        _chart(
            history, "channels", _("Channels"), _whole,
            (_("Channels"), lambda point: point.channels),
        ),
        Chart(
            "webhooks", _("Webhooks per minute: %(name)s") % {"name": name}, history,
            (
                Line(_("All"), _each(calls, history, lambda one: one.count / minutes)),
                Line(_("Failed"), _each(calls, history, lambda one: one.errors / minutes)),
            ),
            _rate,
        ),
        Chart(
            "durations", _("Duration of webhooks: %(name)s") % {"name": name}, history, times,
            duration,
        ),
        _counted(
            history, "refusals", _("Refusals per minute"), refusals, lambda key: operation(key)
        ),
        _counted(
            history, "closed", _("Ended connections per minute, by close code"),
            lambda point: point.closed, lambda key: code(key),
        ),
    ]  # fmt: skip


def webhooks(history: History) -> Iterator[Row]:
    """Yield the figures of each webhook in the whole period, most frequent first."""
    total = history.total.webhooks
    found = {name: durations([outcomes]) for name, outcomes in total.items()}
    for name, one in sorted(found.items(), key=lambda pair: -pair[1].count)[:LISTED]:
        p50, p95, p99 = (
            "" if value is None else duration(value) for value in (one.p50, one.p95, one.p99)
        )
        yield Row(name, grouped(one.count), p50, p95, p99, one.errors)


def ended(history: History) -> list[tuple[str, str]]:
    """Return how many connections ended with each close code, most frequent first."""
    found = history.total.closed.most_common(LISTED)
    return [(code(name), grouped(count)) for name, count in found]


def refused(history: History) -> list[tuple[str, str]]:
    """Return how often each operation was refused, most frequent first."""
    found = refusals(history.total).most_common(LISTED)
    return [(operation(name), grouped(count)) for name, count in found]


def refusals(point: Point) -> Counter[str]:
    """Return all refusals by webhook; those of the process itself are under ""."""
    return point.refusals + Counter({"": point.refused})


def operation(name: str) -> str:
    """Return a webhook as an operation in words."""
    return str(OPERATIONS.get(name, name)) if name else _("Connecting (by the process itself)")


def code(name: str) -> str:
    """Return a close code in words."""
    return in_words(int(name)) if name.isascii() and name.isdigit() else name


# ---- parts -------------------------------------------------------------------------------------


def _places(history: History) -> range:
    return range(len(history.points))


def _each(
    calls: Mapping[int, Durations], history: History, value: Callable[[Durations], float]
) -> list[float | None]:
    return [value(calls[index]) if index in calls else None for index in _places(history)]


def _chart(
    history: History,
    key: str,
    title: str,
    write: Callable[[float], str],
    *lines: tuple[str, Callable[[Point], float]],
) -> Chart:
    drawn = tuple(
        Line(name, [None if point is None else value(point) for point in history.points])
        for name, value in lines
    )
    return Chart(key, title, history, drawn, write)


def _counted(
    history: History,
    key: str,
    title: str,
    count: Callable[[Point], Counter[str]],
    word: Callable[[str], str],
) -> Chart:
    """Return a chart of the most frequent names, per minute; the others are one line."""
    minutes = history.period.point / 60
    names = [name for name, _count in count(history.total).most_common()]
    shown = names if len(names) <= MOST_LINES else names[: MOST_LINES - 1]

    counted = [None if point is None else count(point) for point in history.points]

    def per_minute(chosen: list[str]) -> list[float | None]:
        return [
            None if counts is None else sum(counts[name] for name in chosen) / minutes
            for counts in counted
        ]

    lines = [Line(word(name), per_minute([name])) for name in shown]
    if len(shown) < len(names):
        lines.append(Line(_("Others"), per_minute(names[len(shown) :])))
    if not lines:
        lines.append(Line(_("All"), per_minute([])))
    return Chart(key, title, history, tuple(lines), _rate)


def _whole(value: float) -> str:
    return _number(value, 1)


def _rate(value: float) -> str:
    return _number(value, 2 if value < 1 else 1)


def _number(value: float, places: int) -> str:
    rounded = round(value, places)
    shown = int(rounded) if rounded == int(rounded) else rounded
    return formats.number_format(shown, force_grouping=True)


def duration(seconds: float) -> str:
    """Write a duration in milliseconds or seconds."""
    if seconds >= 1:
        return _("%(seconds)s s") % {"seconds": _number(seconds, 1)}
    return _("%(time)s ms") % {"time": _number(seconds * 1000, 1 if seconds < 0.01 else 0)}
