"""Filter by day: links for common periods, two fields for any other."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..times import today
from .paging import OF_A_PAGE

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

FROM, UNTIL = "from", "until"


class PeriodFilter(admin.ListFilter):
    """Filter rows between two days, inclusive, in the site's time zone."""

    title = gettext_lazy("when")
    #: Other admins, such as unfold, identify filters by this.
    parameter_name = FROM
    template = "admin/djhookbox/period_filter.html"

    def __init__(
        self,
        request: HttpRequest,
        params: dict[str, Any],
        model: Any,
        model_admin: ModelAdmin[Model],
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in (FROM, UNTIL):
            values = params.pop(name, [""])
            if values[-1]:
                self.used_parameters[name] = values[-1]
        self.first = str(self.used_parameters.get(FROM, ""))
        self.last = str(self.used_parameters.get(UNTIL, ""))
        #: The list's other parameters, which the form keeps.
        self.others: list[tuple[str, str]] = []

    def has_output(self) -> bool:
        """Return True: the filter is always shown."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Return the parameters that are not columns."""
        return [FROM, UNTIL]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, object]]:
        """Yield the common periods."""
        known = (FROM, UNTIL, "q", *OF_A_PAGE)
        self.others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            if name not in known
            for value in values
        ]
        if changelist.query:
            self.others.append(("q", changelist.query))
        chosen: tuple[str, str] | None = (self.first, self.last)
        for display, first, last in common(today()):
            selected = chosen == (first, last)
            if selected:
                chosen = None  # on the first day of a week, it is also today
            wanted = {name: day for name, day in ((FROM, first), (UNTIL, last)) if day}
            yield {
                "selected": selected,
                "query_string": changelist.get_query_string(
                    wanted, [name for name in (FROM, UNTIL, *OF_A_PAGE) if name not in wanted]
                ),
                "display": display,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Apply the period.

        Raises:
            IncorrectLookupParameters: A value is not a day.

        """
        if self.first:
            queryset = queryset.filter(created__gte=midnight(self.first))
        if self.last:
            queryset = queryset.filter(created__lt=midnight(self.last, days=1))
        return queryset


def common(now: datetime.date) -> Iterator[tuple[str, str, str]]:
    """Yield the common periods: what they are called, their first day and their last, or ""."""

    def ago(days: int) -> str:
        return str(now - datetime.timedelta(days=days))

    yield _("Any date"), "", ""
    yield _("Today"), ago(0), ""
    yield _("Yesterday"), ago(1), ago(1)
    # Python counts from Monday, formats from Sunday.
    begins = int(formats.get_format("FIRST_DAY_OF_WEEK"))
    since = (now.weekday() + 1 - begins) % 7
    yield _("This week"), ago(since), ""
    yield _("Last week"), ago(since + 7), ago(since + 1)
    yield _("Past 7 days"), ago(7), ""
    yield _("Past 30 days"), ago(30), ""


def midnight(text: str, days: int = 0) -> datetime.datetime:
    """Return when a day begins in the site's time zone.

    Args:
        text: The day, in ISO format.
        days: How many days later is meant.

    Raises:
        IncorrectLookupParameters: The text is not a day.

    """
    try:
        day = datetime.date.fromisoformat(text) + datetime.timedelta(days=days)
        start = datetime.datetime.combine(day, datetime.time())
        return timezone.make_aware(start) if settings.USE_TZ else start
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(ValidationError(str(error))) from error
