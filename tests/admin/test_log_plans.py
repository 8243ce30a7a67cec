"""The plans of the queries of each log page, on SQLite and PostgreSQL.

No query may read the whole table, sort what it has found, or discard more rows than it returns.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bench.admin_pages import PAGES
from bench.admin_rows import fill
from bench.admin_scale import middle
from djhookbox.admin.logs import leading
from djhookbox.models import ConnectionLog

from .stand_in import APP

ROWS = 20_000
LOGS = [log for log in PAGES if log != "channelpolicy"]

#: Rows that a query may discard: less than a page has. Of two filters, the rarer one leads.
DISCARDED = 50

#: Rows that may be sorted: of a small table, these are read faster without an order.
SORTED = ROWS // 40

#: Pages with two conditions that have no common index.
SEARCHED = ("file",)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        connection.vendor not in ("sqlite", "postgresql"), reason="reads plans of these two"
    ),
]


@pytest.fixture
def filled(db: None) -> None:
    fill("default", ROWS, vacuum=False)


def queries(root: Client, log: str) -> Iterator[tuple[str, str]]:
    """Yield the queries of each page about the logs."""
    old = timezone.localdate() - datetime.timedelta(days=5)
    newest = ConnectionLog.objects.order_by("pk").first()
    assert newest is not None
    key = newest.pk + ROWS // 2
    words = {"yesterday": timezone.localdate() - datetime.timedelta(days=1), "old": old}
    for page, query in PAGES[log].items():
        values = {**words, "middle": middle(log, key)} if "{middle}" in query else words
        with CaptureQueriesContext(connection) as captured:
            response = root.get(f"{APP}{log}/{query.format(**values)}")
            if response.streaming:
                parts = iter(response)
                next(parts)
                next(parts)
        for found in captured.captured_queries:
            if any(f'FROM "djhookbox_{name}"' in found["sql"] for name in LOGS):
                yield page, found["sql"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="for SQLite")
@pytest.mark.parametrize("log", LOGS)
def test_plans_of_sqlite(root: Client, filled: None, log: str) -> None:
    seen = 0
    for page, sql in queries(root, log):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = "\n".join(row[-1] for row in cursor.fetchall())
        seen += 1
        if "begin" in page:  # a range of channels, whose rows are sorted
            continue
        assert "TEMP B-TREE" not in plan, (page, sql, plan)
        plan = plan.replace("SCAN subquery", "")  # of counts that are limited
        whole = "WHERE" not in sql and "USING INDEX" in plan  # the newest rows of all
        assert whole or "SCAN" not in plan, (page, sql, plan)
    assert seen > len(PAGES[log])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="for PostgreSQL")
@pytest.mark.parametrize("log", LOGS)
def test_plans_of_postgresql(root: Client, filled: None, log: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    seen = 0
    for page, sql in queries(root, log):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
            (plan,) = cursor.fetchone()[0]
        seen += 1
        if "begin" in page:  # a range of channels: how many rows it has decides about the plan
            continue
        for node in nodes(plan["Plan"]):
            discarded = node.get("Rows Removed by Filter", 0)
            read = node["Actual Rows"] * node["Actual Loops"]
            # More than there are here: reading and sorting all of them is no more work.
            limits = ("LIMIT 3001", "LIMIT 2000", f"OFFSET {leading.SEARCHED}")
            most = any(part in sql for part in limits)
            limited = most or any(word in page for word in SEARCHED)  # by `leading.SEARCHED`
            least = max(DISCARDED, read, ROWS // 100 if "of a user" in page else 0)
            least = max(least, ROWS if most else leading.SEARCHED if limited else 0)
            assert discarded <= least, (page, sql, json.dumps(plan, indent=1))
            if not most and not any(
                word in page for word in ("CSV", "file", "of a user", "of a frequent user")
            ):
                few = sum(child["Actual Rows"] for child in node.get("Plans", [])) <= SORTED
                assert few or "Sort" not in node["Node Type"], (page, sql)
    assert seen > len(PAGES[log])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="for PostgreSQL")
@pytest.mark.parametrize("query", ["user_name=busy", "event__in=refused,disconnect"])
def test_scans_of_postgresql_end_where_the_period_ends(root: Client, db: None, query: str) -> None:
    now = timezone.now()
    long_ago = now - datetime.timedelta(days=10)
    busy = [now, *(long_ago - datetime.timedelta(seconds=number) for number in range(10_000))]
    rows = [ConnectionLog(created=one, user_name="busy", event="refused") for one in busy]
    # Without these, the index of all rows would be as good.
    rows += [ConnectionLog(created=now, user_name="other", event="connect")] * 3_000
    ConnectionLog.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as captured:
        root.get(f"{APP}connectionlog/?{query}&from={timezone.localdate()}")
    found = [query["sql"] for query in captured if '"created" >=' in query["sql"]]
    for sql in found:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
            ((plan,),) = cursor.fetchone()
        # To the end of the index it would be about a hundred.
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 30, sql
    assert found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
