"""Queries of the webhook `outbox` use indexes, however much history there is."""

from __future__ import annotations

import datetime
import os
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from djhookbox.models import Outbox, StreamChannel, StreamEntry

#: Rows of history; `HOOKBOX_TEST_ROWS=1000000` for all of it.
ROWS = int(os.environ.get("HOOKBOX_TEST_ROWS", "20000"))
CHANNELS = 50

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def history(db: None) -> StreamChannel:
    now = timezone.now()
    channels = [
        StreamChannel(
            name=f"/c/{number}/", digest=f"{number:064x}", epoch="e", offset=ROWS // CHANNELS,
            published=now,
        )
        for number in range(CHANNELS)
    ]  # fmt: skip
    StreamChannel.objects.bulk_create(channels)
    channels = list(StreamChannel.objects.order_by("pk"))
    for start in range(0, ROWS, 5000):
        StreamEntry.objects.bulk_create(
            StreamEntry(
                number=number + 1,
                token="t",
                channel=channels[number % CHANNELS],
                epoch="e",
                offset=number // CHANNELS + 1,
                payload="{}",
                key=f"k{number}" if number % 2 else "",
                created=now,
                numbered=now - datetime.timedelta(seconds=ROWS - number),
            )
            for number in range(start, min(start + 5000, ROWS))
        )
    # A backlog that has failed, with a few rows that wait behind it.
    Outbox.objects.bulk_create(
        Outbox(channel="/c/7/", payload="{}", failed=number < 2000) for number in range(2010)
    )
    with connection.cursor() as cursor:
        tables = "djhookbox_streamentry, djhookbox_outbox, djhookbox_streamchannel"
        is_mysql = connection.vendor == "mysql"
        cursor.execute(f"ANALYZE TABLE {tables}" if is_mysql else "ANALYZE")
        if is_mysql:
            cursor.fetchall()
    return channels[7]


def _scans(rows: Any) -> str:
    """Return the plan of a query if it reads a whole table."""
    plan: str = rows.explain()
    if connection.vendor == "sqlite":
        bad = any("SCAN" in line and "INDEX" not in line for line in plan.splitlines())
    elif connection.vendor == "postgresql":
        bad = "Seq Scan on djhookbox_streamentry" in plan  # it sorts a few hundred rows
    else:
        bad = "\tALL\t" in plan or "'ALL'" in plan or "filesort" in plan
    return plan if bad else ""


def test_nothing_reads_the_whole_history(history: StreamChannel) -> None:
    entries = StreamEntry.objects
    queries = {
        "pending": Outbox.objects.waiting().order_by("pk")[:501],
        "after a number": entries.filter(number__gt=ROWS - 10).order_by("number")[:500],
        "a token": entries.filter(number=ROWS // 2),
        "a stream": entries.filter(channel=history, epoch="e", offset__lte=ROWS).order_by(
            "-offset"
        )[:500],
        "keys": entries.filter(channel=history, key__in=["k7", "k8"]),
        "a sweep": entries.filter(number__gt=100).order_by("number")[:2000],
        "a channel": StreamChannel.objects.filter(digest=history.digest),
    }
    assert {name: plan for name, rows in queries.items() if (plan := _scans(rows))} == {}
