"""Compare the admin's pages with many rows to the same pages with few.

On PostgreSQL (a private cluster, see `postgres.py`) with a million rows in each log, and on
SQLite with 200,000; `--rows 10000000 --others 5000000` measures ten million connections and five
million subscriptions and publications. Few are a thousand rows. There are 100 policies, or 5,000.
Both databases exist at the same time, and the pages are fetched alternately through the WSGI
handler in this process; each figure is the best of the runs. Then come the pages of
`admin_busy.py`, which are compared with their own goals. The exit status is 1 if a page takes more
than three times as long with many rows, or more than 0.1 s, or misses its own goal, and 2 if it
could not be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any

from bench import admin_busy
from bench.admin_pages import LIMITED, PAGES
from bench.admin_rows import FEW, fill, rows_of, write_policies
from bench.postgres import Cluster, NoPostgreSQL

BOUND = 3.0
MANY = {"postgresql": 1_000_000, "sqlite": 200_000}
#: Seconds that a page may take.
GOAL = 0.1
POLICIES = {"few": 100, "many": 5_000}

#: Rows of the files that are measured, the pages that they belong to, and their formats.
FILE_ROWS = 100_000
EXPORTED = ("connectionlog", "subscriptionlog", "publication", "refusals")
FORMATS = {"CSV": "export/", "JSON Lines": "export/lines/"}

#: By alias, the number of rows in each log.
ALIASES = {"default": "few", "many": "many"}


class Turn:
    """A router that sends everything to the current database."""

    alias = "default"

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return Turn.alias

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return Turn.alias

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


# ---- measuring ---------------------------------------------------------------------------------


def configure(databases: dict[str, dict[str, Any]]) -> None:
    """Set up a site with two databases, one of which is current."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="bench",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=__name__,
        DATABASES=databases,
        DATABASE_ROUTERS=["bench.admin_scale.Turn"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="static/",
        USE_TZ=True,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "djhookbox",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()
    from django.contrib import admin
    from django.urls import path

    urlpatterns.append(path("admin/", admin.site.urls))


#: Filled in by `configure`.
urlpatterns: list[Any] = []


def visitor(
    alias: str, rows: int, others: int | None = None
) -> tuple[Any, Callable[[str, str], float]]:
    """Prepare a database; return a client, and what fetches a page and returns the time it took."""
    import datetime

    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from djhookbox.models import ChannelPolicy

    Turn.alias = alias
    call_command("migrate", database=alias, verbosity=0)
    fill(alias, rows, others)
    count = min(POLICIES[ALIASES[alias]], rows)
    write_policies(alias, count)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    today = timezone.localdate()
    words = {
        "yesterday": today - datetime.timedelta(days=1),
        "old": today - datetime.timedelta(days=5),
        "last": count // 50,
        "few": POLICIES["few"] // 2,
        "policy": ChannelPolicy.objects.get(name=f"Rooms {count // 2}").pk,
    }

    def visit(log: str, query: str) -> float:
        Turn.alias = alias
        values = words
        if "{middle}" in query:
            values = {**words, "middle": middle(log, rows_of(log, rows, others) // 2)}
        url = f"/admin/djhookbox/{log}/{query.format(**values)}"
        begin = time.perf_counter()
        response = client.get(url)
        if response.streaming:
            parts = iter(response)
            next(parts)  # the header
            if "from" not in query:
                next(parts)
        took = time.perf_counter() - begin
        response.close()
        if response.status_code != 200:
            raise SystemExit(f"{url} was answered {response.status_code}")
        return took

    return client, visit


def middle(log: str, key: int) -> str:
    """Return the place of a row, as the links between pages have it."""
    from urllib.parse import quote

    from django.apps import apps

    row = apps.get_model("djhookbox", log).objects.get(pk=key)
    return quote(f"{row.created.isoformat()}_{key}")


def measure(
    vendor: str, rows: int, runs: int, others: int | None = None
) -> Iterator[dict[str, Any]]:
    """Return the best times of each page with few and with many rows."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if vendor == "postgresql":
            cluster = stack.enter_context(Cluster())
            for alias in ALIASES:
                cluster.create(f"bench_{alias}")
            databases = {alias: cluster.settings(f"bench_{alias}") for alias in ALIASES}
        else:
            databases = {
                alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/{alias}.sqlite3"}
                for alias in ALIASES
            }
        for database in databases.values():
            database["CONN_MAX_AGE"] = None
        configure(databases)
        from django.db import connections

        begin = time.perf_counter()
        _client, few = visitor("default", min(FEW, rows))
        client, many = visitor("many", rows, others)
        visitors = {"few": few, "many": many}
        print(f"{vendor}: rows written in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        try:
            for log, pages in PAGES.items():
                for words, query in pages.items():
                    best = dict.fromkeys(visitors, float("inf"))
                    # The first run warms caches.
                    for _number in range(runs):
                        for name, visit in visitors.items():
                            best[name] = min(best[name], visit(log, query))
                    yield {"database": vendor, "log": log, "page": words, **best}
            yield from files(vendor, client)
        finally:
            connections.close_all()


def files(vendor: str, client: Any) -> Iterator[dict[str, Any]]:
    """Yield what files of 100,000 rows cost."""
    for log, (form, address) in product(EXPORTED, FORMATS.items()):
        cpu, first, lines = admin_busy.exported(client, f"/admin/djhookbox/{log}/{address}")
        scale = FILE_ROWS / max(1, lines)
        for label, value, goal in (
            (f"{form} of 100,000 rows, CPU", cpu * scale, admin_busy.FILE_CPU),
            (f"{form} of 100,000 rows, first rows", first, admin_busy.FIRST_ROWS),
        ):
            yield {**admin_busy.figure(log, label, value, goal), "database": vendor}


def measure_busy(rows: int | None, runs: int) -> list[dict[str, Any]]:
    """Return the figures of a busy process and of one that hangs."""
    with tempfile.TemporaryDirectory() as folder:
        names = {alias: f"{folder}/{alias}.sqlite3" for alias in ALIASES}
        configure({
            alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
            for alias, name in names.items()
        })  # fmt: skip
        return list(admin_busy.measure(runs, small=rows is not None and rows < 10_000))


def calibrate() -> float:
    """Return how long five million additions take, by which machines can be compared."""
    best = float("inf")
    for _number in range(3):
        begin = time.perf_counter()
        total = 0
        while total < 5_000_000:
            total += 1
        best = min(best, time.perf_counter() - begin)
    return best


def report(figures: list[dict[str, Any]]) -> bool:
    """Print a table; return whether all figures are within the bound."""
    print(f"{'':12} {'':16} {'':36} {'few':>8} {'many':>8}")
    good = True
    compared = [figure for figure in figures if "few" in figure]
    for figure in figures:
        label = f"{figure['database']:12} {figure['log']:16} {figure['page']:36}"
        if "few" in figure:
            ratio = figure["many"] / figure["few"]
            over = figure["many"] > GOAL or (ratio > BOUND and figure["page"] not in LIMITED)
            shown = f"{figure['few'] * 1000:5.1f} ms {figure['many'] * 1000:5.1f} ms {ratio:5.2f} x"
        else:
            over = figure["value"] > figure["goal"]
            factor, unit = (1000, "ms") if figure["unit"] else (1, "")
            shown = f"{figure['value'] * factor:14.1f} {unit:2} (goal {figure['goal'] * factor:g})"
        good &= not over
        print(f"{label} {shown}{'  OVER' if over else ''}")
    if compared:
        worst = max(figure["many"] / figure["few"] for figure in compared)
        slowest = max(figure["many"] for figure in compared)
        print(f"worst: {worst:.2f} x, bound: {BOUND:g} x, {len(compared)} pages")
        print(f"slowest: {slowest * 1000:.0f} ms, goal: {GOAL * 1000:.0f} ms")
    return good


def main() -> None:
    """Measure each database in a separate process, because Django is set up only once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("databases", nargs="*", help="postgresql, sqlite, process (all)")
    parser.add_argument("--runs", type=int, default=7, help="times that a page is fetched")
    parser.add_argument("--rows", type=int, help="rows of each log, in the place of the usual")
    parser.add_argument(
        "--others", type=int, help="rows of the logs other than that of connections"
    )
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "process":
        print(json.dumps(measure_busy(options.rows, options.runs)))
        return
    if options.child:
        rows = options.rows or MANY[options.child]
        try:
            found = measure(options.child, rows, options.runs, options.others)
            print(json.dumps(list(found)))
        except NoPostgreSQL as error:
            raise SystemExit(f"PostgreSQL cannot be measured: {error}") from error
        return
    figures: list[dict[str, Any]] = []
    print(f"five million additions take {calibrate():.2f} s")
    for vendor in options.databases or [*MANY, "process"]:
        if vendor not in (*MANY, "process"):
            parser.error(f"Unknown database {vendor}. Choose from {', '.join(MANY)}, process.")
        command = [sys.executable, "-m", "bench.admin_scale", "--child", vendor]
        command += ["--runs", str(options.runs)]
        command += ["--rows", str(options.rows)] if options.rows else []
        command += ["--others", str(options.others)] if options.others else []
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            raise SystemExit(2)
        figures += json.loads(result.stdout)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    raise SystemExit(0 if report(figures) else 1)


if __name__ == "__main__":
    # By its name, under which Django imports it again for the router and the addresses.
    from bench import admin_scale

    admin_scale.main()
