"""The figures of the server page and of /metrics are the same, also under load."""

from __future__ import annotations

import asyncio
import json
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

from djhookbox.admin.server.problems import problems_of
from djhookbox.admin.server.report import facts, nodes, read_report
from djhookbox.process.control import ProcessStatus, State
from djhookbox.server.measuring import Measuring, _Counters
from djhookbox.wire import records
from djhookbox.wire.answers import ServerInfo
from djhookbox.wire.replies import Refused

from ..redis_server import RedisServer
from .running import App, Running, Start, read, send
from .test_operators import samples

CLIENTS, CHANNELS, MESSAGES = 30, 7, 60

#: What the load does not cause is added to the counters.
ADDED = {"refused_total": 4, "dropped_slow": 3, "events_dropped": 2, "gaps": 5}

#: After how many seconds the rates are measured.
SECONDS = 10.0


async def load(one: Running, site: App) -> None:
    """Let clients connect, subscribe, be refused, publish, read nothing, and leave."""
    clients = [await one.open(f"user{number % 20}") for number in range(CLIENTS)]
    for number, client in enumerate(clients):
        await send(client, "SUBSCRIBE", channel_name=f"room{number % CHANNELS}")
        while (await read(client))[1] != "SUBSCRIBE":
            pass
    site.answers["publish"] = Refused("No.")
    for client in clients[:5]:
        await send(client, "PUBLISH", channel_name="room0", payload="1")
        while (await read(client))[1] != "ERROR":
            pass
    site.answers["publish"] = "nonsense"  # what no site answers: the webhook has failed
    await send(clients[5], "PUBLISH", channel_name="room0", payload="1")
    while (await read(clients[5]))[1] != "ERROR":
        pass
    del site.answers["publish"]
    await asyncio.gather(*(
        one.rest("publish", channel_name=f"room{number % CHANNELS}", payload=json.dumps("x" * 500))
        for number in range(MESSAGES)
    ))  # fmt: skip
    stranger = await one.http.get(f"{one.address}/ws")  # no WebSocket
    one.responses.append(stranger)
    for client in clients[-4:]:
        await client.close()


def total(found: dict[tuple[str, str], float], name: str, label: str = "") -> float:
    return sum(value for (one, labels), value in found.items() if one == name and label in labels)


def bounds(found: dict[tuple[str, str], float], place: int) -> tuple[float, float]:
    """Return between which durations the webhook at a place is, shortest first."""
    counts: dict[float, float] = {0.0: 0.0}
    for (name, labels), value in found.items():
        if name == "djhookbox_webhook_seconds_bucket":
            least = float(labels.split(",")[0])
            counts[least] = counts.get(least, 0.0) + value
    ends = sorted(counts)
    return next(pair for pair in pairwise(ends) if counts[pair[1]] > place)


async def test_each_number_is_in_the_metrics(
    start: Start, site: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()
    metrics = one.server.metrics
    sample = metrics.sample
    monkeypatch.setattr(metrics, "sample", lambda now: None)  # only when the test calls it
    charts = Measuring(one.server.runtime)
    await load(one, site)
    for name, count in ADDED.items():
        setattr(metrics, name, getattr(metrics, name) + count)
    # What is counted when it happens must stand still; the events may still be under way.
    earlier: dict[Any, float] = {}
    for _ in range(200):
        before = await samples(one)
        if _settled(before) == earlier and len(one.server.runtime.connections) == 26:
            sample(metrics.started + SECONDS)
            one.server.service.problems.look(metrics.started + SECONDS)
            allowed, answer = await one.rest("get_server_info", report="1")
            after = await samples(one)
            if _settled(after) == earlier:
                break
        earlier = _settled(before)
        await asyncio.sleep(0.1)
    assert allowed
    info: ServerInfo = records.read(ServerInfo, answer, lenient=True)
    assert info.webhooks is not None
    compared = {
        "connections": (info.connections, total(after, "djhookbox_connections")),
        "users": (info.users, after["djhookbox_users", ""]),
        "channels": (info.channels, after["djhookbox_channels", ""]),
        "opened": (info.connections_total, after["djhookbox_connections_opened_total", ""]),
        "refused": (info.connections_refused, after["djhookbox_connections_refused_total", ""]),
        "slow": (
            info.connections_too_slow, after["djhookbox_connections_dropped_slow_total", ""]
        ),
        "in": (info.messages_in, after["djhookbox_messages_received_total", ""]),
        "out": (info.messages_out, after["djhookbox_messages_sent_total", ""]),
        "lost": (info.events_dropped, after["djhookbox_events_dropped_total", ""]),
        "webhooks": (info.webhooks.total, total(after, "djhookbox_webhook_seconds_count")),
        "failed": (info.webhooks.failed, after["djhookbox_webhook_failures_total", ""]),
        "file descriptors": (info.files_limit, after["process_max_fds", ""]),
        "memory": (info.memory_limit, after.get(("djhookbox_memory_limit_bytes", ""))),
        "version and engine": (
            after["djhookbox_info", f"{info.engine},{info.version}"], 1,
        ),
        "slow clients": (info.slow_clients, after["djhookbox_slow_clients", ""]),
        "unsent": (info.unsent, after["djhookbox_unsent_bytes", ""]),
    }  # fmt: skip
    received, sent = compared["in"][1], compared["out"][1]
    compared["rate in"] = (info.messages_in_per_second, round(received / SECONDS, 2))
    compared["rate out"] = (info.messages_out_per_second, round(sent / SECONDS, 2))
    found = {problem.name: problem for problem in info.problems}
    found.pop("site_failing", None)  # until another webhook has succeeded
    assert set(found) == {"webhooks_failed", "too_slow", "events_lost", "gaps"}
    compared["too slow"] = (found["too_slow"].value, compared["slow"][1])
    compared["events lost"] = (found["events_lost"].value, compared["lost"][1])
    compared["gaps"] = (found["gaps"].value, after["djhookbox_recovery_gaps_total", ""])
    failing = found["webhooks_failed"]
    compared["problem"] = (failing.value, compared["failed"][1])
    compared["of how many"] = (failing.limit, compared["webhooks"][1])
    different = {name: pair for name, pair in compared.items() if pair[0] != pair[1]}
    assert different == {}
    assert charted(charts) == in_metrics(after)
    assert info.uptime == pytest.approx(
        one.server.runtime.clock() - after["djhookbox_start_time_seconds", ""], abs=5
    )
    count = info.webhooks.total
    assert count is not None
    least, most = bounds(after, int(count * 0.95))
    assert info.webhooks.p95_ms is not None
    assert least * 1000 - 0.05 <= info.webhooks.p95_ms <= most * 1000 + 0.05
    # The load has been what it should be, so that the comparison means something.
    assert info.connections == CLIENTS - 4
    assert info.channels == CHANNELS
    assert (info.messages_in or 0) >= MESSAGES
    assert (info.messages_out or 0) > MESSAGES
    assert total(after, "djhookbox_refusals_total", "publish") == 5
    assert total(after, "djhookbox_connections_closed_total") == 4
    assert info.channel_list is not None
    assert info.connection_list is not None
    assert (info.channel_list.total, info.connection_list.total) == (CHANNELS, CLIENTS - 4)
    subscribed = sum(row.subscribers or 0 for row in info.channel_list.listed)
    assert subscribed == one.server.runtime.hub.subscriptions
    assert info.files == pytest.approx(after["process_open_fds", ""], abs=5)
    assert info.memory == pytest.approx(after["process_resident_memory_bytes", ""], rel=0.2)
    # What the page shows is what the process has said.
    status = ProcessStatus(state=State.RUNNING, message="", info=info)
    counts = {count.key: count.value for count in read_report(status).counts}
    assert counts["connections"] == str(info.connections)
    assert counts["users"] == str(info.users)
    assert counts["channels"] == str(info.channels)
    assert counts["failed"] == str(info.webhooks.failed) == "1"
    (text,) = [shown.text for shown in problems_of(info) if "webhooks failed" in shown.text]
    assert text == f"1 of {count} webhooks failed in the last ten minutes."
    assert {"Memory", "File descriptors"} <= {str(name) for name, _value in facts(status)}


def charted(charts: Measuring) -> dict[str, Any]:
    """Return what the charts of the site get."""
    one = charts._measured(_Counters.of(charts._runtime.metrics), charts._runtime.clock())
    counts = {
        "opened": one.opened, "refused": one.refused, "too slow": one.too_slow, "gaps": one.gaps,
        "lost": one.events_lost, "in": one.messages_in, "out": one.messages_out,
        "bytes": one.bytes_out,
    }  # fmt: skip
    webhooks = {
        (name, outcome): list(accumulate(counts))
        for name, outcomes in one.webhooks.items()
        for outcome, counts in outcomes.items()
    }
    return {**counts, "closed": one.closed, "refusals": one.refusals, "webhooks": webhooks}


def in_metrics(found: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Return the same of the metrics."""
    names = {
        "opened": "connections_opened", "refused": "connections_refused",
        "too slow": "connections_dropped_slow", "gaps": "recovery_gaps", "lost": "events_dropped",
        "in": "messages_received", "out": "messages_sent", "bytes": "sent_bytes",
    }  # fmt: skip
    counts: dict[str, Any] = {
        name: found[f"djhookbox_{metric}_total", ""] for name, metric in names.items()
    }
    webhooks: dict[tuple[str, str], list[float]] = {}
    for (name, labels), value in found.items():
        if name == "djhookbox_webhook_seconds_bucket":
            _bound, outcome, webhook = labels.split(",")
            webhooks.setdefault((webhook, outcome), []).append(value)
    return {**counts, **{
        name: {labels: value for (one, labels), value in found.items() if one == metric}
        for name, metric in (
            ("closed", "djhookbox_connections_closed_total"),
            ("refusals", "djhookbox_refusals_total"),
        )
    }, "webhooks": webhooks}  # fmt: skip


def _settled(found: dict[tuple[str, str], float]) -> dict[Any, float]:
    return {
        key: value
        for key, value in found.items()
        if key[0].endswith(("_total", "_count")) and key[0].startswith("djhookbox")
    }


async def test_each_process_has_the_figures_of_its_metrics(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    several = [await start(engine=redis.url, run_dir=str(tmp_path)) for _ in range(2)]
    for place, one in enumerate(several):
        for number in range(3 + place):
            client = await one.open(f"user{number}")
            await send(client, "SUBSCRIBE", channel_name=f"room{place}{number % 2}")
            while (await read(client))[1] != "SUBSCRIBE":
                pass
    engines = [one.server.runtime.shared for one in several]
    for _ in range(2):  # the first ones may not know what the others have registered since
        for engine in engines:
            assert engine is not None
            await engine.nodes.beat_once()
    for one in several:
        allowed, answer = await one.rest("get_server_info")
        assert allowed
        info: ServerInfo = records.read(ServerInfo, answer, lenient=True)
        status = ProcessStatus(state=State.RUNNING, message="", info=info)
        listed = {node.id: shown for node, shown in zip(info.nodes, nodes(status), strict=True)}
        assert (await samples(one))["djhookbox_nodes", ""] == len(listed) == 2
        for other, engine in zip(several, engines, strict=True):
            assert engine is not None
            found = await samples(other)
            shown = listed[engine.node]
            (node,) = [node for node in info.nodes if node.id == engine.node]
            assert shown.alive
            assert float(shown.connections) == total(found, "djhookbox_connections") >= 3
            assert float(shown.users) == found["djhookbox_users", ""]
            assert float(shown.channels) == found["djhookbox_channels", ""] >= 2
            assert node.started == found["djhookbox_start_time_seconds", ""]
            # An average of the latest ones, and what was a moment ago.
            assert node.round_trip is not None
            assert 0 < node.round_trip < found["djhookbox_engine_round_trip_seconds_sum", ""]
            assert node.lag == pytest.approx(found["djhookbox_event_loop_lag_seconds", ""], abs=1)
            events = {
                labels: value
                for (name, labels), value in found.items()
                if name == "djhookbox_engine_events_total"
            }
            assert {name: getattr(node, name) for name in events} == events
