"""A reconnect storm: the process is restarted, and all clients come back at once.

The clients have sessions in the database and subscribe to two channels each with one frame. The
site is gunicorn with two workers of four threads. Measured are the time until everybody is back,
the CPU per client of the site (with the backends of PostgreSQL) and of the server in milliseconds,
and how long an ordinary page takes in the meantime; with batches, and without in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any

from tests.ports import free_port
from tests.stand_ins.upgrade import masked, upgrade

from . import postgres
from .load import ORIGIN
from .procfs import children, cpu_time
from .storm_site import VARIABLE
from .webhook_cost import SECRET as WEBHOOK_SECRET

#: Seconds that one storm of a thousand clients may take; larger ones may take longer.
PATIENCE = 60.0


@contextmanager
def database(name: str) -> Iterator[tuple[dict[str, Any], Callable[[], float]]]:
    """Yield an entry of DATABASES, and what returns the CPU time of the database's processes."""
    if name == "postgresql":
        with postgres.Cluster() as cluster:
            yield cluster.settings(), cluster.cpu_time
        return
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        entry = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/storm.sqlite3",
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
        yield entry, lambda: 0.0


def setup(database: dict[str, Any], clients: int) -> list[str]:
    """Create the site's tables and users in this process; return the keys of their sessions."""
    from .batch_cost import configure, log_in, prepare

    configure(database)
    prepare()
    return [log_in(f"user{number}") for number in range(clients)]


@contextmanager
def running(arguments: list[str], port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends; wait until its port answers."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], **options)
    try:
        deadline = time.monotonic() + 30
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{arguments[0]} did not start")
            time.sleep(0.02)
        yield process
    finally:
        process.kill() if arguments[0] == "bench.server" else process.terminate()
        process.wait(15)


def listens(port: int) -> bool:
    """Return whether a port answers."""
    try:
        HTTPConnection("127.0.0.1", port, timeout=1).connect()
    except OSError:
        return False
    return True


class Page(threading.Thread):
    """Fetch an ordinary page again and again, and keep how long that takes."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.times: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        """Fetch until `ended` is set."""
        while not self.ended.wait(0.02):
            begin = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            connection.request("GET", "/hookbox/connect")
            connection.getresponse().read()
            connection.close()
            self.times.append(time.perf_counter() - begin)


async def come(port: int, number: int, session: str) -> None:
    """Connect, and subscribe to two channels with one frame; raise if anything is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(upgrade(ORIGIN, {"Cookie": f"csrftoken={'c' * 32}; sessionid={session}"}))
    await reader.readuntil(b"\r\n\r\n")
    channels = json.dumps(["/news/", f"/users/user{number}/"])
    writer.write(masked('[1,"CONNECT",{"cookie_string":"","ack":true}]\r\n'))
    writer.write(masked(f'[2,"SUBSCRIBE",{{"channels":{channels}}}]\r\n'))
    got = b""
    while b'"ACK"' not in got:
        data = await reader.read(65_536)
        got += data
        if not data or b'"ERROR"' in got:
            raise SystemExit(f"client {number} got {got[-300:]!r}")
    held.append(writer)


#: The open connections.
held: list[asyncio.StreamWriter] = []


async def all_come(port: int, sessions: list[str]) -> None:
    """Let all clients come at once."""
    work = (come(port, number, key) for number, key in enumerate(sessions))
    await asyncio.wait_for(asyncio.gather(*work), PATIENCE * max(1, len(sessions) / 1000))


def storm(
    database: dict[str, Any],
    sessions: list[str],
    *,
    batched: bool,
    workers: list[str],
    backends: Callable[[], float],
) -> dict[str, float]:
    """Measure one storm; `backends` returns the CPU time of the database's own processes."""
    site_port, port = free_port(), free_port()
    environ = {**os.environ, VARIABLE: json.dumps({"database": database, "batched": batched})}
    site = [
        "gunicorn", "bench.storm_site:application", "-b", f"127.0.0.1:{site_port}", *workers,
        "--log-level", "error",
    ]  # fmt: skip
    from djhookbox.wire import capabilities

    accepts = ",".join((*capabilities.ALL, *((capabilities.BATCH,) if batched else ())))
    server = [
        "bench.server", "--port", str(port), "--rest-secret", "x",
        "--webhook-url", f"http://127.0.0.1:{site_port}/hookbox",
        "--webhook-secret", WEBHOOK_SECRET, "--accepts", accepts, "--per-address", "100000",
        "--log-level", "ERROR",
    ]  # fmt: skip
    with ExitStack() as stack:
        gunicorn = stack.enter_context(running(site, site_port, env=environ))
        page = Page(site_port)
        page.start()
        time.sleep(1)  # all workers have started and answered
        hookbox = stack.enter_context(running(server, port))
        pids = children(gunicorn.pid)
        page.times.clear()
        before = sum(map(cpu_time, pids)) + backends(), cpu_time(hookbox.pid)
        began = time.perf_counter()
        asyncio.run(all_come(port, sessions))
        took = time.perf_counter() - began
        after = sum(map(cpu_time, pids)) + backends(), cpu_time(hookbox.pid)
        page.ended.set()
        held.clear()
    times = sorted(page.times)
    return {
        "seconds": took,
        "site": (after[0] - before[0]) / len(sessions) * 1e3,
        "server": (after[1] - before[1]) / len(sessions) * 1e3,
        "page p99": times[int(len(times) * 0.99)] if times else took,
        "page max": times[-1] if times else took,
    }


def main() -> None:
    """Measure storms with and without batches, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--sync", action="store_true", help="two sync workers")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--batched", action="store_true", help="with batches only")
    options = parser.parse_args()
    workers = ["-w", "2"] + ([] if options.sync else ["-k", "gthread", "--threads", "4"])
    with database(options.database) as (settings, backends):
        sessions = setup(settings, options.clients)
        for _ in range(options.runs):
            for batched in (True,) if options.batched else (True, False):
                figures = storm(
                    settings, sessions, batched=batched, workers=workers, backends=backends
                )
                shown = {name: round(value, 2) for name, value in figures.items()}
                print(json.dumps({"batched": batched, **shown}), flush=True)


if __name__ == "__main__":
    main()
