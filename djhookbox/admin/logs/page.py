"""The connection log and the subscription log: read-only rows with an editable note."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ...conf import settings
from ...models import ConnectionLog, SubscriptionLog
from ...policy.rules import Operation
from ..pages import span
from . import codes
from .base import SEARCH_HELP, LogAdmin
from .entry import Entry
from .erasing import ErasingMixin
from .periods import PeriodFilter
from .several import SeveralFilter


class ConnectionLogAdmin(ErasingMixin, LogAdmin):
    """Connections: who connected, was refused or disconnected, when, from where and why."""

    list_display = (
        "when", "event_badge", "user_link", "why", "transport_label", "ip_link", "lasted",
        "connection_link",
    )  # fmt: skip
    list_filter = (("event", SeveralFilter), ("transport", SeveralFilter), PeriodFilter)
    search_fields = ("user_name__exact", "connection_id__exact")
    search_help_text = gettext_lazy("The exact name of a user, or the exact id of a connection.")
    deferred = ("user_agent", "origin", "note")
    pruned_as = "connections"
    empty_state = gettext_lazy(
        "No browser has connected yet. Connections and refused connection attempts appear here."
    )
    switched_off = gettext_lazy(
        "Connections are not recorded: set HOOKBOX_LOG_CONNECTIONS to True or remove it."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "event_badge", "code_in_words", "lasted")}),
        (gettext_lazy("Who"), {"fields": ("user_link", "connection_link", "decision", "reason")}),
        (
            gettext_lazy("Where"),
            {"fields": ("transport_label", "ip_link", "origin", "user_agent")},
        ),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )

    @property
    def is_written(self) -> bool:
        """Whether the site logs connections."""
        return settings.log_connections

    @admin.display(description=gettext_lazy("transport"))
    def transport_label(self, entry: Entry) -> str:
        """How the browser was connected."""
        label: str = entry.cells.label(entry, "transport")
        return label

    @admin.display(description=gettext_lazy("IP address"))
    def ip_link(self, entry: Entry) -> str:
        """Link to everything from this address; the search has no index for addresses."""
        return self.filtered(entry, "ip", entry.ip or "")

    @admin.display(description=gettext_lazy("duration"))
    def lasted(self, entry: Entry) -> str:
        """How long the connection was open."""
        return self.get_empty_value_display() if entry.duration is None else span(entry.duration)

    @admin.display(description=gettext_lazy("reason"))
    def why(self, entry: Entry) -> str | SafeString:
        """Show the close code in words and the reason, or who refused and why."""
        if entry.event == ConnectionLog.Event.REFUSED:
            return self.decision(entry)
        return self._end(entry)

    def _end(self, entry: Entry) -> str:
        said = entry.reason or entry.decided_by
        if not entry.code:
            return said
        code = codes.in_words(entry.code)
        return code if not said or codes.is_said_by(entry.code, said) else f"{code} ({said})"

    @admin.display(description=gettext_lazy("close code"))
    def code_in_words(self, entry: Entry) -> str:
        """Show the close code and its meaning."""
        return codes.in_words(entry.code) if entry.code else self.get_empty_value_display()

    def gist(self, entry: Entry) -> str | SafeString:
        """Return what a list of several logs has no columns for."""
        lasted = "" if entry.duration is None else span(entry.duration)
        parts = (entry.cells.label(entry, "transport"), entry.ip, lasted, self._end(entry))
        return " · ".join(str(part) for part in parts if part)


class SubscriptionLogAdmin(LogAdmin):
    """Subscriptions: who may read what, and who decided it."""

    list_display = (
        "when", "event_badge", "user_link", "channel_link", "decision", "connection_link",
    )  # fmt: skip
    list_filter = (("event", SeveralFilter), PeriodFilter)
    search_fields = ("channel__exact", "user_name__exact", "connection_id__exact")
    search_help_text = SEARCH_HELP
    deferred = ("note",)
    pruned_as = "subscriptions"
    empty_state = gettext_lazy(
        "Nobody has subscribed yet. Subscriptions, refusals, and the creation and "
        "removal of channels appear here."
    )
    switched_off = gettext_lazy(
        "Subscriptions are not recorded: set HOOKBOX_LOG_SUBSCRIPTIONS to True or remove it."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "event_badge", "channel_link")}),
        (gettext_lazy("Who"), {"fields": ("user_link", "connection_link", "decision")}),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )

    @property
    def is_written(self) -> bool:
        """Whether the site logs subscriptions."""
        return settings.log_subscriptions

    def refused_operation(self, entry: Entry) -> Operation | None:
        """Return the operation that was refused."""
        operations: dict[str, Operation] = {
            SubscriptionLog.Event.REFUSED: Operation.SUBSCRIBE,
            SubscriptionLog.Event.CREATE_REFUSED: Operation.CREATE,
        }
        return operations.get(entry.event)

    def gist(self, entry: Entry) -> str | SafeString:
        """Return what a list of several logs has no columns for."""
        return self.decision(entry)
