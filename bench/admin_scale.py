"""Compare the admin's pages with many rows to the same pages with few.

On PostgreSQL (a private cluster, see `postgres.py`) with a million rows in each log, and on
SQLite with 200,000; `--rows 10000000` measures ten million. Few are a thousand rows. There are 100
policies, or 5,000. Both databases exist at the same time, and the pages are fetched alternately
through the WSGI handler in this process; each figure is the best of the runs. The exit status is 1
if a page takes more than three times as long with many rows, or more than 0.1 s, and 2 if it could
not be measured.
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
from typing import Any

from bench.postgres import Cluster, NoPostgreSQL

BOUND = 3.0
FEW = 1_000
MANY = {"postgresql": 1_000_000, "sqlite": 200_000}
PAGE = 50
#: Seconds that a page may take.
GOAL = 0.1
POLICIES = {"few": 100, "many": 5_000}

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


# ---- pages -------------------------------------------------------------------------------------

#: The requests for each log: a label for the table, and the query. `{middle}` is the place of a row
#: in the middle; the days are within the past ten.
COMMON = {
    "list": "",
    "older than these": "?older={middle}",
    "newer than these": "?newer={middle}",
    "filter: a frequent user": "?user_name=alice",
    "filter: a rare user": "?user_name=user77",
    "filter: a connection": "?connection_id=c00000012",
    "filter: since yesterday": "?from={yesterday}",
    "filter: past 5 days": "?from={old}",
    "filter: until 5 days ago": "?until={old}",
    "filter: one old day": "?from={old}&until={old}",
    "filter: a user on an old day": "?user_name=alice&from={old}&until={old}",
    "search on an old day": "?q=alice&from={old}&until={old}",
    "first byte of CSV": "export/?from={old}&until={old}",
    "first rows of CSV": "export/?until={old}",
    "search: a frequent user": "?q=alice",
    "search: a connection": "?q=c00000012",
    "search: nobody": "?q=nobody",
    "everything of a user": "trail/?user=alice",
    "everything of a connection": "trail/?connection=c00000012",
}
CHANNELS = {
    "filter: a frequent channel": "?channel=/news/today/",
    "filter: a rare channel": "?channel=/rooms/77/",
    "search: a frequent channel": "?q=/news/today/",
    "search: a rare channel": "?q=/rooms/77/",
    "search: how many channels begin": "?q=/rooms/*",
    "search: how few channels begin": "?q=/rooms/77/*",
    "search: how no channel begins": "?q=/nowhere/*",
    "everything of a channel": "trail/?channel=/news/today/",
}
PAGES = {
    "connectionlog": {
        **COMMON,
        "filter: a frequent event": "?event__exact=connect",
        "filter: a rare event": "?event__exact=refused",
        "filter: a rare transport": "?transport__exact=csp",
        "filter: a transport that is missing": "?transport__exact=",
        "filter: an address": "?ip=10.0.0.7",
        "filter: a rare event of a user": "?event__exact=refused&user_name=alice",
    },
    "subscriptionlog": {
        **COMMON,
        **CHANNELS,
        "filter: a frequent event": "?event__exact=subscribe",
        "filter: a rare event": "?event__exact=refused",
        "filter: an event that is missing": "?event__exact=destroy",
    },
    "publication": {
        **COMMON,
        **CHANNELS,
        "filter: a frequent status": "?status__exact=sent",
        "filter: a rare status": "?status__exact=failed",
        "filter: a rare source": "?source__exact=admin",
        "filter: a source that is missing": "?source__exact=poll",
    },
    "refusals": {
        "all": "",
        "until 5 days ago": "?until={old}",
        "one old day": "?from={old}&until={old}",
        "of a frequent user": "?q=alice",
        "of a rare user": "?q=user77",
        "one reason": "?by=policy:Rooms&reason=",
        "a reason that is missing": "?by=policy:Rooms&reason=None",
        "first byte of the file": "export/?from={old}&until={old}",
        "first rows of the file": "export/?until={old}",
    },
    "channelpolicy": {
        "list": "",
        "list, last page": "?p={last}",
        "change": "{policy}/change/",
        "try a channel": "try/?channel=/rooms-{few}/7/&user=&operation=subscribe",
        "preview": "preview/?pattern=/rooms-{few}/<int:room>/&order=100&enabled=on&name=x",
        "delete": "{policy}/delete/",
    },
}  # fmt: skip

# ---- rows --------------------------------------------------------------------------------------

#: The value of each column of row `i`, as SQL that both databases accept. `{rare}` is so large that
#: rare values fill a page in every table, and they are rarer the more rows there are: otherwise
#: pages that show less would be compared with pages that show more.
NOTHING = "''"
SHARED = {
    "user_name": "CASE WHEN i % 10 = 0 THEN 'alice' WHEN i % {rare} = 1 THEN 'user77' "
    "ELSE 'user' || (i * 7919 % 1000 + 1000) END",
    "connection_id": "'c' || substr(CAST(100000000 + i / 4 AS varchar), 2)",
    "decided_by": "'policy:Rooms'",
    "reason": NOTHING,
    "note": NOTHING,
}
CHANNEL = (
    "CASE WHEN i % 3 = 0 THEN '/news/today/' WHEN i % {rare} = 1 THEN '/rooms/77/' "
    "ELSE '/rooms/' || (i * 31 % 300 + 300) || '/' END"
)
NODE = {"node": "'node' || (i * 7 / {rare})", "assumed": "i % {rare} = 9"}
ROWS = {
    "connectionlog": {
        **SHARED,
        **NODE,
        "event": "CASE WHEN i % {rare} = 10 THEN 'refused' WHEN i % 2 = 0 THEN 'connect' "
        "ELSE 'disconnect' END",
        "transport": "CASE WHEN i % {rare} = 3 THEN 'csp' ELSE 'websocket' END",
        "ip": "CASE WHEN i % {rare} = 5 THEN '10.0.0.7' ELSE '10.0.1.' || (i % 250) END",
        "user_agent": "'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0'",
        "origin": "'https://example.com'",
        "code": "CASE WHEN i % 2 = 0 THEN NULL ELSE 1001 END",
    },
    "subscriptionlog": {
        **SHARED,
        **NODE,
        "event": "CASE WHEN i % {rare} = 7 THEN 'refused' WHEN i % 2 = 0 THEN 'subscribe' "
        "ELSE 'unsubscribe' END",
        "channel": CHANNEL,
    },
    "publication": {
        **SHARED,
        "channel": CHANNEL,
        "payload": """'{"text": "Hello, hello, hello, hello, hello", "from": "alice"}'""",
        "preview": """'{"text": "Hello, hello, hello, hello, hello", "from": "alice"}'""",
        "size": "61",
        "kept": "'whole'",
        "source": "CASE WHEN i % {rare} = 3 THEN 'admin' WHEN i % 2 = 0 THEN 'client' "
        "ELSE 'code' END",
        "status": "CASE WHEN i % {rare} = 7 THEN 'failed' ELSE 'sent' END",
        "error": NOTHING,
        "delivered": "i % 40",
    },
}  # fmt: skip


def fill(alias: str, count: int, *, vacuum: bool = True) -> None:
    """Write this many rows of the past ten days to each log."""
    from django.apps import apps
    from django.db import connections

    connection = connections[alias]
    postgresql = connection.vendor == "postgresql"
    seconds = 10 * 86_400 / count
    rare = str(max(FEW // 100, count // 1000) * 2)
    if postgresql:
        series = f"generate_series(CAST(1 AS bigint), {count}) AS series(i)"
        created = f"now() - make_interval(secs => ({count} - i) * {seconds})"
    else:
        series = (
            f"(WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series "
            f"WHERE i < {count}) SELECT i FROM series)"
        )
        created = f"datetime('now', '-' || (({count} - i) * {seconds}) || ' seconds')"
    casts = {"ip": "inet", "payload": "jsonb"} if postgresql else {}
    with connection.cursor() as cursor:
        for name, columns in ROWS.items():
            model = apps.get_model("djhookbox", name)
            values = [
                f"CAST({value} AS {casts[column]})" if column in casts else value
                for column, value in (
                    (column, value.replace("{rare}", rare)) for column, value in columns.items()
                )
            ]
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} (created, {', '.join(columns)}) "
                f"SELECT {created}, {', '.join(values)} FROM {series} ORDER BY i"
            )
        if postgresql and vacuum:
            cursor.execute("VACUUM ANALYZE")  # as its own daemon does it


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


def visitor(alias: str, rows: int) -> Callable[[str, str], float]:
    """Prepare a database; return a function that fetches a page and returns the time it took."""
    import datetime

    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from djhookbox.models import ChannelPolicy

    Turn.alias = alias
    call_command("migrate", database=alias, verbosity=0)
    fill(alias, rows)
    count = min(POLICIES[ALIASES[alias]], rows)
    write_policies(alias, count)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    today = timezone.localdate()
    words = {
        "yesterday": today - datetime.timedelta(days=1),
        "old": today - datetime.timedelta(days=5),
        "last": count // 100,
        "few": POLICIES["few"] // 2,
        "policy": ChannelPolicy.objects.get(name=f"Rooms {count // 2}").pk,
    }

    def visit(log: str, query: str) -> float:
        Turn.alias = alias
        values = {**words, "middle": middle(log, rows // 2)} if "{middle}" in query else words
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

    return visit


def middle(log: str, key: int) -> str:
    """Return the place of a row, as the links between pages have it."""
    from urllib.parse import quote

    from django.apps import apps

    row = apps.get_model("djhookbox", log).objects.get(pk=key)
    return quote(f"{row.created.isoformat()}_{key}")


def write_policies(alias: str, count: int) -> None:
    """Write policies: most of their patterns begin differently, some alike."""
    from djhookbox.models import ChannelPolicy

    ChannelPolicy.objects.using(alias).bulk_create(
        ChannelPolicy(
            name=f"Rooms {number}",
            pattern=f"/<slug:team>/n{number}/" if number % 50 == 0 else f"/rooms-{number}/<int:r>/",
            order=number,
            history_size=number % 3,
        )
        for number in range(count)
    )


def measure(vendor: str, rows: int, runs: int) -> Iterator[dict[str, Any]]:
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
        visitors = {"few": visitor("default", FEW), "many": visitor("many", rows)}
        print(f"{vendor}: rows written in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        try:
            for log, pages in PAGES.items():
                for words, query in pages.items():
                    best = dict.fromkeys(visitors, float("inf"))
                    for number in range(runs + 1):
                        for name, visit in visitors.items():
                            took = visit(log, query)
                            if number:  # the first request warms caches
                                best[name] = min(best[name], took)
                    yield {"database": vendor, "log": log, "page": words, **best}
        finally:
            connections.close_all()


def report(figures: list[dict[str, Any]]) -> bool:
    """Print a table; return whether all figures are within the bound."""
    print(f"{'':12} {'':16} {'':36} {'few':>8} {'many':>8}")
    good = True
    for figure in figures:
        ratio = figure["many"] / figure["few"]
        over = ratio > BOUND or figure["many"] > GOAL
        good &= not over
        print(
            f"{figure['database']:12} {figure['log']:16} {figure['page']:36} "
            f"{figure['few'] * 1000:5.1f} ms {figure['many'] * 1000:5.1f} ms {ratio:5.2f} x"
            f"{'  OVER' if over else ''}"
        )
    worst = max(figure["many"] / figure["few"] for figure in figures)
    slowest = max(figure["many"] for figure in figures)
    print(f"worst: {worst:.2f} x, bound: {BOUND:g} x, {len(figures)} pages")
    print(f"slowest: {slowest * 1000:.0f} ms, goal: {GOAL * 1000:.0f} ms")
    return good


def main() -> None:
    """Measure each database in a separate process, because Django is set up only once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("databases", nargs="*", help="postgresql, sqlite (both)")
    parser.add_argument("--runs", type=int, default=7, help="times that a page is fetched")
    parser.add_argument("--rows", type=int, help="rows of each log, in the place of the usual")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        rows = options.rows or MANY[options.child]
        try:
            print(json.dumps(list(measure(options.child, rows, options.runs))))
        except NoPostgreSQL as error:
            raise SystemExit(f"PostgreSQL cannot be measured: {error}") from error
        return
    figures: list[dict[str, Any]] = []
    for vendor in options.databases or list(MANY):
        if vendor not in MANY:
            parser.error(f"Unknown database {vendor}. Choose from {', '.join(MANY)}.")
        command = [sys.executable, "-m", "bench.admin_scale", "--child", vendor]
        command += ["--runs", str(options.runs)]
        command += ["--rows", str(options.rows)] if options.rows else []
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
