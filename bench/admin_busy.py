"""Pages of the admin whose cost does not depend on rows: a busy process, and one that hangs.

A real process has 5,000 connections and 20,000 channels while the server page is fetched. A policy
is saved while something accepts connections and never answers. Each figure has its own goal.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

from bench.processes import SECRET, target
from bench.procfs import cpu_time

CONNECTIONS, CHANNELS = 5_000, 20_000

#: Seconds of CPU for the server page, of Django and of the process, and rows of its tables.
PAGE_CPU, REPORT_CPU, TABLE_ROWS = 0.05, 0.05, 200

#: Seconds for a file of 100,000 rows: of CPU, and until its first rows.
FILE_CPU, FIRST_ROWS = 3.0, 0.1

#: Seconds for saving a policy. A poke waits for an answer for a quarter of a second, and no other
#: one is made for five seconds after that.
SAVE_FIRST, SAVE_NEXT = 0.4, 0.1

#: The figures of `measure`, in order.
LABELS = (
    "CPU of the site", "CPU of the process", "rows in the page", "CPU of the site, live part",
    "saved while the process hangs", "saved again",
)  # fmt: skip

#: The form of a policy.
POLICY = {
    "name": "Rooms", "pattern": "/rooms/<int:room>/", "order": "10", "history_size": "5",
    "history_duration": "300", "create_audience": "everyone", "subscribe_audience": "staff",
    "publish_audience": "staff", "state": "{}", "polling": "{}", "server_user_presence": "[]",
}  # fmt: skip

Figure = dict[str, Any]


def figure(log: str, page: str, value: float, goal: float, unit: str = "s") -> Figure:
    """Return a figure that is compared with its own goal."""
    return {
        "database": "", "log": log, "page": page, "value": value, "goal": goal, "unit": unit,
    }  # fmt: skip


def measure(runs: int, small: bool) -> Iterator[Figure]:
    """Yield the figures of the server page and of saving; Django is set up."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    yield from _server_page(client, runs, 50 if small else 1)
    yield from _saving(client)


def _server_page(client: Any, runs: int, fewer: int) -> Iterator[Figure]:
    from django.test import override_settings

    connections = CONNECTIONS // fewer
    with target("hookbox", "--connect-timeout", "120") as process:
        process("connect", count=connections, channels=connections, wave=50)
        with override_settings(HOOKBOX_PORT=process.port, HOOKBOX_REST_SECRET=SECRET):
            _subscribe(CHANNELS // fewer - connections)
            text = client.get("/admin/djhookbox/server/").content.decode()
            assert text.count('data-field="subscribers"') > 20, "the page lists no channels"
            own, other = _cpu(partial(client.get, "/admin/djhookbox/server/"), process.pid, runs)
            live, _ = _cpu(partial(client.get, "/admin/djhookbox/server/live/"), process.pid, runs)
    yield figure("server", LABELS[0], own, PAGE_CPU)
    yield figure("server", LABELS[1], other, REPORT_CPU)
    yield figure("server", LABELS[2], text.count("<tr"), TABLE_ROWS, "")
    yield figure("server", LABELS[3], live, PAGE_CPU)


def _subscribe(count: int) -> None:
    """Let some users subscribe to so many further channels in total."""
    from djhookbox import client

    users = [row.user for row in client.list_connections(limit=100).connections]
    options = {"moderated": False, "history_size": 0, "presenceful": False}
    for number, user in zip(range(count), cycle(users), strict=False):
        client.subscribe(f"/bench/further/{number}/", user, options=options)


def _cpu(fetch: Callable[[], Any], pid: int, runs: int) -> tuple[float, float]:
    """Return the CPU that a page costs this process and another one."""
    own = other = float("inf")
    for _number in range(runs + 1):
        begin, before = time.process_time(), cpu_time(pid)
        assert fetch().status_code == 200
        own = min(own, time.process_time() - begin)
        other = min(other, cpu_time(pid) - before)
    return own, other


def _saving(client: Any) -> Iterator[Figure]:
    """Save a policy twice while something accepts connections and never answers."""
    from django.test import override_settings

    from djhookbox.models import ChannelPolicy

    policy = ChannelPolicy.objects.create(name="Rooms", pattern="/rooms/<int:room>/")
    url = f"/admin/djhookbox/channelpolicy/{policy.pk}/change/"
    with _hanging() as port, override_settings(HOOKBOX_PORT=port):
        for label, goal in ((LABELS[4], SAVE_FIRST), (LABELS[5], SAVE_NEXT)):
            begin = time.perf_counter()
            response = client.post(url, {**POLICY, "note": label})
            took = time.perf_counter() - begin
            assert response.status_code == 302, "the policy was not saved"
            yield figure("channelpolicy", label, took, goal)


@contextmanager
def _hanging() -> Iterator[int]:
    """Listen on a port, accept through the backlog, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def exported(client: Any, url: str) -> tuple[float, float, int]:
    """Return the CPU for a file, the seconds until its first rows, and its lines."""
    begin, cpu = time.perf_counter(), time.process_time()
    response = client.get(url)
    parts = iter(response)
    next(parts)  # the header
    lines = next(parts).count(b"\n")
    first = time.perf_counter() - begin
    lines += sum(part.count(b"\n") for part in parts)
    return time.process_time() - cpu, first, lines
