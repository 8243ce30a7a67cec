"""What all audit log pages share: read-only rows, an editable note, links to related rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch
from django.utils import formats
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...conf import settings
from ...exceptions import HookboxMisconfigured
from ...models import Ban, ChannelPolicy, Pruning
from ...policy.rules import Operation
from ..pages import checkbox, grouped
from ..times import local
from .cells import Cells, divisible
from .entry import Entry
from .exports import ExportMixin
from .paging import LogChangeList, PagePaginator
from .trails import TrailMixin

#: The tone of each event.
TONES = {"connect": "good", "subscribe": "good", "refused": "bad", "create_refused": "bad"}

#: The search help for logs that have channels.
SEARCH_HELP = gettext_lazy(
    "The exact name of a channel or a user, the exact id of a connection, or the "
    "beginning of a channel name followed by an asterisk: /rooms/*"
)


_ONLY = gettext_lazy("Only %(value)s")
_EVERYTHING = gettext_lazy("Everything about %(value)s")
_CONNECTION = gettext_lazy("Everything about the connection %(value)s")
_AGAIN = gettext_lazy("Check this again")


class LogAdmin(TrailMixin, ExportMixin):
    """Base class of the audit log pages; `paging.py` explains how their lists work."""

    ordering = ("-created", "-id")
    sortable_by = ()
    paginator = PagePaginator
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_display_links = ("when",)
    # "All 10,000" is a selection that nobody has looked at, and too many to delete in a request.
    actions_selection_counter = False
    #: Columns that the list does not load.
    deferred: tuple[str, ...] = ()
    #: The text shown if the site does not write this log.
    switched_off: object = ""
    #: The field of `Pruning` that counts this log's rows.
    pruned_as = ""

    @property
    def is_written(self) -> bool:
        """Whether the site writes this log."""
        return True

    # ---- the list ----------------------------------------------------------------------------

    def for_list(self, rows: QuerySet[Model]) -> QuerySet[Model]:
        """Do not load columns that the list does not show."""
        return rows.defer(*self.deferred)

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[LogChangeList]:
        """Use the list that links to older rows."""
        return LogChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        """Find exact values, and channels by prefix, using an index for each."""
        rows: Any = queryset
        fields = [name.removesuffix("__exact") for name in self.search_fields]
        if not search_term:
            return rows, False
        if search_term.endswith("*") and "channel" in fields:
            return rows.channel_begins(search_term.strip()[:-1]), False
        found = rows.naming(search_term, fields)
        term = search_term.strip()
        # Names of anonymous visitors start with a space; spaces around other terms may be pasted.
        if term and term != search_term and found.query.is_empty():
            found = rows.naming(term, fields)
        return found, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show how long entries are kept, or why there are none."""
        try:
            written, footnote = self.is_written, self.retention()
            if self.has_export_permission(request):
                footnote += " " + ngettext(
                    "An export holds at most %(count)s entry.",
                    "An export holds at most %(count)s entries.",
                    settings.export_limit,
                ) % {"count": grouped(settings.export_limit)}
        except HookboxMisconfigured as error:
            written, footnote = True, str(error)
        added: dict[str, object] = {"footnote": footnote}
        if not written:
            added |= {"notice": self.switched_off, "empty_state": self.switched_off}
        if self.has_export_permission(request):
            added["export_url"] = self.address("export")
            added["export_lines_url"] = self.address("export_lines")
        view = super().changelist_view
        return self.saved(request, lambda: view(request, {**added, **(extra_context or {})}))

    def retention(self) -> str:
        """Return how long entries are kept, and when the last ones were deleted."""
        days = settings.log_days
        if not days:
            return _("Entries are kept forever (HOOKBOX_LOG_DAYS).")
        kept = ngettext(
            "Entries are kept for %(days)d day.", "Entries are kept for %(days)d days.", days
        ) % {"days": days}
        note = Pruning.last()
        if note is None and settings.executable:
            # Only the bundled server triggers pruning.
            return f"{kept} " + _(
                "None have been deleted yet: run “manage.py hookbox_prune” daily."
            )
        if note is None:
            return f"{kept} " + _(
                "None have been deleted yet: the Hookbox process triggers this daily, and "
                "“manage.py hookbox_prune” does it immediately."
            )
        ended = local(note.ended)
        count = getattr(note, self.pruned_as, 0)
        deleted = ngettext(
            "Last deletion: %(when)s, %(count)s entry.",
            "Last deletion: %(when)s, %(count)s entries.",
            count,
        ) % {
            "when": formats.date_format(ended, "SHORT_DATETIME_FORMAT"),
            "count": grouped(count),
        }
        return f"{kept} {deleted}" + (
            "" if note.complete else " " + _("More entries remain to be deleted.")
        )

    def response_action(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Apply the action to the selected rows, never to everything that matches the filters."""
        ticked = request.POST.copy()
        ticked.pop("select_across", None)
        request.POST = ticked  # type: ignore[assignment]
        return super().response_action(request, *args, **kwargs)

    # ---- the row -----------------------------------------------------------------------------

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        """Make everything read-only except the note."""
        fieldsets = self.get_fieldsets(request, obj)
        names: list[Any] = [name for _title, of in fieldsets for name in of["fields"]]
        return tuple(name for name in names if name != "note")

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Attach what the request's user may see to the row."""
        entry = super().get_object(request, *args, **kwargs)
        if entry is not None:
            self.dress(request, [entry])
        return entry

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: entries are only recorded, never added."""
        return False

    def save_model(
        self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool
    ) -> None:
        """Save only the note: other fields may have changed in the meantime, such as a count."""
        obj.save(update_fields=["note"])

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Let the index say "View": nobody changes facts."""
        return {**super().get_model_perms(request), "change": False}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Call the page what it is: all but the note is only viewed."""
        title = _("View %(entry)s") % {"entry": self.opts.verbose_name}
        added = {"title": title, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, added)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Report a database error when saving the note."""
        view = super().changeform_view
        return self.saved(request, lambda: view(request, *args, **kwargs))

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Report a database error when deleting the row."""
        view = super().delete_view
        return self.saved(request, lambda: view(request, *args, **kwargs))

    def happening(self, entry: Entry) -> dict[str, object]:
        """Return a row as the cells of a list of several logs."""
        cells: Cells = entry.cells
        return {
            "when": cells.link_to(cells.row_address(self, entry.pk), cells.moment(entry.created)),
            "log": self.opts.verbose_name_plural,
            "badge": self.event_badge(entry),
            "channel": self.channel_link(entry) if hasattr(entry, "channel") else "",
            "user": self.user_link(entry),
            "connection": self.connection_link(entry),
            "gist": self.gist(entry),
        }

    def gist(self, entry: Entry) -> str | SafeString:
        """Return what a list of several logs has no columns for."""
        return ""

    # ---- columns -----------------------------------------------------------------------------

    def dress(self, request: HttpRequest, rows: Sequence[Entry]) -> None:
        """Attach to the rows what they share, and what the request's user may see."""
        cells = Cells(
            policies=self.admin_site.is_registered(ChannelPolicy)
            and request.user.has_perm("djhookbox.view_channelpolicy"),
            bans=self.admin_site.is_registered(Ban) and request.user.has_perm("djhookbox.view_ban"),
            payloads=request.user.has_perm("djhookbox.view_payload"),
        )
        for row in rows:
            row.cells = cells

    @admin.display(description=SafeString('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, entry: Entry) -> SafeString:
        """Render the checkbox."""
        return checkbox(entry.pk, self.naming(entry))

    def naming(self, entry: Entry) -> str:
        """Return what a screen reader calls a row."""
        label = entry.cells.label(entry, "event")
        channel = getattr(entry, "channel", "")
        return " ".join(part for part in (entry.user_name or "-", label, channel) if part)

    @admin.display(description=gettext_lazy("when"))
    def when(self, entry: Entry) -> SafeString:
        """Show the time to the millisecond, because much happens within a second."""
        cells: Cells = entry.cells
        return cells.moment(entry.created)

    @admin.display(description=gettext_lazy("event"))
    def event_badge(self, entry: Entry) -> SafeString:
        """Show the event."""
        badge: SafeString = entry.cells.badge(entry, "event", TONES.get(entry.event, "neutral"))
        return badge

    @admin.display(description=gettext_lazy("user"))
    def user_link(self, entry: Entry) -> str:
        """Link to everything the user did."""
        return self.filtered(entry, "user_name", entry.user_name, trail="user")

    @admin.display(description=gettext_lazy("channel"))
    def channel_link(self, entry: Entry) -> str:
        """Link to everything that happened on the channel."""
        return self.filtered(entry, "channel", entry.channel, trail="channel")

    @admin.display(description=gettext_lazy("connection"))
    def connection_link(self, entry: Entry) -> str:
        """Link to everything the connection did."""
        number = entry.connection_id
        if not number:
            return self.get_empty_value_display()
        cells: Cells = entry.cells
        short = f"{number[:8]}…" if len(number) > 9 else number
        title = cells.text(_CONNECTION) % {"value": number}
        return cells.link(cells.address(self, "trail", connection=number), short, title)

    def filtered(self, entry: Entry, column: str, value: str, *, trail: str = "") -> str:
        """Link to rows of this log with a value, and to entries of the other logs about it."""
        if not value:
            return self.get_empty_value_display()
        cells: Cells = entry.cells
        url = cells.address(self, "changelist", **{column: value})
        only = cells.link(url, value, cells.text(_ONLY) % {"value": value})
        if not trail:
            return only
        everything = escape(cells.text(_EVERYTHING) % {"value": value})
        url = escape(cells.address(self, "trail", **{trail: value}))
        return SafeString(
            f'{only} <a href="{url}" class="hookbox-trail" title="{everything}" '
            f'aria-label="{everything}"><span aria-hidden="true">☰</span></a>'
        )

    @admin.display(description=gettext_lazy("decided by"))
    def decision(self, entry: Entry) -> str | SafeString:
        """Who decided and why, with a link to check a refusal again."""
        cells: Cells = entry.cells
        kind, _colon, name = entry.decided_by.partition(":")
        who = f"<bdi>{divisible(entry.decided_by)}</bdi>" if entry.decided_by else ""
        if kind == "policy" and cells.policies:
            url = cells.address(self, "changelist", model="channelpolicy", name=name)
            who = f"<bdi>{cells.link(url, entry.decided_by)}</bdi>"
        if kind == "ban" and cells.bans and name.isdecimal():
            url = cells.address(self, "changelist", model="ban", id=name)
            who = f"<bdi>{cells.link(url, entry.decided_by)}</bdi>"
        why = f"<bdi>{escape(entry.reason)}</bdi>" if entry.reason else ""
        text = SafeString(": ".join(part for part in (who, why) if part))
        if not text:
            text = self.get_empty_value_display()
        operation = self.refused_operation(entry)
        if operation is None or not cells.policies:
            return text
        try:
            url = cells.address(
                self,
                "try",
                model="channelpolicy",
                user=entry.user_name,
                channel=entry.channel,
                operation=operation.value,
            )
        except NoReverseMatch:
            return text  # the project has replaced our page with its own
        again = escape(cells.text(_AGAIN))
        return SafeString(
            f'{text}&nbsp;· <a href="{escape(url)}" class="hookbox-again">{again}</a>'
        )

    def refused_operation(self, entry: Entry) -> Operation | None:
        """Return the refused operation, if it can be checked again."""
        return None
