"""The page with all charts, and the charts of the server page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..server.base import ServerBase
from ..times import local

if TYPE_CHECKING:
    from .drawing import Chart, Row

#: The periods in words.
NAMES: dict[str, str | Promise] = {
    "hour": gettext_lazy("Last hour"),
    "day": gettext_lazy("Last 24 hours"),
    "week": gettext_lazy("Last 7 days"),
    "month": gettext_lazy("Last 30 days"),
}

#: The period of the server page.
FIRST = "hour"


@dataclass(frozen=True, slots=True)
class Shown:
    """A chart on the page, and the table behind it if it was asked for."""

    chart: Chart
    table_url: str
    rows: tuple[Row, ...] | None


class ChartPages(ServerBase):
    """The charts."""

    def charts_view(self, request: HttpRequest) -> HttpResponse:
        """Show all charts of a period.

        Raises:
            PermissionDenied: The user may not see the process.

        """
        from ...measurements.reading import PERIODS, read
        from .figures import charts, ended, refused, webhooks

        self.require(self.has_view_permission(request))
        key = request.GET.get("period", "")
        key = key if key in PERIODS else FIRST
        context: dict[str, object] = {}
        try:
            history = read(PERIODS[key])
        except DatabaseError as error:
            context["problem"] = _("The database could not be read: %(problem)s") % {
                "problem": error
            }
        else:
            calls = list(webhooks(history))
            webhook = request.GET.get("webhook", "")
            webhook = webhook if webhook in [row.name for row in calls] else ""
            query = {"period": key, **({"webhook": webhook} if webhook else {})}
            table = request.GET.get("table", "")

            def when(index: int) -> str:
                moment = local(history.time(index))
                day = formats.date_format(moment, "SHORT_DATE_FORMAT")
                return f"{day} {moment:%H:%M}"

            context = {
                "shown": [
                    Shown(
                        chart,
                        self.address("charts", **query, table=chart.key) + f"#{chart.key}",
                        tuple(chart.rows(when)) if chart.key == table else None,
                    )
                    for chart in charts(history, webhook)
                ],
                "webhooks": [
                    (row, self.address("charts", period=key, webhook=row.name) + "#webhooks")
                    for row in calls
                ],
                "all_webhooks_url": self.address("charts", period=key) if webhook else "",
                "closed": ended(history),
                "refused": refused(history),
                "plain_url": self.address("charts", **query),
                "is_empty": all(point is None for point in history.points),
            }
        periods = [
            (str(name), "" if each == key else self.address("charts", period=each))
            for each, name in NAMES.items()
        ]
        return self.page(request, "charts.html", _("Charts"), periods=periods, **context)

    def overview_charts(self) -> tuple[Chart, ...]:
        """Return the charts for the server page; none if the database cannot be read."""
        from ...measurements.reading import PERIODS, read
        from .figures import overview

        try:
            found = overview(read(PERIODS[FIRST]))
        except DatabaseError:  # the page is for days like this
            return ()
        return () if all(chart.is_empty for chart in found) else found
