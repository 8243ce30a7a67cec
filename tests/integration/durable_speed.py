"""Compare durable channels with others: `python -m tests.integration.durable_speed`.

Prints medians of one run, in milliseconds: of `publish()` itself, and from its commit to a client.
The site is gunicorn with threads and persistent database connections.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.postgres import Cluster

from ..stand_ins.client import Client, client
from .durable_proof import sqlite_settings
from .processes import Pair

KINDS = {"/direct/": False, "/durable/": True}


def measure(page: Client, channel: str, count: int) -> tuple[float, float]:
    """Return the medians of the seconds that `publish()` takes, and until its message arrives."""
    from django.db import transaction

    import djhookbox

    calls, arrivals = [], []
    for number in range(count):
        with transaction.atomic():
            started = time.perf_counter()
            if KINDS[channel]:
                djhookbox.publish(channel, number)
            calls.append(time.perf_counter() - started)
            committing = time.perf_counter()
        if not KINDS[channel]:
            started = committing = time.perf_counter()
            djhookbox.publish(channel, number)
            calls[-1] = time.perf_counter() - started
        page.expect("PUBLISH", channel_name=channel, payload=number)
        arrivals.append(time.perf_counter() - committing)
        page.inbox.clear()
    return statistics.median(calls), statistics.median(arrivals)


def run(folder: Path, database: dict[str, Any], count: int) -> dict[str, Any]:
    """Start a site and a process, and measure."""
    default = {**database, "CONN_MAX_AGE": 60}
    pair = Pair(folder, folder / "site.sqlite3", {"DATABASES": {"default": default}})
    try:
        assert pair.manage("migrate", "-v0").returncode == 0
        pair.site.run("gunicorn")
        pair.hookbox.run()
        for channel, durable in KINDS.items():
            pair.site.do("policy", channel, durable=durable, subscribe_audience="everyone")
        os.environ.update(pair.environment)
        import django

        django.setup()
        found: dict[str, Any] = {"database": database["ENGINE"].rpartition(".")[2]}
        with client(pair.hookbox.websocket, origin=pair.site.pages) as page:
            page.connect()
            for channel in KINDS:
                page.subscribe(channel)
                measure(page, channel, 20)  # warm up
            for channel in KINDS:
                call, arrival = measure(page, channel, count)
                found[channel.strip("/")] = {
                    "publish_ms": round(1000 * call, 2), "arrival_ms": round(1000 * arrival, 2),
                }  # fmt: skip
        found["ratio"] = round(found["durable"]["arrival_ms"] / found["direct"]["arrival_ms"], 2)
        return found
    finally:
        pair.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookbox-speed-")))
        if options.database == "sqlite":
            database = sqlite_settings(folder)
        else:
            database = stack.enter_context(Cluster()).settings()
        print(json.dumps(run(folder, database, options.count)))


if __name__ == "__main__":
    main()
