"""What operators ask the process: health and metrics; and what it reports to systemd."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from djhookbox.server.config import ConfigError, ServerConfig
from djhookbox.server.exposition import Missing, exposition
from djhookbox.server.metrics import FANOUT_BUCKETS, Histogram, Metrics
from djhookbox.server.systemd import Systemd

from ..ports import free_port
from ..projects import ROOT
from ..redis_server import RedisServer, redis_server
from ..stand_ins.waiting import until
from .running import App, Running, Start, read, send

BEARER = {"Authorization": "Bearer s"}


async def get(one: Running, path: str, **kwargs: Any) -> tuple[int, str]:
    async with one.http.get(f"{one.address}{path}", **kwargs) as response:
        return response.status, await response.text()


async def samples(one: Running, address: str = "") -> dict[tuple[str, str], float]:
    """Return the value of each metric by name and labels."""
    async with one.http.get(f"{address or one.address}/metrics", headers=BEARER) as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# ---- health ----------------------------------------------------------------------------------


async def test_a_new_process_is_alive_and_ready(start: Start) -> None:
    one = await start()
    for path in ("/health", "/health/live"):
        assert await get(one, path) == (200, '{"status": "ok"}')
    status, text = await get(one, "/health/ready")
    assert (status, json.loads(text)) == (200, {"status": "ready", "problems": {}})


async def test_a_process_whose_site_fails_is_not_ready(start: Start, site: App) -> None:
    one = await start(webhook_timeout=0.2)
    site.held = asyncio.Event()
    socket = await one.open()
    await send(socket, "CONNECT", cookie_string="", payload='"alice"')
    await read(socket)  # the refusal
    status, text = await get(one, "/health/ready")
    assert status == 503
    assert set(json.loads(text)["problems"]) == {"site"}
    assert (await samples(one))["djhookbox_site_failing_seconds", ""] > 0
    assert (await get(one, "/health/live"))[0] == 200, "a restart would not help"
    site.held.set()
    await one.open("bob")
    assert (await get(one, "/health/ready"))[0] == 200
    found = await samples(one)
    assert found["djhookbox_site_failing_seconds", ""] == 0
    assert found["djhookbox_webhook_seconds_count", "failed,connect"] == 1
    assert found["djhookbox_webhook_seconds_count", "answered,connect"] == 1


async def test_a_stopping_process_is_not_ready(start: Start) -> None:
    one = await start()
    one.server.runtime.connections.stopping = True
    status, text = await get(one, "/health/ready")
    assert (status, list(json.loads(text)["problems"])) == (503, ["draining"])


async def test_a_process_that_does_not_pull_is_not_ready(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()
    monkeypatch.setattr(type(one.server.channels.durable), "lag", 31.0)
    status, text = await get(one, "/health/ready")
    assert (status, list(json.loads(text)["problems"])) == (503, ["outbox"])
    assert (await samples(one))["djhookbox_outbox_lag_seconds", ""] == 31


# ---- metrics ---------------------------------------------------------------------------------


async def test_metrics_are_those_of_what_happened(start: Start) -> None:
    one = await start()
    alice, bob = await one.open("alice"), await one.open("bob")
    for client in (alice, bob):
        await send(client, "SUBSCRIBE", channel_name="room")
        while (await read(client))[1] != "SUBSCRIBE":
            pass
    before = await samples(one)
    assert (await one.rest("publish", channel_name="room", payload='"hello"'))[0]
    assert before["djhookbox_connections", "websocket"] == 2
    assert before["djhookbox_connections", "csp"] == 0
    assert before["djhookbox_users", ""] == 2
    assert before["djhookbox_channels", ""] == 1
    assert before["djhookbox_webhook_seconds_count", "answered,connect"] == 2

    async def sent() -> float:
        return (await samples(one))["djhookbox_messages_sent_total", ""]

    while await sent() < before["djhookbox_messages_sent_total", ""] + 2:
        await asyncio.sleep(0.01)
    after = await samples(one)
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    assert grown["djhookbox_messages_received_total", ""] == 1
    assert grown["djhookbox_sent_bytes_total", ""] > 2 * len("hello")
    assert before["djhookbox_received_bytes_total", ""] > 2 * len("SUBSCRIBE")
    assert grown["djhookbox_received_bytes_total", ""] == 0  # only frames count
    assert grown["djhookbox_fanout_seconds_count", ""] == 1
    assert after["djhookbox_fanout_seconds_bucket", "+Inf"] == after[
        "djhookbox_fanout_seconds_count", ""]  # fmt: skip
    await bob.close()
    await until(lambda: len(one.server.runtime.connections) == 1)
    last = await samples(one)
    assert last["djhookbox_connections", "websocket"] == 1
    closed = {key: value for key, value in last.items() if key[0].endswith("closed_total")}
    assert sum(closed.values()) == 1
    if os.path.exists("/proc/self/fd"):
        assert last["process_open_fds", ""] > 0


async def test_recoveries_and_gaps_are_counted(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"history_size": 2}
    one = await start()
    client = await one.open("alice")
    await send(client, "SUBSCRIBE", channel_name="room")
    while (await read(client))[1] != "SUBSCRIBE":
        pass
    (_ok, answer) = await one.rest("cursor", channel_name="room", options="{}")
    for number in range(2):
        await one.rest("publish", channel_name="room", payload=str(number))
    for since in (answer["cursor"], f"unknown{answer['cursor']}"):
        other = await one.open("bob")
        await send(other, "SUBSCRIBE", channel_name="room", since=since)
        while (await read(other))[1] != "SUBSCRIBE":
            pass
        await other.close()
    found = await samples(one)
    assert found["djhookbox_recovered_publications_total", ""] >= 2
    assert found["djhookbox_recovery_gaps_total", ""] == 1


async def test_a_process_without_its_redis_is_not_ready(start: Start, tmp_path: Path) -> None:
    with redis_server() as own:
        one = await start(engine=own.url, run_dir=str(tmp_path))
        assert (await get(one, "/health/ready"))[0] == 200
        own.kill()
        shared = one.server.runtime.shared
        assert shared is not None
        await until(lambda: not shared.link.is_up, "the connection to end")
        status, text = await get(one, "/health/ready")
        assert (status, set(json.loads(text)["problems"])) == (503, {"engine"})
        problems = one.server.service.problems
        for later in (10.0, 20.0):
            problems.look(time.time() + later)
        assert [(found.name, round(found.value)) for found in problems.found] == [
            ("engine_down", 10)
        ]
        assert (await samples(one))["djhookbox_engine_up", ""] == 0
        own.start()
        await until(lambda: shared.link.is_up, "the connection to return", 30.0)
        problems.look(time.time() + 30)
        assert problems.found == ()
        assert (await samples(one))["djhookbox_engine_up", ""] == 1


async def test_the_engine_and_the_nodes_are_counted(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    alone = await samples(await start())
    assert alone["djhookbox_nodes", ""] == 1
    assert not any(name == "djhookbox_engine_events_total" for name, _labels in alone)
    assert ("djhookbox_engine_up", "") not in alone
    one = await start(engine=redis.url, run_dir=str(tmp_path))
    await start(engine=redis.url, run_dir=str(tmp_path))

    async def both() -> bool:
        return (await samples(one))["djhookbox_nodes", ""] == 2

    deadline = time.monotonic() + 20
    while not await both():
        assert time.monotonic() < deadline, "the nodes do not know each other"
        await asyncio.sleep(0.1)
    found = await samples(one)
    events = {labels for name, labels in found if name == "djhookbox_engine_events_total"}
    assert len(events) == 5
    assert found["djhookbox_engine_round_trip_seconds_count", ""] > 0
    assert alone["djhookbox_engine_round_trip_seconds_count", ""] == 0


async def test_the_reference_lists_every_metric(start: Start) -> None:
    one = await start()
    _status, text = await get(one, "/metrics", headers=BEARER)
    # What has not happened yet has no samples, but its name.
    names = {name for name, _kind in re.findall(r"^# TYPE (djhookbox_\w+) (\w+)$", text, re.M)}
    document = (ROOT / "docs/reference/metrics.rst").read_text()
    rows = set(re.findall(r"^``(djhookbox_\w+)``", document, re.M))
    # Absent without an outbox, without Redis, and without a limit.
    optional = {
        "djhookbox_outbox_lag_seconds", "djhookbox_engine_up", "djhookbox_memory_limit_bytes",
    }  # fmt: skip
    assert optional <= rows
    assert rows - optional == names - optional


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic s"},
                {"Authorization": "Bearer "}, {"Authorization": "s"}],
)  # fmt: skip
async def test_metrics_need_the_secret(start: Start, headers: dict[str, str]) -> None:
    one = await start()
    status, text = await get(one, "/metrics", headers=headers)
    assert status == 401
    assert "HOOKBOX_REST_SECRET" in text
    assert "djhookbox_" not in text


async def test_without_a_secret_metrics_are_closed(start: Start) -> None:
    one = await start(rest_secrets=())
    assert (await get(one, "/metrics", headers={"Authorization": "Bearer "}))[0] == 401


async def test_metrics_have_a_port_of_their_own_if_asked(start: Start) -> None:
    port = free_port()
    one = await start(metrics_port=port)
    address = f"http://127.0.0.1:{port}"
    async with one.http.get(f"{address}/metrics") as response:
        assert response.status == 200
        assert "djhookbox_users 0.0" in await response.text()
    for other in ("/rest/get_server_info", "/ws", "/health"):
        async with one.http.get(f"{address}{other}") as response:
            assert response.status == 404, "nothing else is there"
    await one.server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await one.http.get(f"{address}/metrics")


async def test_without_prometheus_client_the_answer_says_what_to_install(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_facts: object) -> None:
        raise Missing

    one = await start()
    monkeypatch.setattr("djhookbox.server.operators.exposition", missing)
    status, text = await get(one, "/metrics", headers=BEARER)
    assert status == 501
    assert "django-hookbox[prometheus]" in text


def test_a_missing_package_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(Missing, match="pip install"):
        exposition(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [-1, 65_536, 8001])
def test_a_port_for_metrics_is_a_port_and_another_one(port: int) -> None:
    with pytest.raises(ConfigError, match="metrics_port"):
        ServerConfig(metrics_port=port)


def test_histograms_are_cumulative() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert histogram.buckets == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.total == 12
    assert len(Histogram(FANOUT_BUCKETS).buckets) == len(FANOUT_BUCKETS) + 1


def test_a_site_fails_until_it_answers() -> None:
    metrics = Metrics(0)
    metrics.webhook("publish", "failed", 1, 10)
    metrics.webhook("publish", "failed", 1, 20)
    assert metrics.failing_since == 10
    metrics.webhook("publish", "refused", 1, 30)
    assert metrics.failing_since is None


# ---- systemd ---------------------------------------------------------------------------------


@pytest.fixture
def notifications(tmp_path: Path) -> Any:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(5)
    yield receiver
    receiver.close()


def test_systemd_is_told(notifications: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": notifications.getsockname(), "WATCHDOG_USEC": "20000000"}
    systemd = Systemd(environment)
    assert systemd.interval == 10
    systemd.ready()
    for now in (1000, 1001, 1008, 1009, 1010, 1018):
        systemd.alive(now)
    systemd.stopping()
    received = [notifications.recv(100) for _ in range(4)]
    assert received == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert notifications.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_told() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "/no/such/socket"}):
        systemd = Systemd(environment)
        systemd.ready()
        systemd.alive(time.monotonic())
    other = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Systemd(other).interval == 0, "the watchdog of another process"


async def test_a_server_reports_to_systemd(
    start: Start, notifications: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", notifications.getsockname())
    one = await start()
    assert notifications.recv(100) == b"READY=1"
    await one.server.stop()
    assert notifications.recv(100) == b"STOPPING=1"
