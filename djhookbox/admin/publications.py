"""The publish history, and publishing by hand: anew, again, or to several channels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import publishing
from ..exceptions import ChannelNameError, HookboxError, HookboxRefused
from ..models import Publication
from .forms import PublishForm
from .logs import LogAdmin
from .pages import PageMixin, badge, preformatted, pretty_json
from .publishing import reached_text

TONES = {"sent": "good", "refused": "warning", "failed": "bad"}

#: Characters of a payload that the list shows.
PREVIEW = 80


def publish(
    page: PageMixin, request: HttpRequest, what: Iterable[tuple[str, object]]
) -> HookboxError | None:
    """Publish (channel, payload) pairs in the user's name, and say what became of each.

    Stops where the process does not answer, since the rest would fail the same way, each after
    its own timeout; returns that error.
    """
    for channel, payload in what:
        try:
            reached = publishing.publish(
                channel, payload, user=request.user, source=Publication.Source.ADMIN
            )
        except HookboxRefused as error:
            words = {"channel": channel, "problem": error}
            page.message_user(
                request, _("%(channel)s: refused. %(problem)s") % words, messages.ERROR
            )
        except HookboxError as error:
            page.message_user(request, f"{channel}: {error}", messages.ERROR)
            return error
        else:
            page.message_user(request, reached_text(channel, reached), messages.SUCCESS)
    return None


class PublicationAdmin(LogAdmin):
    """What was published, by whom, and whether it arrived."""

    list_display = (
        "when",
        "status_badge",
        "channel_link",
        "preview",
        "user_link",
        "source",
        "delivered",
    )
    list_filter = ("status", "source", "created")
    search_fields = ("channel__exact", "user_name__exact", "connection_id__exact")
    search_help_text = gettext_lazy(
        "The exact name of a channel or a user, or the exact id of a connection."
    )
    deferred = ("payload", "note")
    actions = ("publish_again",)
    empty_state = gettext_lazy(
        "Nothing has been published yet. Publish a message here, from code with "
        "djhookbox.publish(), or from a browser."
    )
    fieldsets = (
        (gettext_lazy("What"), {"fields": ("when", "channel_link", "payload_pretty")}),
        (
            gettext_lazy("Outcome"),
            {"fields": ("status_badge", "error", "delivered", "decided_by", "reason")},
        ),
        (gettext_lazy("Who"), {"fields": ("user_link", "source", "connection_link")}),
        (gettext_lazy("Note"), {"fields": ("note",)}),
    )

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before the stock ones, which would take them for primary keys."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("publish/", view(self.new_view), name=f"{prefix}_publish"),
            path(
                "<path:object_id>/publish-again/",
                view(self.publish_view),
                name=f"{prefix}_publish_again",
            ),
            *super().get_urls(),
        ]

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Fetch the beginning of each payload, not all of it."""
        text = Left(Cast("payload", TextField()), PREVIEW * 6)  # "ü" may be kept as "\u00fc"
        begun: QuerySet[Any] = super().for_list(rows).annotate(payload_text=text)
        return begun

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Let the page offer to publish again."""
        ours = {"may_publish": self.has_publish_permission(request)}
        return super().change_view(request, object_id, form_url, {**ours, **(extra_context or {})})

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("status"))
    def status_badge(self, entry: Publication) -> SafeString:
        """What became of it."""
        return badge(entry.get_status_display(), TONES.get(entry.status, "neutral"))

    @admin.display(description=gettext_lazy("payload"))
    def preview(self, entry: Any) -> str:
        """Show how the message begins."""
        text = re.sub(r"(?:\\u[0-9a-f]{4})+", _unescaped, entry.payload_text or "null")
        return Truncator(text).chars(PREVIEW)

    @admin.display(description=gettext_lazy("payload"))
    def payload_pretty(self, entry: Publication) -> SafeString:
        """Show the whole message, in lines."""
        return preformatted(pretty_json(entry.payload))

    # ---- publishing --------------------------------------------------------------------------

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the page that publishes, with what is known of the message.

        Raises:
            PermissionDenied: The user may not publish.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        page = self.address("changelist", model="publishing")
        return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}" if request.GET else page)

    def publish_view(self, request: HttpRequest, object_id: str = "") -> HttpResponse:
        """Publish a message, a new one or one of the history, edited if need be.

        Raises:
            PermissionDenied: The user may not publish, or not see that message.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        original = None
        initial: dict[str, object] = {"channel": request.GET.get("channel", "")}
        if object_id:
            original = self.get_object(request, unquote(object_id))
            if original is None:
                return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined, no-any-return]
                    request, self.opts, object_id
                )
            if not self.has_view_permission(request, original):
                raise PermissionDenied
            initial = {"channel": original.channel, "payload": original.payload}
        form = PublishForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            channel = form.cleaned_data["channel"]
            try:
                reached = publishing.publish(
                    channel,
                    form.cleaned_data["payload"],
                    user=request.user,
                    source=Publication.Source.ADMIN,
                )
            except HookboxError as error:
                form.add_error(
                    "channel" if isinstance(error, ChannelNameError) else None, str(error)
                )
            else:
                self.message_user(request, reached_text(channel, reached), messages.SUCCESS)
                if self.has_view_permission(request):
                    return HttpResponseRedirect(self.address("changelist"))
                return HttpResponseRedirect(self.address("publish", channel=channel))
        return self.page(
            request,
            "publish.html",
            _("Publish again") if original else _("Publish a message"),
            form=form,
            adminform=AdminForm(form, [(None, {"fields": ["channel", "payload"]})], {}),  # type: ignore[arg-type]
            media=self.media + form.media,
            original=original,
            button=_("Publish again") if original else _("Publish"),
        )

    @admin.action(permissions=["publish"], description=gettext_lazy("Publish again…"))
    def publish_again(
        self, request: HttpRequest, queryset: QuerySet[Publication]
    ) -> HttpResponse | None:
        """Ask first, then publish the messages in the order they were first published in."""
        rows = list(queryset.order_by("pk"))
        if len(rows) == 1 and "confirmed" not in request.POST:
            return HttpResponseRedirect(self.address("publish_again", rows[0].pk))
        if "confirmed" in request.POST:
            if publish(self, request, [(row.channel, row.payload) for row in rows]) is not None:
                self.message_user(request, _("What was left has not been tried."), messages.WARNING)
            return None
        count = len(rows)
        return self.page(
            request,
            "confirm.html",
            ngettext("Publish %(count)d message again?", "Publish %(count)d messages again?", count)
            % {"count": count},
            sentences=[_("Whoever is subscribed to these channels now receives them once more.")],
            items=[
                f"{row.channel}: {Truncator(pretty_json(row.payload)).chars(PREVIEW)}"
                for row in rows[:10]
            ],
            more=max(0, count - 10),
            hidden=[
                ("action", "publish_again"), ("confirmed", "1"),
                *((ACTION_CHECKBOX_NAME, row.pk) for row in rows),
            ],
            button=ngettext("Publish %(count)d message", "Publish %(count)d messages", count)
            % {"count": count},
            cancel=self.address("changelist"),
        )  # fmt: skip


def _unescaped(found: re.Match[str]) -> str:
    """Decode a run of \\uXXXX, of which two may make one character."""
    units = bytes.fromhex(found[0].replace("\\u", ""))
    return units.decode("utf-16-be", errors="replace")
