"""Each condition that the server page calls a problem: its figures in /metrics, and its alert."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from djhookbox.server import usage
from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from djhookbox.server.exposition import Facts, exposition
from djhookbox.server.metrics import ENGINE_BUCKETS, Histogram
from djhookbox.server.problems import NAMES
from djhookbox.wire.answers import Problem

from .test_operations_files import alerts

LATER = 10.0

#: By problem, its alert, and where its value and its limit are in the metrics.
PROBLEMS: Mapping[str, tuple[str, str, str]] = {
    "engine_down": ("HookboxRedisDown", "", ""),
    "site_failing": ("HookboxSiteFailing", "djhookbox_site_failing_seconds", ""),
    "webhooks_failed": (
        "HookboxWebhooksFailing",
        "increase(djhookbox_webhook_failures_total[10m])",
        "sum by (instance) (increase(djhookbox_webhook_seconds_count[10m]))",
    ),
    "webhooks_slow": ("HookboxWebhooksSlow", "", ""),
    "events_waiting": (
        "HookboxEventsWaiting", "djhookbox_events_waiting", "djhookbox_events_limit",
    ),
    "outbox_late": ("HookboxOutboxLag", "djhookbox_outbox_lag_seconds", ""),
    "connections": (
        "HookboxConnectionsNearLimit", "sum by (instance) (djhookbox_connections)",
        "djhookbox_connections_limit",
    ),
    "files": ("HookboxFileDescriptorsNearLimit", "process_open_fds", "process_max_fds"),
    "memory": (
        "HookboxMemoryNearLimit", "process_resident_memory_bytes", "djhookbox_memory_limit_bytes",
    ),
    "unsent": (
        "HookboxUnsentBytesNearLimit", "djhookbox_unsent_bytes", "djhookbox_unsent_bytes_limit",
    ),
    "loop_late": ("HookboxLoopLag", "avg_over_time(djhookbox_event_loop_lag_seconds[2m])", ""),
    "too_slow": (
        "HookboxSlowClientsDropped", "increase(djhookbox_connections_dropped_slow_total[10m])", "",
    ),
    "events_lost": ("HookboxEventsLost", "increase(djhookbox_events_dropped_total[10m])", ""),
    "gaps": ("HookboxGaps", "increase(djhookbox_recovery_gaps_total[10m])", ""),
}  # fmt: skip

#: Alerts about what the page cannot know, or shows only as figures.
ONLY_ALERTS = {"HookboxDown", "HookboxPublishSlow", "HookboxRedisSlow"}


# ---- a little of PromQL ------------------------------------------------------------------------

Samples = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Vector:
    """The values of a metric by what distinguishes them, once earlier and once now."""

    now: Mapping[str, float]
    before: Mapping[str, float]

    def one(self) -> float:
        (value,) = self.now.values()
        return value

    def __truediv__(self, other: Vector) -> Vector:
        if not self.now or not other.now or not other.one():
            return Vector({}, {})
        return Vector({"": self.one() / other.one()}, {})

    def __gt__(self, bound: float) -> bool:
        return any(value > bound for value in self.now.values())

    def __eq__(self, bound: object) -> bool:
        return any(value == bound for value in self.now.values())


def _increase(of: Vector) -> Vector:
    return Vector({key: value - of.before.get(key, 0) for key, value in of.now.items()}, {})


def _summed(by: str) -> Callable[[Vector], Vector]:
    def summed(of: Vector) -> Vector:
        found: dict[str, float] = {}
        for key, value in of.now.items():
            kept = key.split(",")[0] if "le" in by else ""
            found[kept] = found.get(kept, 0) + value
        return Vector(found, {})

    return summed


def _quantile(share: float, of: Vector) -> Vector:
    buckets = sorted((float(bound), count) for bound, count in of.now.items())
    if not buckets or not buckets[-1][1]:
        return Vector({}, {})
    wanted, least, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            return Vector({"": least + (bound - least) * (wanted - below) / (count - below)}, {})
        least, below = bound, count
    raise AssertionError("the last bucket has all")


def evaluate(text: str, now: Samples, before: Samples) -> Any:
    """Return the value of an expression, of those that our rules consist of."""
    code = re.sub(r"sum by \(([^)]*)\)", r"summed('\1')", text)
    code = re.sub(r"on \(instance\)", "", code)
    code = re.sub(
        r"\b((?:djhookbox|process)_[a-z_]+|up)\b(?:\{[^}]*\})?(?:\[\w+\])?", r"series('\1')", code
    )

    def series(name: str) -> Vector:
        return Vector(now.get(name, {}), before.get(name, {}))

    names = {
        "series": series, "summed": _summed, "increase": _increase, "rate": _increase,
        "avg_over_time": lambda of: of, "histogram_quantile": _quantile,
    }  # fmt: skip
    return eval(code, {"__builtins__": {}}, names)


# ---- cases -------------------------------------------------------------------------------------


class Case:
    """A server that runs nothing: a test says what it has counted, and what its time is."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.server = Server(ServerConfig(max_connections=10, max_events=100), clock=self.clock)
        self.metrics = self.server.metrics
        #: What stands in the place of the metrics of the process.
        self.instead: dict[str, float] = {"process_open_fds": 10, "process_max_fds": 100}
        self.before = self.samples()

    def clock(self) -> float:
        return self.now

    def samples(self) -> Samples:
        server = self.server
        lag, unsent = server.channels.durable.lag, server.clients.handshakes.unsent
        facts = Facts(server.runtime, lag, unsent, server.clients.handshakes.incoming, "memory")
        found: Samples = {"up": {"": 1.0}}
        for family in text_string_to_metric_families(exposition(facts)[0].decode()):
            for one in family.samples:
                labels = sorted(one.labels.items(), key=lambda item: item[0] != "le")
                key = ",".join(value for _name, value in labels)
                found.setdefault(one.name, {})[key] = one.value
        return found | {name: {"": value} for name, value in self.instead.items()}

    def problems(self) -> dict[str, Problem]:
        self.now += LATER
        self.server.service.problems.look(self.now)
        return {one.name: one for one in self.server.service.problems.found}

    def firing(self) -> set[str]:
        now = self.samples()
        return {rule["alert"] for rule in alerts() if evaluate(rule["expr"], now, self.before)}


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(usage, "files", lambda: (10, 100))
    monkeypatch.setattr(usage, "memory_limit", lambda: None)
    return Case()


Patch = pytest.MonkeyPatch


def engine_down(case: Case, patch: Patch) -> None:
    link = SimpleNamespace(is_up=False, round_trips=Histogram(ENGINE_BUCKETS))
    shared = SimpleNamespace(link=link, figures={}, nodes=SimpleNamespace(known={}))
    object.__setattr__(case.server.runtime, "shared", shared)


def site_failing(case: Case, patch: Patch) -> None:
    case.metrics.webhook("connect", "failed", 0.1, time.monotonic() - 60)


def webhooks_failed(case: Case, patch: Patch) -> None:
    for _ in range(20):
        case.metrics.webhook("connect", "answered", 0.1, time.monotonic())
    case.metrics.webhooks_total, case.metrics.webhooks_failed = 20, 3


def webhooks_slow(case: Case, patch: Patch) -> None:
    for _ in range(20):
        case.metrics.webhook("connect", "answered", 2.0, time.monotonic())


def connections(case: Case, patch: Patch) -> None:
    found = type(case.server.runtime.connections)
    open_ones = [SimpleNamespace(transport=one) for one in ("csp", *["websocket"] * 9)]
    patch.setattr(found, "__len__", lambda self: len(open_ones))
    patch.setattr(found, "__iter__", lambda self: iter(open_ones))


def files(case: Case, patch: Patch) -> None:
    patch.setattr(usage, "files", lambda: (91, 100))
    case.instead["process_open_fds"] = 91


def memory(case: Case, patch: Patch) -> None:
    patch.setattr(usage, "memory_limit", lambda: 1_000_000)
    patch.setattr(usage, "resident", lambda: 950_000)
    case.instead["process_resident_memory_bytes"] = 950_000


CAUSES: Mapping[str, Callable[[Case, Patch], None]] = {
    "engine_down": engine_down,
    "site_failing": site_failing,
    "webhooks_failed": webhooks_failed,
    "webhooks_slow": webhooks_slow,
    "events_waiting": lambda case, patch: patch.setattr(
        type(case.server.runtime.events), "waiting", 11
    ),
    "outbox_late": lambda case, patch: patch.setattr(
        type(case.server.channels.durable), "lag", 31.0
    ),
    "connections": connections,
    "files": files,
    "memory": memory,
    "unsent": lambda case, patch: setattr(
        case.server.clients.handshakes.unsent, "_estimate", 10**9
    ),
    "loop_late": lambda case, patch: setattr(case.metrics, "loop_lag", 0.5),
    "too_slow": lambda case, patch: setattr(case.metrics, "dropped_slow", 1),
    "events_lost": lambda case, patch: setattr(case.metrics, "events_dropped", 2),
    "gaps": lambda case, patch: setattr(case.metrics, "gaps", 3),
}


async def test_a_quiet_process_fires_nothing(case: Case) -> None:
    assert case.problems() == {}
    assert case.firing() == set()


@pytest.mark.parametrize("name", NAMES)
async def test_a_problem_has_its_alert_and_its_figures(
    case: Case, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    CAUSES[name](case, monkeypatch)
    found = case.problems()
    assert set(found) == {name}
    alert, value, limit = PROBLEMS[name]
    assert case.firing() == {alert}
    now = case.samples()
    for text, figure in ((value, found[name].value), (limit, found[name].limit)):
        if text:
            # The page rounds, and time passes while a site fails.
            shown = evaluate(text, now, case.before).one()
            assert shown == pytest.approx(figure, abs=1 if name == "site_failing" else 0.001)


def test_every_alert_belongs_to_a_problem() -> None:
    known = {alert for alert, _value, _limit in PROBLEMS.values()}
    assert {rule["alert"] for rule in alerts()} == known | ONLY_ALERTS
    assert not known & ONLY_ALERTS
    assert set(PROBLEMS) == set(NAMES)
