"""The bans: who is refused, for how long, and why."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import client
from ..bans.rules import Kind
from ..caching import TTL
from ..exceptions import HookboxError
from ..models import Ban
from ..notices import disconnect
from ..wire.closing import BY_SITE
from .pages import PageMixin, badge, labelled
from .times import local, today

if TYPE_CHECKING:
    from django.db.models import Field

    _Form = forms.ModelForm[Ban]
else:
    _Form = forms.ModelForm

#: How long a new ban lasts, in minutes; "" until it is lifted.
DURATIONS = (
    ("10", gettext_lazy("10 minutes")),
    ("60", gettext_lazy("1 hour")),
    ("1440", gettext_lazy("1 day")),
    ("10080", gettext_lazy("7 days")),
    ("", gettext_lazy("Until it is lifted")),
)

TONES = {Ban.Status.ACTIVE: "bad", Ban.Status.EXPIRED: "neutral", Ban.Status.LIFTED: "good"}


class NewBanForm(_Form):
    """A new ban, with a duration in place of an end."""

    minutes = forms.ChoiceField(
        label=gettext_lazy("For how long"), choices=DURATIONS, required=False, initial="10"
    )

    class Meta:
        model = Ban
        fields = ("kind", "value", "reason", "note")

    def clean(self) -> dict[str, object] | None:
        """Set the end."""
        cleaned = super().clean()
        minutes = self.cleaned_data.get("minutes")
        if minutes:
            self.instance.until = timezone.now() + datetime.timedelta(minutes=int(minutes))
        return cleaned


class StatusFilter(admin.SimpleListFilter):
    """Filter by whether a ban is active."""

    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Model]
    ) -> Sequence[tuple[str, Any]]:
        """Return the choices."""
        return Ban.Status.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Apply the choice."""
        now = timezone.now()
        value = self.value()
        if value == Ban.Status.ACTIVE:
            return queryset.filter(pk__in=Ban.objects.active(now).values("pk"))
        if value == Ban.Status.LIFTED:
            return queryset.filter(lifted__isnull=False)
        if value == Ban.Status.EXPIRED:
            return queryset.filter(lifted__isnull=True, until__lte=now)
        return queryset


@admin.action(description=gettext_lazy("Lift the selected bans"), permissions=["change"])
def lift(page: BanAdmin, request: HttpRequest, queryset: QuerySet[Ban]) -> None:
    """Let those refused back in; they have to connect again themselves."""
    count = 0
    with transaction.atomic(using=queryset.db):
        for ban in queryset.filter(pk__in=Ban.objects.active().values("pk")):
            ban.lifted = timezone.now()
            ban.save(update_fields=["lifted"])
            page.enter_about(request, ban, "Lifted.")
            count += 1
    if not count:
        page.message_user(request, _("None of these bans was active."), messages.WARNING)
        return
    text = ngettext("%(count)d ban was lifted.", "%(count)d bans were lifted.", count)
    page.message_user(request, text % {"count": count}, messages.SUCCESS)


class BanAdmin(PageMixin):
    """Bans are made and lifted here, or made from the page of a user."""

    list_display = ("value_column", "kind", "status_column", "until_column", "reason", "maker")
    list_display_links = ("value_column",)
    list_filter = (StatusFilter, "kind")
    search_fields = ("value", "about", "reason", "note")
    actions = (lift,)
    show_full_result_count = False
    empty_state = gettext_lazy(
        "Nobody is banned. You can ban users, sessions and addresses here or on the page of a "
        "connected user."
    )

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: object
    ) -> Any:
        """Ask for a duration when a ban is made."""
        if obj is None:
            kwargs["form"] = NewBanForm
            kwargs["fields"] = None
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Show the facts of a ban, or the fields of a new one."""
        if obj is None:
            return [(None, {"fields": ("kind", "value", "minutes", "reason", "note")})]
        facts = ("kind", "value", "about", "status_column", "created", "created_by", "lifted")
        return [(None, {"fields": (*facts, "until", "reason", "note")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Let only the end and the note of a ban be changed: who is refused is a fact."""
        if obj is None:
            return ()
        return (
            "kind", "value", "about", "reason", "status_column", "created", "created_by", "lifted",
        )  # fmt: skip

    def formfield_for_dbfield(
        self, db_field: Field[object, object], request: HttpRequest, **kwargs: object
    ) -> Any:
        """Label both fields of the end: the stock form labels neither."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "until" and field is not None:
            for widget, label in zip(field.widget.widgets, (_("Date"), _("Time")), strict=True):
                widget.attrs["aria-label"] = label
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Prefill from the URL."""
        names = ("kind", "value", "minutes")
        return {name: request.GET[name] for name in names if name in request.GET}

    def save_model(self, request: HttpRequest, obj: Ban, form: object, change: bool) -> None:
        """Save, and close the connections of a new ban after commit."""
        if not change:
            obj.created_by = str(request.user.get_username())[:255]
            obj.about = request.GET.get("about", "")[:255].replace("\0", "")
        super().save_model(request, obj, form, change)
        if not change:
            using = obj._state.db
            transaction.on_commit(lambda: self._close(request, obj), using=using)
            stored = {Kind.USER: "user", Kind.SESSION: "identity"}.get(Kind(obj.kind))
            if stored is not None:  # so that it is done even if the process does not answer now
                disconnect(using, stored, [obj.value], BY_SITE, obj.reason)

    def _close(self, request: HttpRequest, ban: Ban) -> None:
        lists: dict[Kind, Sequence[str]] = dict.fromkeys(Kind, ())
        lists[Kind(ban.kind)] = [ban.value]
        try:
            # Other processes of the site may still use the bans they loaded before.
            count = client.disconnect_all(
                users=lists[Kind.USER],
                identities=lists[Kind.SESSION],
                addresses=lists[Kind.ADDRESS],
                seconds=2 * TTL,
                reason=ban.reason,
            )
        except HookboxError as error:
            text = _("The ban is in force, but open connections could not be closed: %(problem)s")
            self.message_user(request, text % {"problem": error}, messages.WARNING)
            return
        text = ngettext(
            "%(count)d connection was closed.", "%(count)d connections were closed.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("who"), ordering="value")
    def value_column(self, ban: Ban) -> str | SafeString:
        """Show the value; of a session, its user and the beginning of its identifier."""
        if ban.kind != Kind.SESSION:
            return format_html("<bdi>{}</bdi>", ban.value)
        return format_html('<bdi>{}</bdi> <code dir="ltr">{}…</code>', ban.about, ban.value[:16])

    @admin.display(description=gettext_lazy("status"))
    def status_column(self, ban: Ban) -> SafeString:
        """Show the status as a badge."""
        status = ban.status
        return badge(status.label, TONES[status])

    @admin.display(description=gettext_lazy("until"), ordering="until")
    def until_column(self, ban: Ban) -> SafeString:
        """Show the end, with the day if it is not today."""
        if ban.until is None:
            return labelled(_("until"), _("it is lifted"))
        end = local(ban.until)
        if end.date() == today():
            return labelled(_("until"), formats.time_format(end, "TIME_FORMAT"))
        return labelled(_("until"), formats.date_format(end, "SHORT_DATETIME_FORMAT"))

    @admin.display(description=gettext_lazy("by"), ordering="created_by")
    def maker(self, ban: Ban) -> str | SafeString:
        """Who made it."""
        return labelled(_("by"), ban.created_by) if ban.created_by else ""
