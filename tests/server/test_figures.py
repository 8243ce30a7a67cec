"""The figures of the server page and of /metrics are the same, also under load."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from djhookbox.admin.server.problems import problems_of
from djhookbox.admin.server.report import facts, read_report
from djhookbox.process.control import ProcessStatus, State
from djhookbox.wire import records
from djhookbox.wire.answers import ServerInfo
from djhookbox.wire.replies import Refused

from .running import App, Running, Start, read, send
from .test_operators import samples

CLIENTS, CHANNELS, MESSAGES = 30, 7, 60

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
    await load(one, site)
    # What is counted when it happens must stand still; the events may still be under way.
    earlier: dict[Any, float] = {}
    for _ in range(200):
        before = await samples(one)
        if _settled(before) == earlier and len(one.server.runtime.connections) == 26:
            sample(metrics.started + SECONDS)
            one.server._problems.look(metrics.started + SECONDS)
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
        "failed": (info.webhooks.failed, total(after, "djhookbox_webhook_seconds_count", "failed")),
        "slow clients": (info.slow_clients, after["djhookbox_slow_clients", ""]),
        "unsent": (info.unsent, after["djhookbox_unsent_bytes", ""]),
    }  # fmt: skip
    received, sent = compared["in"][1], compared["out"][1]
    compared["rate in"] = (info.messages_in_per_second, round(received / SECONDS, 2))
    compared["rate out"] = (info.messages_out_per_second, round(sent / SECONDS, 2))
    (failing,) = [one for one in info.problems if one.name == "webhooks_failed"]
    compared["problem"] = (failing.value, compared["failed"][1])
    compared["of how many"] = (failing.limit, compared["webhooks"][1])
    different = {name: pair for name, pair in compared.items() if pair[0] != pair[1]}
    assert different == {}
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


def _settled(found: dict[tuple[str, str], float]) -> dict[Any, float]:
    return {
        key: value
        for key, value in found.items()
        if key[0].endswith(("_total", "_count")) and key[0].startswith("djhookbox")
    }
