"""The page of all refusals: how many for which reason, the rows, and one file with all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...conf import settings
from ...exceptions import HookboxMisconfigured
from ..logs.base import SEARCH_HELP, LogAdmin
from ..logs.cells import divisible
from ..logs.exports import Batch, Column, ExportMixin
from ..logs.leading import Counts
from ..logs.paging import NEWER, OLDER
from ..logs.periods import FROM, UNTIL, common, midnight
from ..pages import TablelessMixin, grouped, route
from ..times import today
from . import reading
from .reading import KINDS, Group, Kind, Source, Why

#: Rows of a page, and reasons that are listed.
ROWS, REASONS = 50, 20

#: The columns of an export after the time; a log that lacks one leaves it empty.
COLUMNS = (
    "user_name", "channel", "connection_id", "decided_by", "reason", "transport", "ip", "origin",
    "user_agent", "source", "note",
)  # fmt: skip

#: The parameters of the filter by reason.
BY, REASON = "by", "reason"


class RefusalsAdmin(TablelessMixin, ExportMixin):
    """The refusals in those logs that the user may see."""

    empty_state = gettext_lazy("Nothing has been refused.")

    def get_urls(self) -> list[URLPattern]:
        """Return the routes of the page and of its exports."""
        return [
            route(self, "", self.changelist_view, "changelist"),
            route(self, "export/", self.export_view, "export"),
            route(self, "export/lines/", self.export_lines_view, "export_lines"),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the page to users who may see one of the logs, even if this site lacks them."""
        return any(
            request.user.has_perm(f"djhookbox.{action}_{kind.model._meta.model_name}")
            for kind in KINDS.values()
            for action in ("view", "change")
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the refusals.

        Raises:
            PermissionDenied: The user may see none of the logs.

        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        given = request.GET
        try:
            why = _why(request)
            sources = self._sources(request)
            counts: Counts = {}
            older, newer = given.get(OLDER, ""), given.get(NEWER, "")
            shown = reading.page(sources, why, ROWS, counts, older=older, newer=newer)
        except IncorrectLookupParameters as error:
            self.message_user(request, " ".join(error.args[0].messages), "ERROR")
            return HttpResponseRedirect(self.address("changelist"))
        found, cut = reading.groups(sources, counts)
        pages = self._pages(request)
        for kind, page in pages.items():
            page.dress(request, [row for of, row in shown.rows if of.name == kind])
            page.dress(request, [group.newest for group in found if group.kind.name == kind])
        exports = {}
        if self.has_export_permission(request):
            query = self._query(request)
            exports = {
                "export_url": self.address("export") + query,
                "export_lines_url": self.address("export_lines") + query,
            }
        return self.page(
            request,
            "refusals.html",
            _("Refusals"),
            search_help=SEARCH_HELP,
            text=given.get("q", ""),
            first=given.get(FROM, ""),
            last=given.get(UNTIL, ""),
            kinds=[(kind, kind in _kinds(request), KINDS[kind].label) for kind in pages],
            periods=list(self._periods(request)),
            reasons=[self._reason(request, pages, group) for group in found[:REASONS]],
            footnote=self._footnote(request, found, cut=cut),
            chosen=self._chosen(request, why),
            happenings=[self._row(pages, kind, row) for kind, row in shown.rows],
            links=list(self._links(request, shown)),
            stopped=shown.stopped,
            is_filtered=bool(given),
            clear_url=self.address("changelist"),
            empty_state=self.empty_state,
            **exports,
            **(extra_context or {}),
        )

    # ---- exports -----------------------------------------------------------------------------

    def exported(
        self, request: HttpRequest, limit: int
    ) -> tuple[Sequence[Column], Iterator[Batch]]:
        """Return the columns and the filtered refusals, newest first.

        Raises:
            IncorrectLookupParameters: A filter cannot be applied.

        """
        pages = self._pages(request)
        names = {}
        for kind, page in pages.items():
            there = {field.name for field in page.opts.concrete_fields}
            names[KINDS[kind].model] = [
                name for name in COLUMNS if name in there and page.may_see_column(request, name)
            ]
        batches = reading.export(self._sources(request), _why(request), names, limit)
        # The values of COLUMNS in a row; those that a log lacks are at its end.
        values = {
            model: itemgetter(*(there.index(name) + 3 if name in there else -1 for name in COLUMNS))
            for model, there in names.items()
        }

        def filled() -> Iterator[Batch]:
            for batch in batches:
                yield [
                    (row[1], row[0].name, row[2], *values[row[0].model]((*row, None)))
                    for row in batch
                ]

        columns = [Column(name) for name in ("created", "refused", "id", *COLUMNS)]
        return columns, filled()

    # ---- filters -----------------------------------------------------------------------------

    def _pages(self, request: HttpRequest) -> dict[str, LogAdmin]:
        """Return the page of the log of each kind of refusals that the user may see."""
        found = {}
        for name, kind in KINDS.items():
            page = self.admin_site._registry.get(kind.model)
            if isinstance(page, LogAdmin) and page.has_view_permission(request):
                found[name] = page
        return found

    def _sources(self, request: HttpRequest) -> list[Source]:
        given = request.GET
        text = given.get("q", "").replace("\0", "")
        period = {}
        if given.get(FROM):
            period["created__gte"] = midnight(given[FROM])
        if given.get(UNTIL):
            period["created__lt"] = midnight(given[UNTIL], days=1)
        found = []
        for name, page in self._pages(request).items():
            if name not in _kinds(request):
                continue
            kind = KINDS[name]
            rows = page.for_list(page.get_queryset(request)).order_by(*page.ordering)
            rows = rows.filter(**{kind.column: kind.value}, **period)
            found.append(Source(kind, page.get_search_results(request, rows, text)[0]))
        return found

    def _query(self, request: HttpRequest, without: Sequence[str] = (), **more: str) -> str:
        """Return the query string of the filters, without the page."""
        given = request.GET.copy()
        for name in (OLDER, NEWER, *without, *more):
            given.pop(name, None)
        for name, value in more.items():
            given[name] = value
        return f"?{given.urlencode()}" if given else ""

    def _periods(self, request: HttpRequest) -> Iterator[tuple[str, str]]:
        """Yield the common periods; the URL of the chosen one is empty."""
        chosen: tuple[str, str] | None = (request.GET.get(FROM, ""), request.GET.get(UNTIL, ""))
        for name, first, last in common(today()):
            if chosen == (first, last):
                chosen = None  # on the first day of a week, it is also today
                yield name, ""
                continue
            wanted = {key: day for key, day in ((FROM, first), (UNTIL, last)) if day}
            yield name, self._query(request, (FROM, UNTIL), **wanted) or self.address("changelist")

    # ---- parts -------------------------------------------------------------------------------

    def _reason(
        self, request: HttpRequest, pages: dict[str, LogAdmin], group: Group
    ) -> dict[str, object]:
        query = {"kind": group.kind.name, BY: group.decided_by, REASON: group.reason}
        text = ngettext("%(count)s time", "%(count)s times", group.count)
        return {
            "count": text % {"count": grouped(group.count)},
            "url": self._query(request, **query),
            "kind": group.kind.label,
            "decision": pages[group.kind.name].decision(group.newest),
        }

    def _row(self, pages: dict[str, LogAdmin], kind: Kind, row: Any) -> dict[str, object]:
        page = pages[kind.name]
        cells = page.happening(row)
        channel = cells["channel"]
        if not channel:
            channel = SafeString(f'<bdi class="quiet">{divisible(row.ip or "-")}</bdi>')
        return {**cells, "kind": kind.label, "channel": channel, "gist": page.decision(row)}

    def _chosen(self, request: HttpRequest, why: Why) -> dict[str, str] | None:
        """Return the reason that is filtered by, and the URL of the page without this filter."""
        parts = [part for part in (why.decided_by, why.reason) if part]
        if not why.conditions:
            return None
        return {
            "text": ": ".join(parts) or _("without a reason"),
            "url": self._query(request, (BY, REASON)) or self.address("changelist"),
        }

    def _links(self, request: HttpRequest, shown: reading.Page) -> Iterator[tuple[str, str, str]]:
        """Yield the links to other pages: URL, text, and CSS class."""
        if shown.newer is not None:
            newest = self._query(request) or self.address("changelist")
            yield newest, _("Newest entries"), "newest"
            yield self._query(request, newer=str(shown.newer)), _("Newer entries"), "newer"
        if shown.older is not None:
            text = _("Search older entries") if shown.stopped else _("Older entries")
            yield self._query(request, older=str(shown.older)), text, "older"

    def _footnote(self, request: HttpRequest, found: Sequence[Group], *, cut: bool) -> str:
        sentences = []
        if len(found) > REASONS:
            count = len(found) - REASONS
            text = ngettext("%(count)s further reason.", "%(count)s further reasons.", count)
            sentences.append(text % {"count": grouped(count)})
        if cut:
            text = _("Of each kind, the newest %(count)s refusals of the period are counted.")
            sentences.append(text % {"count": grouped(reading.COUNTED)})
        if found and self.has_export_permission(request):
            try:
                limit = settings.export_limit
            except HookboxMisconfigured as error:
                sentences.append(str(error))
            else:
                text = ngettext(
                    "An export holds at most %(count)s entry.",
                    "An export holds at most %(count)s entries.",
                    limit,
                )
                sentences.append(text % {"count": grouped(limit)})
        return " ".join(sentences)


def _kinds(request: HttpRequest) -> list[str]:
    """Return the wanted kinds, which are all if none is named."""
    wanted = [name for name in request.GET.getlist("kind") if name in KINDS]
    return wanted or list(KINDS)


def _why(request: HttpRequest) -> Why:
    given = request.GET
    named = {name: given[name].replace("\0", "") for name in (BY, REASON) if name in given}
    return Why(named.get(BY), named.get(REASON))
