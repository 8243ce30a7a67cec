"""The rows with what the processes have counted."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.utils import timezone

from djhookbox.measurements.recording import HOUR, KEPT, MINUTE, TEN_MINUTES, prune
from djhookbox.models import Measurement
from djhookbox.wire.events import WEBHOOK_BOUNDS, Measured, write

from .runs import Run

pytestmark = pytest.mark.django_db


class Process(Run):
    """A process that reports its minutes, as the site sees it."""

    def report(self, *minutes: Measured) -> None:
        texts = []
        for minute in minutes:
            self.number += 1
            texts.append(write(minute, self.number, minute.begin + 60))
        self.post("events", events=f"[{','.join(texts)}]", node=self.address)


def hour() -> float:
    """Return the Unix time at which the last complete hour began."""
    now = timezone.now().timestamp()
    return now - now % HOUR - HOUR


def row(step: int, begin: float, node: str = "host:8001") -> Measurement:
    when = datetime.datetime.fromtimestamp(begin, datetime.timezone.utc)
    return Measurement.objects.get(step=step, begin=when, node=node)


def bucket(place: int, count: int = 1) -> tuple[int, ...]:
    counts = [0] * (len(WEBHOOK_BOUNDS) + 1)
    counts[place] = count
    return tuple(counts)


def test_each_minute_is_added_to_its_ten_minutes_and_its_hour() -> None:
    begin = hour()
    process = Process()
    process.report(
        Measured(begin, 60.0, connections=3, users=2, messages_out=10, closed={"1000": 1},
                 webhooks={"connect": {"answered": bucket(0)}}),
        Measured(begin + 60, 60.0, connections=5, messages_out=5, closed={"1000": 2, "1001": 1},
                 webhooks={"connect": {"answered": bucket(0, 2), "failed": bucket(11)}}),
    )  # fmt: skip
    process.report(Measured(begin + TEN_MINUTES, 60.0, connections=1, messages_out=1))
    assert row(MINUTE, begin + 60).connections == 5
    ten, whole = row(TEN_MINUTES, begin), row(HOUR, begin)
    assert (ten.connections, ten.users, ten.messages_out, ten.covered) == (5, 2, 15, 120.0)
    assert (whole.connections, whole.messages_out, whole.covered) == (5, 16, 180.0)
    assert whole.closed == {"1000": 3, "1001": 1}
    assert whole.webhooks == {
        "connect": {"answered": list(bucket(0, 3)), "failed": list(bucket(11))}
    }


def test_a_restart_continues_the_row_of_its_address_and_nothing_counts_twice() -> None:
    begin = hour()
    first, second, other = Process(), Process(), Process("other:8001")
    minute = Measured(begin, 20.0, connections=7, messages_in=4)
    first.report(minute)
    first.number -= 1
    first.report(minute)  # the answer to the first report was lost
    second.report(Measured(begin, 30.0, connections=2, messages_in=1))
    other.report(Measured(begin, 60.0, connections=1))
    found = row(MINUTE, begin)
    assert (found.connections, found.messages_in, found.covered) == (7, 5, 50.0)
    assert row(MINUTE, begin, "other:8001").connections == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"begin": 1e300},
        {"begin": 0.0, "messages_in": 2**70},
        {"closed": {str(code): 1 for code in range(1000)}},
        {"webhooks": {"connect": {"answered": (1, 2)}}},
        {"connections": 2**40, "messages_out": -5},
    ],
)
def test_a_strange_report_does_no_harm(bad: dict[str, Any]) -> None:
    begin = hour()
    process = Process()
    values = {"begin": begin, "seconds": 60.0, **bad}
    process.report(Measured(**values), Measured(begin, 60.0, messages_in=1))
    found = row(HOUR, begin)
    assert found.messages_in == 1
    assert len(found.closed) <= 100
    assert found.messages_out == 0


def test_old_rows_are_deleted_when_an_hour_begins() -> None:
    now = timezone.now()
    for step, kept in KEPT.items():
        for age in (kept * 0.9, kept * 1.1):
            Measurement.objects.create(node="host:8001", step=step, begin=now - age)
    Process().report(Measured(hour(), 60.0))
    old = [row for row in Measurement.objects.all() if row.begin < now - KEPT[row.step]]
    assert old == []
    count = Measurement.objects.count()
    assert count == 3 + 3
    prune()
    assert Measurement.objects.count() == count


def test_a_minute_reported_late_is_kept_where_it_belongs() -> None:
    begin = hour() - KEPT[MINUTE].total_seconds()
    Process().report(Measured(begin, 60.0, messages_in=9))
    assert not Measurement.objects.filter(step=MINUTE).exists()
    assert row(HOUR, begin).messages_in == 9
