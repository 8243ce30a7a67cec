"""The charts of what the processes have counted."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.admin.charts import axes, drawing, figures
from djhookbox.measurements import reading
from djhookbox.measurements.reading import PERIODS, durations, percentile, read
from djhookbox.measurements.recording import KEPT
from djhookbox.models import Measurement

from .stand_in import APP, Hookbox

PAGE = f"{APP}server/charts/"
NOON = datetime.datetime(2026, 3, 4, 12, 0, 30, tzinfo=datetime.timezone.utc)


def measurement(ago: float, *, step: int = 60, node: str = "a:1", **values: Any) -> Measurement:
    """Create a row that begins this many minutes before noon."""
    begin = NOON.replace(second=0) - datetime.timedelta(minutes=ago)
    values = {"covered": step, **values}
    return Measurement.objects.create(node=node, step=step, begin=begin, **values)


# ---- what is drawn -----------------------------------------------------------------------------


@pytest.mark.django_db
def test_processes_are_added_up_and_their_highest_numbers_count() -> None:
    measurement(1, connections=3, messages_out=120, closed={"1000": 1})
    measurement(1, node="b:1", connections=4, messages_out=30, covered=30, closed={"1000": 2})
    measurement(3, connections=9)
    measurement(61, connections=1000)
    history = read(PERIODS["hour"], NOON)
    assert len(history.points) == 60
    assert history.time(59) == NOON.replace(second=0)
    point, gap, earlier = history.points[58], history.points[57], history.points[56]
    assert point is not None
    assert (point.connections, point.messages_out, point.closed) == (7, 3.0, {"1000": 3})
    assert gap is None
    assert earlier is not None
    assert earlier.connections == 9
    assert sum(each is not None for each in history.points) == 2


@pytest.mark.django_db
def test_a_month_takes_several_rows_for_a_point() -> None:
    for ago, connections in ((0, 2), (60, 5), (120, 4)):  # hours
        measurement(ago, step=3600, connections=connections, messages_in=3600)
    history = read(PERIODS["month"], NOON + datetime.timedelta(hours=3))
    found = [point for point in history.points if point is not None]
    assert [(point.connections, point.messages_in) for point in found] == [(5, 1.0), (2, 1.0)]


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_rows_are_kept_for_as_long_as_they_are_drawn(period: Any) -> None:
    assert KEPT[period.step].total_seconds() >= period.seconds + period.point
    assert period.point % period.step == 0
    assert period.seconds % period.point == 0


@pytest.mark.parametrize(
    ("counts", "fraction", "seconds"),
    [
        ([0] * 12, 0.5, None),
        ([10] + [0] * 11, 0.5, 0.0025),
        ([0, 10] + [0] * 10, 1.0, 0.01),
        ([50, 0, 0, 50] + [0] * 8, 0.95, 0.0475),
        ([0] * 11 + [1], 0.5, 10.0),
    ],
)
def test_percentiles_are_those_of_prometheus(
    counts: list[int], fraction: float, seconds: float | None
) -> None:
    assert percentile(counts, fraction) == (seconds and pytest.approx(seconds))


def test_what_failed_counts_as_an_error() -> None:
    one = [1] + [0] * 11
    found = durations([{"answered": one, "failed": one}, {"rejected": one, "refused": one}])
    assert (found.count, found.errors) == (4, 2)


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (309, 500), (501, 1000), (10, 10), (0.1 + 0.2, 0.5)],
)
def test_axes_end_with_round_figures(value: float, top: float) -> None:
    assert axes.ceiling(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("zone", "texts"),
    [
        ("UTC", ["16:00", "20:00", "00:00", "04:00", "08:00"]),
        ("Asia/Kathmandu", ["20:00", "00:00", "04:00", "08:00", "12:00", "16:00"]),
    ],
)
@pytest.mark.django_db
def test_times_are_those_of_the_site(settings: Any, zone: str, texts: list[str]) -> None:
    settings.TIME_ZONE = zone
    marks = list(axes.ticks(read(PERIODS["day"], NOON)))
    assert [mark.text for mark in marks] == texts
    assert all(0 < mark.place < 100 for mark in marks)


def test_a_line_is_interrupted_where_nothing_was_measured() -> None:
    assert (
        drawing.path([1, None, 0, 2, None], 2) == "M0 500L0.5 500L1 500M2 1000L2.5 1000L3.5 0L4 0"
    )
    assert drawing.path([None], 2) == ""


@pytest.mark.django_db
def test_the_sixth_close_code_and_all_others_are_one_line() -> None:
    measurement(1, closed={str(4000 + index): 10 - index for index in range(8)})
    chart = figures.charts(read(PERIODS["hour"], NOON))[-1]
    assert len(chart.lines) == drawing.MOST_LINES
    assert chart.lines[-1].name == "Others"
    assert chart.lines[-1].values[58] == 6 + 5 + 4 + 3


# ---- the page ----------------------------------------------------------------------------------


@pytest.fixture
def measured(populated: dict[str, Any]) -> None:
    """There are rows for a month."""


@pytest.mark.parametrize("period", [*PERIODS, "", "<b>"])
def test_all_periods_are_shown_with_one_query(viewer: Client, measured: None, period: str) -> None:
    viewer.get(PAGE)  # the session and the content types
    with CaptureQueriesContext(connection) as queries:
        page = viewer.get(PAGE, {"period": period}).content.decode()
    assert sum("measurement" in query["sql"] for query in queries) == 1
    assert page.count('class="hookbox-plot"') == 7
    assert 'role="img" aria-label="Connections and users. Connections: now ' in page
    assert page.count('<strong aria-current="page">') == 1
    assert "style=" not in page.partition("<main")[2]


def test_each_chart_has_a_table(viewer: Client, measured: None) -> None:
    links = set(re.findall(r"\?period=hour&amp;table=(\w+)#", viewer.get(PAGE).content.decode()))
    assert len(links) == 7
    for key in links:
        page = viewer.get(PAGE, {"table": key}).content.decode()
        (table,) = re.findall(r"hookbox-figures.*?</table>", page, re.DOTALL)
        assert 50 <= table.count("<tr>") <= 61


def test_one_webhook_can_be_drawn(viewer: Client, measured: None) -> None:
    response = viewer.get(PAGE, {"webhook": "subscribe", "table": "durations"})
    page = response.content.decode()
    assert "Duration of webhooks: subscribe" in page
    assert "webhook=subscribe" in page
    assert "Duration of webhooks: all" in viewer.get(PAGE, {"webhook": "x"}).content.decode()
    (row,) = [row for row, _url in response.context["webhooks"] if row.name == "subscribe"]
    assert row.errors
    assert "▲" in page


def test_the_server_page_shows_the_last_hour(
    viewer: Client, hookbox: Hookbox, measured: None
) -> None:
    for running in (True, False):
        hookbox.running = running
        page = viewer.get(f"{APP}server/").content.decode()
        assert page.count('class="hookbox-plot"') == 2
        assert PAGE in page
    Measurement.objects.all().delete()
    assert "hookbox-plot" not in viewer.get(f"{APP}server/").content.decode()


def test_nothing_measured_is_said(viewer: Client) -> None:
    assert "Nothing has been measured in this period." in viewer.get(PAGE).content.decode()
    Measurement.objects.create(node="a:1", step=60, covered=60, begin=timezone.now())
    page = viewer.get(PAGE).content.decode()
    for text in ("There were no webhooks.", "Nothing was refused.", "No connection ended."):
        assert text in page


def test_a_database_without_the_table_is_no_error_page(
    viewer: Client, hookbox: Hookbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr(reading, "read", fail)
    assert "no such table" in viewer.get(PAGE).content.decode()
    assert viewer.get(f"{APP}server/").status_code == 200


def test_others_may_not(staff: Client, stranger: Client) -> None:
    assert staff.get(PAGE).status_code == 403
    assert stranger.get(PAGE).status_code == 302
