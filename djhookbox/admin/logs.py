"""The connection log and the subscription log: facts to read, and a note to write."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import ConnectionLog, Log
from .pages import PageMixin, badge, link, moment, span
from .paging import CappedPaginator, LogChangeList

#: The tone of each event of both logs.
TONES = {"connect": "good", "subscribe": "good", "refused": "bad", "create_refused": "bad"}


class LogAdmin(PageMixin):
    """What the lists of facts have in common; see `paging.py` for why they are as they are."""

    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_display_links = ("when",)
    # "All 10,000" is no selection that anybody has looked at, nor one to delete in a request.
    actions_selection_counter = False
    #: Columns that the list does not show.
    deferred: tuple[str, ...] = ()

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Leave what the list does not show in the database."""
        return rows.defer(*self.deferred)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LogChangeList]:
        """Use the list that leads on to what is older."""
        return LogChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Let nothing be edited but the note."""
        names: list[Any] = [name for _title, of in self.fieldsets or () for name in of["fields"]]
        return tuple(name for name in names if name != "note")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: what did not happen is not entered."""
        return False

    def response_action(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Act on the rows that were ticked, never on all that the filters leave."""
        ticked = request.POST.copy()
        ticked.pop("select_across", None)
        request.POST = ticked  # type: ignore[assignment]
        return super().response_action(request, *args, **kwargs)

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("when"))
    def when(self, entry: Log) -> SafeString:
        """To the millisecond, since much happens within a second."""
        return moment(entry.created)

    @admin.display(description=gettext_lazy("event"))
    def event_badge(self, entry: Any) -> SafeString:
        """What happened."""
        return badge(entry.get_event_display(), TONES.get(entry.event, "neutral"))

    @admin.display(description=gettext_lazy("user"))
    def user_link(self, entry: Log) -> str:
        """Lead to all that the user did."""
        return self._filtered("user_name", entry.user_name)

    @admin.display(description=gettext_lazy("channel"))
    def channel_link(self, entry: Any) -> str:
        """Lead to all that happened on the channel."""
        return self._filtered("channel", entry.channel)

    @admin.display(description=gettext_lazy("connection"))
    def connection_link(self, entry: Log) -> str:
        """Lead to all that the connection did."""
        number = entry.connection_id
        short = f"{number[:8]}…" if len(number) > 9 else number
        return self._filtered("connection_id", number, short)

    def _filtered(self, field: str, value: str, text: str = "") -> str:
        if not value:
            return self.get_empty_value_display()
        url = self.address("changelist", **{field: value})
        return link(url, text or value, _("Only %(value)s") % {"value": value})

    @admin.display(description=gettext_lazy("decided by"))
    def decided(self, entry: Log) -> str:
        """Who decided, and why."""
        return ": ".join(part for part in (entry.decided_by, entry.reason) if part)


class ConnectionLogAdmin(LogAdmin):
    """Who came, was refused, went: when, from where, why."""

    list_display = (
        "when", "event_badge", "user_link", "ip_link", "lasted", "why",
        "connection_link",
    )  # fmt: skip
    list_filter = ("event", "transport", "created")
    search_fields = ("user_name__exact", "connection_id__exact")
    search_help_text = gettext_lazy("The exact name of a user, or the exact id of a connection.")
    deferred = ("user_agent", "origin", "note")
    empty_state = gettext_lazy(
        "No browser has connected yet. As soon as one does, or is refused, a line appears here."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "event_badge", "code", "lasted")}),
        (gettext_lazy("Who"), {"fields": ("user_link", "connection_link", "decided_by", "reason")}),
        (
            gettext_lazy("Where"),
            {"fields": ("transport", "ip_link", "origin", "user_agent")},
        ),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )

    @admin.display(description=gettext_lazy("IP address"))
    def ip_link(self, entry: ConnectionLog) -> str:
        """Lead to all that came from there; the search cannot find addresses by an index."""
        return self._filtered("ip", entry.ip or "")

    @admin.display(description=gettext_lazy("lasted"))
    def lasted(self, entry: ConnectionLog) -> str:
        """How long the connection was open."""
        return self.get_empty_value_display() if entry.duration is None else span(entry.duration)

    @admin.display(description=gettext_lazy("why"))
    def why(self, entry: ConnectionLog) -> str:
        """Close code and reason of an end, reason of a refusal."""
        parts = (entry.code, entry.reason or entry.decided_by)
        return " ".join(str(part) for part in parts if part)


class SubscriptionLogAdmin(LogAdmin):
    """Who may read what, and who decided it."""

    list_display = (
        "when", "event_badge", "channel_link", "user_link", "decided", "connection_link",
    )  # fmt: skip
    list_filter = ("event", "created")
    search_fields = ("channel__exact", "user_name__exact", "connection_id__exact")
    search_help_text = gettext_lazy(
        "The exact name of a channel or a user, or the exact id of a connection."
    )
    deferred = ("note",)
    empty_state = gettext_lazy(
        "Nobody has subscribed yet. Subscriptions, refusals and channels that come and go "
        "appear here."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "event_badge", "channel_link")}),
        (gettext_lazy("Who"), {"fields": ("user_link", "connection_link", "decided_by", "reason")}),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )
