"""Publish to a durable channel from several processes: `python -m bench.durable`.

Each process commits its share of the publications of a second, evenly spaced. A subscriber measures
how long after its commit each publication arrives, and whether those of a process are in order.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.postgres import Cluster
from bench.procfs import cpu_time, cpu_time_of_family
from tests.integration.durable_proof import sqlite_settings
from tests.integration.processes import Pair
from tests.stand_ins.client import Client, client

CHANNEL = "/durable/"
#: Seconds after which a publication that has not arrived is missing.
PATIENCE = 30.0
#: The bound of issue and documentation, in seconds.
MOST_LAG = 1.0


class Arrived(NamedTuple):
    """A publication as the subscriber received it; seconds from its commit."""

    by: int
    number: int
    lag: float


# ---- a process that publishes --------------------------------------------------------------------


def publish(by: int, rate: float, seconds: float, together: int) -> None:
    """Commit `rate` publications per second, and print how many and how fast they were."""
    import django

    django.setup()
    from django.db import transaction

    import djhookbox

    count = int(rate * seconds)
    began, cpu = time.monotonic(), time.process_time()
    for first in range(0, count, together):
        late = began + first / rate - time.monotonic()
        if late > 0:
            time.sleep(late)
        with transaction.atomic():
            for number in range(first, min(first + together, count)):
                payload = {"by": by, "number": number, "at": time.time()}
                djhookbox.publish(CHANNEL, payload)
    took = time.monotonic() - began
    print(json.dumps({"count": count, "seconds": took, "cpu": time.process_time() - cpu}))


# ---- the subscriber ------------------------------------------------------------------------------


def receive(page: Client, count: int) -> list[Arrived]:
    """Return publications in the order of their arrival, until all have come or none comes."""
    found: list[Arrived] = []
    try:
        while len(found) < count:
            kind, frame = page.next()
            if kind == "PUBLISH":
                payload = frame["payload"]
                lag = time.time() - payload["at"]
                found.append(Arrived(payload["by"], payload["number"], lag))
    except AssertionError:
        pass
    return found


def disorder(arrived: list[Arrived]) -> int:
    """Return how many publications of a process do not follow the one before."""
    last: dict[int, int] = {}
    wrong = 0
    for each in arrived:
        wrong += each.number != last.get(each.by, -1) + 1
        last[each.by] = each.number
    return wrong


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


# ---- the run -------------------------------------------------------------------------------------


def run(folder: Path, database: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Start a site, a process and the publishers, and return the figures."""
    default = {**database, "CONN_MAX_AGE": 60}
    pair = Pair(folder, folder / "site.sqlite3", {"DATABASES": {"default": default}})
    count = int(options.rate / options.workers * options.seconds) * options.workers
    try:
        assert pair.manage("migrate", "-v0").returncode == 0
        pair.site.run("gunicorn")
        pair.hookbox.run()
        pair.site.do("policy", CHANNEL, durable=True, subscribe_audience="everyone")
        with client(pair.hookbox.websocket, origin=pair.site.pages) as page:
            page.connect()
            page.subscribe(CHANNEL)
            before = cpu_time(pair.hookbox.child.pid)
            site_before = cpu_time_of_family(pair.site.child.pid)
            publishers = [_publisher(pair, number, options) for number in range(options.workers)]
            try:
                arrived = receive(page, count)
                told = [json.loads(each.communicate(timeout=PATIENCE)[0]) for each in publishers]
            finally:
                for each in publishers:
                    each.kill()
                    each.wait()
            server = cpu_time(pair.hookbox.child.pid) - before
            site = cpu_time_of_family(pair.site.child.pid) - site_before
    finally:
        pair.stop()
    lags = [each.lag for each in arrived]
    return {
        "database": database["ENGINE"].rpartition(".")[2],
        "committed": sum(each["count"] for each in told),
        "arrived": len(arrived),
        "committed_per_second": round(sum(each["count"] / each["seconds"] for each in told), 1),
        "out_of_order": disorder(arrived),
        "lag_median_ms": round(1000 * percentile(lags, 0.5), 1),
        "lag_p99_ms": round(1000 * percentile(lags, 0.99), 1),
        "lag_max_ms": round(1000 * max(lags, default=float("nan")), 1),
        "publisher_cpu_ms": round(1000 * sum(each["cpu"] for each in told) / max(1, count), 3),
        "site_cpu_ms": round(1000 * site / max(1, count), 3),
        "server_cpu_ms": round(1000 * server / max(1, count), 3),
    }


def _publisher(pair: Pair, number: int, options: argparse.Namespace) -> subprocess.Popen[str]:
    share = options.rate / options.workers
    return subprocess.Popen(
        [
            sys.executable, "-m", "bench.durable", "--publisher", str(number), "--rate", str(share),
            "--seconds", str(options.seconds), "--together", str(options.together),
        ],
        env=pair.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def main() -> int:
    """Measure and print; 1 if the bound is exceeded, 2 if the rate was not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--rate", type=float, default=1000, help="publications per second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2, help="processes that publish")
    parser.add_argument("--together", type=int, default=1, help="publications per transaction")
    parser.add_argument("--publisher", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publisher is not None:
        publish(options.publisher, options.rate, options.seconds, options.together)
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookbox-durable-")))
        if options.database == "sqlite":
            database = sqlite_settings(folder)
        else:
            database = stack.enter_context(Cluster()).settings()
        found = run(folder, database, options)
    print(json.dumps(found))
    if found["out_of_order"] or found["arrived"] < found["committed"]:
        return 1
    if found["committed_per_second"] < 0.95 * options.rate:
        print(f"{os.cpu_count()} processors cannot commit {options.rate:g} per second here.")
        return 2
    return int(found["lag_max_ms"] > 1000 * MOST_LAG)


if __name__ == "__main__":
    sys.exit(main())
