"""Channel policies: who may do what on which channels, and with which options."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import models
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import process
from ..models import Audience, ChannelPolicy
from ..process import State
from .forms import PlainJSONField
from .pages import badge
from .policies_try import TryMixin


class KeepsHistoryFilter(admin.SimpleListFilter):
    """Whether new subscribers get past messages."""

    title = gettext_lazy("history")
    parameter_name = "history"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both answers."""
        return [("yes", _("keeps history")), ("no", _("keeps none"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
    ) -> QuerySet[ChannelPolicy]:
        """Apply the answer."""
        if self.value() == "yes":
            return queryset.filter(history_size__gt=0)
        return queryset.filter(history_size=0) if self.value() == "no" else queryset


class ChannelPolicyAdmin(TryMixin):
    """The rules, in the order in which they are tried."""

    list_display = (
        "order", "name", "is_on", "pattern_column", "subscribe_column", "publish_column", "options",
    )  # fmt: skip
    list_display_links = ("name",)
    list_filter = ("enabled", "subscribe_audience", "publish_audience", KeepsHistoryFilter)
    search_fields = ("name", "pattern", "note")
    ordering = ("order", "pk")
    filter_horizontal = ("groups",)
    readonly_fields = ("created", "modified")
    save_on_top = True
    formfield_overrides = {models.JSONField: {"form_class": PlainJSONField}}
    actions = ("enable", "disable", "duplicate", "publish_to_channels")
    empty_state = gettext_lazy(
        "No policies yet. Registered handlers decide; what no handler vouches for is refused. "
        "Add a policy to open channels without writing code."
    )
    footnote = gettext_lazy(
        "The first policy whose pattern matches decides. Where none does, registered handlers "
        "decide; what no handler vouches for is refused."
    )
    fieldsets = (
        (gettext_lazy("Match"), {"fields": ("name", "pattern", "order", "enabled")}),
        (
            gettext_lazy("Who may"),
            {
                "fields": (
                    "create_audience", "subscribe_audience", "publish_audience", "groups",
                    "permission",
                )
            },
        ),
        (
            gettext_lazy("Channel options"),
            {
                "fields": (
                    "history_size", "history_duration", "history_publish_only", "presenceful",
                    "reflective", "anonymous", "state",
                )
            },
        ),
        (
            gettext_lazy("More channel options"),
            {
                "classes": ("collapse",),
                "fields": (
                    "moderated", "moderated_subscribe", "moderated_publish",
                    "moderated_unsubscribe", "polling", "server_presenceful",
                    "server_user_presence",
                ),
            },
        ),
        (
            gettext_lazy("Notes"),
            {"classes": ("collapse",), "fields": ("note", "created", "modified")},
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChannelPolicy]:
        """Fetch the groups that the columns name."""
        rows: QuerySet[ChannelPolicy] = super().get_queryset(request)
        return rows.prefetch_related("groups")

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("pattern"), ordering="pattern")
    def pattern_column(self, policy: ChannelPolicy) -> SafeString:
        """Which channels; from left to right in every language."""
        return format_html('<bdi dir="ltr">{}</bdi>', policy.pattern)

    @admin.display(description=gettext_lazy("subscribe"), ordering="subscribe_audience")
    def subscribe_column(self, policy: ChannelPolicy) -> str:
        """Who may subscribe."""
        return _audience(policy, policy.subscribe_audience)

    @admin.display(description=gettext_lazy("publish"), ordering="publish_audience")
    def publish_column(self, policy: ChannelPolicy) -> str:
        """Who may publish."""
        return _audience(policy, policy.publish_audience)

    @admin.display(description=gettext_lazy("options"))
    def options(self, policy: ChannelPolicy) -> str:
        """What differs from a plain channel."""
        facts: list[str] = []
        if policy.history_size:
            facts.append(
                ngettext("%(count)d past message", "%(count)d past messages", policy.history_size)
                % {"count": policy.history_size}
            )
        if policy.presenceful:
            facts.append(_("presence"))
        if policy.anonymous:
            facts.append(_("anonymous"))
        if not policy.reflective:
            facts.append(_("not reflective"))
        if policy.state:
            facts.append(_("initial state"))
        if policy.polling.get("mode"):
            facts.append(_("polling"))
        if policy.server_presenceful:
            facts.append(_("server presence"))
        return ", ".join(facts)

    @admin.display(description=gettext_lazy("on"), ordering="enabled")
    def is_on(self, policy: ChannelPolicy) -> SafeString:
        """Whether it takes part."""
        return badge(_("on"), "good") if policy.enabled else badge(_("off"), "neutral")

    # ---- saving ------------------------------------------------------------------------------

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Keep the angle brackets of help texts, which the admin takes for HTML."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and "<" in str(field.help_text):
            field.help_text = escape(field.help_text)
        return field

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Say after a save whether live channels follow it."""
        response = super().changeform_view(request, *args, **kwargs)
        if request.method == "POST" and response.status_code == 302:
            self.say_who_follows(request)
        return response

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Say after a deletion whether live channels follow it."""
        response = super().delete_view(request, *args, **kwargs)
        if request.method == "POST" and response.status_code == 302:
            self.say_who_follows(request)
        return response

    def say_who_follows(self, request: HttpRequest) -> None:
        """Say whether the process hears of a change (the receivers tell it after commit)."""
        now = process.status()
        if now.state in (State.RUNNING, State.VERSION_DIFFERS):
            text = _("Hookbox has been told: live channels follow within a second.")
            self.message_user(request, text, messages.INFO)
        elif now.state == State.STOPPED:
            text = _("Hookbox is not running; the change counts as soon as it is started.")
            self.message_user(request, text, messages.INFO)
        else:
            text = _("Hookbox could not be told, so live channels stay as they are: %(problem)s")
            self.message_user(request, text % {"problem": now.message}, messages.WARNING)

    def save_related(
        self, request: HttpRequest, form: ModelForm[Any], formsets: Any, change: bool
    ) -> None:
        """Warn of a policy that can never decide."""
        super().save_related(request, form, formsets, change)
        policy: ChannelPolicy = form.instance
        earlier = ChannelPolicy.objects.enabled().filter(pattern=policy.pattern)
        first = earlier.first()
        if policy.enabled and first is not None and first.pk != policy.pk:
            self.message_user(
                request,
                _("“%(other)s” has the same pattern and is tried first, so this never decides.")
                % {"other": first},
                messages.WARNING,
            )

    # ---- actions -----------------------------------------------------------------------------

    @admin.action(permissions=["change"], description=gettext_lazy("Enable"))
    def enable(self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]) -> None:
        """Switch policies on."""
        count = self._switch(request, queryset, enabled=True)
        text = ngettext("%(count)d policy enabled.", "%(count)d policies enabled.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        self.say_who_follows(request)

    @admin.action(permissions=["change"], description=gettext_lazy("Disable"))
    def disable(self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]) -> None:
        """Switch policies off."""
        count = self._switch(request, queryset, enabled=False)
        text = ngettext("%(count)d policy disabled.", "%(count)d policies disabled.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
        self.say_who_follows(request)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[ChannelPolicy], *, enabled: bool
    ) -> int:
        count = 0
        label = capfirst(str(ChannelPolicy._meta.get_field("enabled").verbose_name))
        for policy in queryset.filter(enabled=not enabled):
            policy.enabled = enabled
            policy.save()  # one by one: live channels learn of it by the model's signals
            self.log_change(request, policy, [{"changed": {"fields": [label]}}])
            count += 1
        return count

    @admin.action(permissions=["add"], description=gettext_lazy("Duplicate"))
    def duplicate(
        self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
    ) -> HttpResponse | None:
        """Copy policies; a copy is off until somebody has looked at it."""
        copies = []
        for policy in queryset:
            # Anew, without the groups that were fetched along: they are not the copy's.
            copy = ChannelPolicy.objects.get(pk=policy.pk)
            copy.pk = None
            copy._state.adding = True
            copy.name = _free_name(policy.name)
            copy.enabled = False
            copy.save()
            copy.groups.set(policy.groups.all())
            self.log_addition(request, copy, [{"added": {}}])
            copies.append(copy)
        text = ngettext(
            "%(count)d policy copied. The copy is off: edit and enable it.",
            "%(count)d policies copied. The copies are off: edit and enable them.",
            len(copies),
        )
        self.message_user(request, text % {"count": len(copies)}, messages.SUCCESS)
        if len(copies) == 1 and self.has_change_permission(request, copies[0]):
            return HttpResponseRedirect(self.address("change", copies[0].pk))
        return None

    @admin.action(permissions=["publish"], description=gettext_lazy("Publish to their channels…"))
    def publish_to_channels(
        self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
    ) -> HttpResponse:
        """Lead to the page that publishes one message to the channels of policies."""
        keys = queryset.order_by("order", "pk").values_list("pk", flat=True)
        query = urlencode([("policy", key) for key in keys])
        return HttpResponseRedirect(f"{self.address('changelist', model='publishing')}?{query}")


def _audience(policy: ChannelPolicy, audience: str) -> str:
    if audience == Audience.GROUPS:
        return ", ".join(group.name for group in policy.groups.all()) or _("no group")
    if audience == Audience.PERMISSION:
        return policy.permission
    return str(capfirst(Audience(audience).label))


def _free_name(name: str) -> str:
    longest = ChannelPolicy._meta.get_field("name").max_length or 100
    number = 1
    while True:
        suffix = _(" (copy)") if number == 1 else _(" (copy %(number)d)") % {"number": number}
        copy = name[: longest - len(suffix)] + suffix
        if not ChannelPolicy.objects.filter(name=copy).exists():
            return copy
        number += 1
