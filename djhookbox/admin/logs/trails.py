"""Follow a connection, a user or a channel through the whole audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from ...querysets import has_text
from ..pages import PageMixin
from .entry import Entry
from .erasing import erase_url
from .leading import lead

#: Rows that a trail shows at most.
LIMIT = 100

#: The column of each kind of trail, by URL parameter.
COLUMNS = {"user": "user_name", "channel": "channel", "connection": "connection_id"}


class TrailMixin(PageMixin):
    """A page over all audit logs, added to each of them."""

    def get_urls(self) -> list[URLPattern]:
        """Put our page before the default ones, which would read it as a primary key."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_trail"
        return [
            path("trail/", self.admin_site.admin_view(self.trail_view), name=name),
            *super().get_urls(),
        ]

    def trail_view(self, request: HttpRequest) -> HttpResponse:
        """Show everything recorded about a connection, a user or a channel, newest first.

        Raises:
            PermissionDenied: The user may not see this log.

        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        kind = next((name for name in COLUMNS if request.GET.get(name)), "")
        if not kind:
            return HttpResponseRedirect(self.address("changelist"))
        value, column = request.GET[kind].replace("\0", ""), COLUMNS[kind]
        found: list[tuple[TrailMixin, Entry]] = []
        lists: list[tuple[str, str]] = []
        truncated = False
        for page in self._logs(request):
            if not any(field.name == column for field in page.opts.concrete_fields):
                continue
            found_here = page.get_queryset(request).filter(has_text(column, value))
            rows = cast("list[Entry]", list(lead(page.for_list(found_here))[:LIMIT]))
            page.dress(request, rows)
            found += [(page, row) for row in rows]
            truncated |= len(rows) == LIMIT
            url = page.address("changelist", **{column: value})
            lists.append((url, str(page.opts.verbose_name_plural)))
        found.sort(key=lambda one: (one[1].created, one[1].pk), reverse=True)
        titles = {
            "user": _("Everything about the user %(value)s"),
            "channel": _("Everything about the channel %(value)s"),
            "connection": _("Everything about the connection %(value)s"),
        }
        return self.page(
            request,
            "trail.html",
            titles[kind] % {"value": value},
            happenings=[page.happening(row) for page, row in found[:LIMIT]],
            truncated=truncated or len(found) > LIMIT,
            limit=LIMIT,
            lists=lists,
            erase_url=erase_url(self, request, value) if kind == "user" else "",
        )

    def _logs(self, request: HttpRequest) -> list[TrailMixin]:
        """Return the logs on this admin site that the user may see."""
        pages = self.admin_site._registry.values()
        return [
            page
            for page in pages
            if isinstance(page, TrailMixin) and page.has_view_permission(request)
        ]

    def for_list(self, rows: QuerySet[Model]) -> QuerySet[Model]:
        """Do not load columns that the list does not show."""
        return rows

    def dress(self, request: HttpRequest, rows: Sequence[Entry]) -> None:
        """Attach what the request's user may see to the rows."""

    def happening(self, entry: Entry) -> dict[str, object]:
        """Return a row as the cells of a list of several logs."""
        raise NotImplementedError
