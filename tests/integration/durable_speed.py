"""Compare durable channels with others: `python -m tests.integration.durable_speed`.

Prints medians of one run, in milliseconds: of `publish()` itself, and from its commit to a client.
The site is gunicorn with threads and persistent database connections.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from bench.postgres import Cluster

from ..stand_ins.client import Client
from ..stand_ins.waiting import PATIENCE
from .durable_proof import sqlite_settings
from .processes import Pair

KINDS = {"/direct/": False, "/durable/": True}


class Page(Client):
    """A page that reads its socket itself.

    The usual client reads in a thread, which passes messages on late. With channels that are not
    durable this does not show, because `publish()` waits for its answer in that time.
    """

    def __init__(self, url: str, origin: str) -> None:
        parts = urlsplit(url)
        self._raw = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = ClientProtocol(parse_uri(url), origin=origin)  # type: ignore[arg-type]
        super().__init__(self._raw)  # type: ignore[arg-type]
        self._protocol.send_request(self._protocol.connect())
        self._write()
        while not self._read():
            pass

    def send_text(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._write()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            self._raw.sendall(data)

    def _read(self) -> list[Any]:
        self._protocol.receive_data(self._raw.recv(65_536))
        return self._protocol.events_received()

    def _receive(self, until: float) -> None:
        for event in self._read():
            if isinstance(event, Frame):
                self.inbox += self._frames.feed(bytes(event.data).decode())


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
        page = Page(pair.hookbox.websocket, pair.site.pages)
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
