"""Report what was counted in each minute to the site, which keeps it for the admin's charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..wire import capabilities
from ..wire.events import Measured
from .metrics import Metrics
from .runtime import Runtime

MINUTE = 60


@dataclass(frozen=True, slots=True)
class _Counters:
    """The counters at one time; all of them only grow."""

    totals: tuple[int, ...]
    closed: Mapping[str, int]
    refusals: Mapping[str, int]
    webhooks: Mapping[tuple[str, str], tuple[int, ...]]

    @classmethod
    def of(cls, metrics: Metrics) -> _Counters:
        """Return the present counters."""
        return cls(
            (
                metrics.messages_in, metrics.messages_out, metrics.bytes_out,
                metrics.connections_total, metrics.refused_total, metrics.dropped_slow,
                metrics.gaps, metrics.events_dropped,
            ),
            {str(code): count for code, count in metrics.closed.items()},
            dict(metrics.refusals),
            {labels: found.counts for labels, found in metrics.webhook_times.items()},
        )  # fmt: skip


class Measuring:
    """Watch the figures, and add an event whenever a minute has passed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._begun = self._seen = runtime.metrics.started
        self._before = _Counters.of(runtime.metrics)
        #: The highest numbers of connections, users and channels.
        self._most = (0, 0, 0)

    def look(self, now: float) -> None:
        """Note the present figures; called once a second."""
        if now // MINUTE != self._begun // MINUTE:
            self.report(now)
        self._seen = now
        self._most = self._highest()

    def report(self, now: float) -> None:
        """Add an event with what was counted since the last one."""
        self._most = self._highest()
        counters = _Counters.of(self._runtime.metrics)
        if capabilities.MEASURED in self._runtime.webhooks.accepted:
            self._runtime.events.add(self._measured(counters, now))
        self._begun = now
        self._before = counters
        self._most = (0, 0, 0)

    def _highest(self) -> tuple[int, int, int]:
        runtime = self._runtime
        connections, users, channels = self._most
        return (
            max(connections, len(runtime.connections)),
            max(users, len(runtime.hub.users)),
            max(channels, len(runtime.hub.channels)),
        )

    def _measured(self, counters: _Counters, now: float) -> Measured:
        before = self._before
        received, sent, size, opened, refused, too_slow, gaps, lost = (
            new - old for new, old in zip(counters.totals, before.totals, strict=True)
        )
        connections, users, channels = self._most
        webhooks: dict[str, dict[str, tuple[int, ...]]] = {}
        for (name, outcome), counts in counters.webhooks.items():
            old = before.webhooks.get((name, outcome), (0,) * len(counts))
            if counts != old:
                new = tuple(one - other for one, other in zip(counts, old, strict=True))
                webhooks.setdefault(name, {})[outcome] = new
        seconds = min(float(MINUTE), max(0.0, now - self._begun))  # clocks may be set
        return Measured(
            begin=self._begun - self._begun % MINUTE,
            seconds=round(seconds, 3),
            connections=connections,
            users=users,
            channels=channels,
            messages_in=received,
            messages_out=sent,
            bytes_out=size,
            opened=opened,
            refused=refused,
            too_slow=too_slow,
            gaps=gaps,
            events_lost=lost,
            closed=dict(Counter(counters.closed) - Counter(before.closed)),
            refusals=dict(Counter(counters.refusals) - Counter(before.refusals)),
            webhooks=webhooks,
        )
