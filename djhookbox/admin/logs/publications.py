"""The publish history, and publishing its messages again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms.widgets import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

import djhookbox

from ...conf import settings
from ...exceptions import HookboxError, HookboxRefused
from ...models import Publication, Publishing
from ...policy.rules import Operation
from ..pages import grouped, labelled, module_script, preformatted, pretty_json
from ..publishing.message import MessageMixin, reached_text
from .base import SEARCH_HELP, LogAdmin
from .entry import Entry
from .periods import PeriodFilter
from .several import SeveralFilter

TONES = {"sent": "good", "refused": "warning", "failed": "bad"}

_NOT_STORED = gettext_lazy("not stored")
_AGAIN = gettext_lazy("Publish again…")
_BYTES = gettext_lazy("bytes")
_DELIVERED = gettext_lazy("delivered to")

#: Payloads up to this many bytes are shown unfolded.
UNFOLDED = 20_000


class PublicationAdmin(MessageMixin, LogAdmin):
    """Publications: what was published, who published it, and whether it arrived."""

    list_display = (
        "when", "outcome", "channel_link", "beginning", "sender", "length", "reached",
    )  # fmt: skip
    list_filter = (("status", SeveralFilter), ("source", SeveralFilter), PeriodFilter)
    search_fields = ("channel__exact", "user_name__exact", "connection_id__exact")
    search_help_text = SEARCH_HELP
    deferred = ("payload", "note")
    guarded_columns = {
        "payload": "djhookbox.view_payload",
        "preview": "djhookbox.view_payload",
    }
    pruned_as = "publications"
    actions = ("publish_again",)
    empty_state = gettext_lazy(
        "Nothing has been published yet. Publish a message here, from code with "
        "djhookbox.publish(), or from a browser."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "channel_link", "size", "payload_pretty")}),
        (
            gettext_lazy("Outcome"),
            {"fields": ("event_badge", "error", "delivered", "decision")},
        ),
        (gettext_lazy("Who"), {"fields": ("user_link", "source", "connection_link")}),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before the default ones, which would read them as primary keys."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("publish/", view(self.new_view), name=f"{prefix}_publish"),
            path(
                "<path:object_id>/publish-again/",
                view(self.publish_again_view),
                name=f"{prefix}_publish_again",
            ),
            *super().get_urls(),
        ]

    def has_payload_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may see payloads."""
        return request.user.has_perm("djhookbox.view_payload")

    def has_publish_again_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may publish messages again; also used for the action."""
        return self.has_publish_permission(request) and self.has_payload_permission(request)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Omit payloads for users who may not see them."""
        columns = super().get_list_display(request)
        return [
            name for name in columns if name != "beginning" or self.has_payload_permission(request)
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Omit the payload for users who may not see it."""
        if self.has_payload_permission(request):
            return super().get_fieldsets(request, obj)
        return [
            (title, {**of, "fields": [name for name in of["fields"] if name != "payload_pretty"]})
            for title, of in super().get_fieldsets(request, obj)
        ]

    def retention(self) -> str:
        """Return how long publications are kept, and how much of them."""
        if settings.store_payloads:
            return super().retention()
        off = _("Payloads are not stored (HOOKBOX_STORE_PAYLOADS).")
        return f"{super().retention()} {off}"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Offer to publish the message again."""
        added = {
            "may_publish": self.has_publish_permission(request),
            "may_publish_again": self.has_publish_again_permission(request),
        }
        return super().change_view(request, object_id, form_url, {**added, **(extra_context or {})})

    @property
    def media(self) -> Media:
        """Add the script of the copy button."""
        return super().media + module_script("admin/copy")

    # ---- columns -----------------------------------------------------------------------------

    def dress(self, request: HttpRequest, rows: Sequence[Entry]) -> None:
        """Attach also whether the request's user may publish messages again."""
        super().dress(request, rows)
        if rows:
            rows[0].cells.again = self.has_publish_again_permission(request)

    @admin.display(description=gettext_lazy("status"))
    def event_badge(self, entry: Entry) -> SafeString:
        """Whether the message was sent."""
        badge: SafeString = entry.cells.badge(entry, "status", TONES.get(entry.status, "neutral"))
        return badge

    def naming(self, entry: Entry) -> str:
        """Return what a screen reader calls a row."""
        return f"{entry.channel} {entry.cells.label(entry, 'status')}"

    @admin.display(description=gettext_lazy("status"))
    def outcome(self, entry: Entry) -> SafeString:
        """Whether the message was sent, and why not."""
        why = conditional_escape(self._why(entry))
        problem = f' <span class="hookbox-problem">{why}</span>' if why else ""
        return SafeString(f"{self.event_badge(entry)}{problem}")

    @admin.display(description=gettext_lazy("sender"))
    def sender(self, entry: Entry) -> SafeString:
        """Who published, and how."""
        source = escape(entry.cells.label(entry, "source"))
        connection = self.connection_link(entry) if entry.connection_id else ""
        return SafeString(
            f"{conditional_escape(self.user_link(entry))} "
            f'<span class="quiet hookbox-source">{source} {connection}</span>'
        )

    def _why(self, entry: Entry) -> str | SafeString:
        if entry.status == Publication.Status.REFUSED:
            return self.decision(entry)
        error = Truncator(entry.error).chars(120) if entry.error else ""
        return format_html("<bdi>{}</bdi>", error) if error else ""

    @admin.display(description=gettext_lazy("payload"))
    def beginning(self, entry: Entry) -> str | SafeString:
        """Show the beginning of the message."""
        if entry.kept == Publication.Kept.NOTHING:
            return str(_NOT_STORED)
        preview = f'<bdi class="hookbox-preview">{escape(entry.preview)}</bdi>'
        if not entry.cells.again or entry.kept != Publication.Kept.WHOLE:
            return SafeString(preview)
        url = escape(entry.cells.row_address(self, entry.pk, "publish_again"))
        words = escape(entry.cells.text(_AGAIN))
        return SafeString(
            f'{preview} <a href="{url}" class="hookbox-trail" title="{words}" '
            f'aria-label="{words}"><span aria-hidden="true">↻</span></a>'
        )

    @admin.display(description=gettext_lazy("bytes"))
    def length(self, entry: Entry) -> str | SafeString:
        """How long the message was."""
        return "" if entry.size is None else labelled(entry.cells.text(_BYTES), entry.size)

    @admin.display(description=gettext_lazy("delivered to"))
    def reached(self, entry: Entry) -> str | SafeString:
        """How many connections it was written to."""
        count = entry.delivered
        return "" if count is None else labelled(entry.cells.text(_DELIVERED), count)

    @admin.display(description=gettext_lazy("payload"))
    def payload_pretty(self, entry: Publication) -> str | SafeString:
        """Show the whole message, formatted; a long one is folded."""
        if entry.kept == Publication.Kept.NOTHING:
            return _("The payload was not stored: HOOKBOX_STORE_PAYLOADS was off.")
        text = pretty_json(entry.payload)
        note = ""
        if entry.kept == Publication.Kept.MASKED:
            note = _("Some fields were masked before the payload was stored (HOOKBOX_REDACT).")
        size = len(text.encode("utf-8", "replace"))
        lines = text.count("\n") + 1
        summary = ngettext(
            "%(lines)s line, %(size)s", "%(lines)s lines, %(size)s", lines
        ) % {"lines": grouped(lines), "size": filesizeformat(size)}  # fmt: skip
        return format_html(
            '<details class="hookbox-payload"{}><summary>{}</summary>{}</details>'
            '<p class="hookbox-copy"><button type="button" class="button" hidden '
            'data-hookbox-copy="{}" data-copied="{}">{}</button> '
            '<span role="status"></span></p>{}',
            SafeString("" if size > UNFOLDED else " open"), summary, preformatted(text),
            ".hookbox-payload pre", _("Copied."), _("Copy"),
            format_html('<p class="help hookbox-masked">{}</p>', note) if note else "",
        )  # fmt: skip

    def refused_operation(self, entry: Entry) -> Operation | None:
        """Return publish if a browser was refused; code is never refused by audiences."""
        refused = entry.status == Publication.Status.REFUSED
        return Operation.PUBLISH if refused and entry.source == "client" else None

    def gist(self, entry: Entry) -> str | SafeString:
        """Return what a list of several logs has no columns for."""
        why = self._why(entry)
        if why:
            return why
        return self.beginning(entry) if entry.cells.payloads else ""

    # ---- publishing --------------------------------------------------------------------------

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the page that publishes, or serve as that page if this admin site has none.

        Raises:
            PermissionDenied: The user may not publish.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        if not self.admin_site.is_registered(Publishing):
            names = self.posted_names(request) or request.GET.getlist("channel")
            return self.message_page(request, names)
        page = self.address("changelist", model="publishing")
        return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}" if request.GET else page)

    def publish_again_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Publish a message of the history again, edited if necessary.

        Raises:
            PermissionDenied: The user may not publish, or may not see the message.

        """
        if not self.has_publish_again_permission(request):
            raise PermissionDenied
        original = self.get_object(request, unquote(object_id))
        if original is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined, no-any-return]
                request, self.opts, object_id
            )
        if not self.has_view_permission(request, original):
            raise PermissionDenied
        if original.kept != Publication.Kept.WHOLE:
            self.message_user(request, _incomplete(original), messages.ERROR)
            return HttpResponseRedirect(self.address("change", original.pk))
        names = self.posted_names(request) if request.method == "POST" else [original.channel]
        return self.message_page(request, names, original=original)

    @admin.action(permissions=["publish_again"], description=gettext_lazy("Publish again…"))
    def publish_again(
        self, request: HttpRequest, queryset: QuerySet[Publication]
    ) -> HttpResponse | None:
        """Confirm, then publish the messages in their original order."""
        rows = []
        for row in queryset.order_by("pk"):
            if row.kept == Publication.Kept.WHOLE:
                rows.append(row)
            else:
                text = f"{row.channel}: {_incomplete(row)}"
                self.message_user(request, text, messages.WARNING)
        if not rows:
            return None
        if len(rows) == 1 and "confirmed" not in request.POST:
            return HttpResponseRedirect(self.address("publish_again", rows[0].pk))
        if "confirmed" in request.POST:
            if self.is_first(request):
                self._publish_rows(request, rows)
            return None
        count = len(rows)
        return self.page(
            request,
            "confirm.html",
            ngettext("Publish %(count)d message again?", "Publish %(count)d messages again?", count)
            % {"count": count},
            sentences=[_("All current subscribers of these channels will receive them again.")],
            items=[
                f"{row.channel}: {row.preview}" for row in rows[:10]
            ],
            more=max(0, count - 10),
            hidden=[
                ("action", "publish_again"), ("confirmed", "1"),
                ("token", secrets.token_urlsafe(9)),
                *((ACTION_CHECKBOX_NAME, row.pk) for row in rows),
            ],
            button=ngettext("Publish %(count)d message", "Publish %(count)d messages", count)
            % {"count": count},
            cancel=self.address("changelist"),
        )  # fmt: skip

    def _publish_rows(self, request: HttpRequest, rows: Iterable[Publication]) -> None:
        """Publish messages again; stop if the process does not answer."""
        for row in rows:
            try:
                reached = djhookbox.publish(
                    row.channel, row.payload, user=request.user, source=Publication.Source.ADMIN
                )
            except HookboxRefused as error:
                words = {"channel": row.channel, "problem": error}
                text = _("%(channel)s: refused. %(problem)s") % words
                self.message_user(request, text, messages.ERROR)
            except HookboxError as error:
                self.message_user(request, f"{row.channel}: {error}", messages.ERROR)
                text = _("The remaining messages were not tried.")
                self.message_user(request, text, messages.WARNING)
                return
            else:
                text = reached_text(row.channel, reached)
                self.message_user(request, text, messages.SUCCESS)
                self.enter_published(request, row.channel, reached, row)


def _incomplete(entry: Publication) -> str:
    """Return why a message cannot be published again unchanged, or ""."""
    if entry.kept == Publication.Kept.MASKED:
        return _("This message cannot be published again unchanged: some of its fields are masked.")
    return _("This message cannot be published again: its payload was not stored.")
