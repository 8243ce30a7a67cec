"""Compare the CPU that Django needs for a webhook in a batch and for one made alone.

Both go through the WSGI handler and the middleware of `startproject`, in alternation, for 100 users
with sessions in the database: connect, and subscribing to two channels. The time of the process is
measured, and with PostgreSQL that of its backend too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

from django.urls import include, path

from djhookbox.wire import bodies, webhooks
from djhookbox.wire.webhooks import Batched, Caller, Wanted

from . import postgres
from .procfs import cpu_time
from .webhook_cost import SECRET, set_up
from .worker import Worker, log_in

USERS = 100
SIZES = (100, 25)

#: Filled in by `configure`, as the views can only be imported once Django is set up.
urlpatterns: list[Any] = []


def configure(database: dict[str, Any], *middleware: str) -> None:
    """Set up a site with an entry of DATABASES and further entries of MIDDLEWARE."""
    set_up(__name__, database, *middleware)
    urlpatterns.append(path("hookbox/", include("djhookbox.urls")))


def prepare() -> None:
    """Create the tables and three policies."""
    from django.core.management import call_command

    from djhookbox.models import Audience, ChannelPolicy

    call_command("migrate", verbosity=0)
    ChannelPolicy.objects.bulk_create(
        ChannelPolicy(
            name=pattern, pattern=pattern, order=order, subscribe_audience=Audience.SIGNED_IN
        )
        for order, pattern in enumerate(("/news/", "/rooms/<slug:room>/", "/users/<user>/"))
    )


class Calls:
    """The same calls, made alone or in batches."""

    def __init__(self, worker: Worker, calls: list[tuple[dict[str, str], str]]) -> None:
        self._worker = worker
        self._calls = calls

    def alone(self) -> None:
        """Make each alone."""
        self._alone(self._calls)

    def _alone(self, calls: Iterable[tuple[dict[str, str], str]]) -> None:
        for fields, cookie in calls:
            form = bodies.as_form({**fields, "secret": SECRET})
            self._worker.post(f"/hookbox/{fields['action']}", form, bodies.FORM_TYPE, cookie)

    def batched(self, size: int) -> None:
        """Make all in batches of a size, and those alone for which the batch had no time."""
        for start in range(0, len(self._calls), size):
            chunk = self._calls[start : start + size]
            batch = webhooks.Batch(tuple(Batched(*call) for call in chunk))
            body = bodies.as_json(webhooks.write(batch, secret=SECRET))
            answers = self._worker.post("/hookbox/batch", body, bodies.JSON_TYPE)[0]["answers"]
            failed = [each for each in answers if each and each[1][0] is not True]
            if failed:
                raise SystemExit(f"{len(failed)} calls of a batch failed, such as {failed[0]!r}")
            self._alone(call for call, answer in zip(chunk, answers, strict=True) if answer is None)


def kinds(worker: Worker, keys: list[str], names: list[str]) -> dict[str, Calls]:
    """Return the measured calls of all users."""
    from djhookbox.users.identity import session_identity

    connects, subscribes = [], []
    for number, (key, name) in enumerate(zip(keys, names, strict=True)):
        cookie = f"csrftoken={'x' * 32}; sessionid={key}"
        details = ("websocket", "127.0.0.1", "Mozilla/5.0 (X11; Linux x86_64)", "http://site")
        connect = webhooks.Connect("null", "", "", *details)
        connects.append((webhooks.write(connect, Caller(f"{number:032x}")), cookie))
        caller = Caller(f"{number:032x}", name, session_identity(key))
        wanted = (Wanted("/news/", subscribe=True), Wanted(f"/users/{name}/", create=True))
        subscribe = webhooks.SubscribeMany(wanted, name)
        subscribes.append((webhooks.write(subscribe, caller), cookie))
    return {"connect": Calls(worker, connects), "subscribe": Calls(worker, subscribes)}


@contextmanager
def database(name: str) -> Iterator[dict[str, Any]]:
    """Provide an empty database; waiting for a disk would hide the difference."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        if name == "sqlite":
            yield {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/bench.sqlite3"}
        else:
            with postgres.Cluster() as cluster:
                yield cluster.settings()


def clock(backend: int) -> float:
    """Return the CPU that this process and the database's backend have used, in seconds."""
    return time.process_time() + (cpu_time(backend) if backend else 0.0)


def measure(function: Callable[[], None], backend: int) -> float:
    """Return the CPU of a call in seconds."""
    before = clock(backend)
    function()
    return clock(backend) - before


def main() -> None:
    """Measure and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with database(options.database) as where:
        configure(where)
        prepare()
        from django.db import connection

        names = [f"user{number}" for number in range(USERS)]
        calls = kinds(Worker(), [log_in(name) for name in names], names)
        backend = 0
        if options.database == "postgres":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                backend = cursor.fetchone()[0]
        ratios: dict[str, list[float]] = {}
        alone: dict[str, list[float]] = {}
        for run in range(options.runs + 1):
            for kind, each in calls.items():
                single = measure(each.alone, backend)
                for size in SIZES:
                    took = measure(partial(each.batched, size), backend)
                    if run:  # the first one warms up
                        ratios.setdefault(f"{kind} {size}", []).append(took / single)
                if run:
                    alone.setdefault(kind, []).append(single / USERS * 1e6)
        connection.close()
    result = {name: round(median(values), 3) for name, values in ratios.items()}
    result |= {f"{kind} alone, µs": round(median(each)) for kind, each in alone.items()}
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
