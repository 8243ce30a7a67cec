"""The admin of channel policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.db import models, router, transaction
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...commits import writing
from ...models import Audience, ChannelPolicy, Publishing
from ...notices import Told, listening
from ...policy.examples import examples
from ..forms import PlainJSONField
from ..pages import PageMixin, badge, checkbox, labelled, module_script
from . import texts as texts
from .actions import disable, duplicate, enable, publish_to_channels
from .aftermath import aftermath
from .files import PolicyFiles, export_selected
from .listing import PolicyList, order
from .ordering import GAP, PolicyOrder
from .preview import PolicyPreview, around
from .trying import PolicyTrials


class KeepsHistoryFilter(admin.SimpleListFilter):
    """Filter by whether new subscribers receive past messages."""

    title = gettext_lazy("history")
    parameter_name = "history"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Model]
    ) -> list[tuple[str, str]]:
        """Return both choices."""
        return [("yes", _("with history")), ("no", _("without history"))]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
    ) -> QuerySet[ChannelPolicy]:
        """Apply the choice."""
        if self.value() == "yes":
            return queryset.filter(history_size__gt=0)
        return queryset.filter(history_size=0) if self.value() == "no" else queryset


class ChannelPolicyAdmin(PageMixin):
    """The policies, in the order in which they are tried."""

    class Media:
        css = {"all": ["djhookbox/admin/policies.css"]}

    list_display = (
        "order", "name", "is_on", "pattern_column", "subscribe_column", "publish_column",
    )  # fmt: skip
    list_display_links = ("name",)
    list_per_page = 50
    list_filter = ("enabled", "subscribe_audience", "publish_audience", KeepsHistoryFilter)
    search_fields = ("name", "pattern", "note")
    ordering = ("order", "pk")
    filter_horizontal = ("groups",)
    readonly_fields = ("examples", "explained", "created", "modified")
    save_on_top = True
    formfield_overrides = {models.JSONField: {"form_class": PlainJSONField}}
    actions = (enable, disable, duplicate, export_selected, publish_to_channels)
    empty_state = gettext_lazy(
        "No policies yet. Registered handlers decide; channels that no handler allows "
        "are refused. Add a policy to open channels without writing code."
    )
    #: The text below the last policy.
    last_row = gettext_lazy(
        "Where no policy matches, registered handlers decide; channels that no handler "
        "allows are refused."
    )
    fieldsets = (
        (
            gettext_lazy("Match"),
            {"fields": ("name", "pattern", "examples", "order", "enabled")},
        ),
        (
            gettext_lazy("Access"),
            {
                "fields": (
                    "create_audience", "subscribe_audience", "publish_audience", "groups",
                    "permission", "explained",
                )
            },
        ),
        (
            gettext_lazy("Channel options"),
            {
                "fields": (
                    "history_size", "history_duration", "history_publish_only", "durable",
                    "presenceful", "reflective", "anonymous", "state",
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

    def __init__(self, model: type[ChannelPolicy], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        self._order = PolicyOrder(self, self.say_what_changed)
        self._files = PolicyFiles(self, self.say_who_follows)
        self._trials = PolicyTrials(self)
        self._preview = PolicyPreview(self)

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before the default ones, and exempt all of them from `ATOMIC_REQUESTS`.

        They open their own transactions. How a change affects live channels is only known after its
        commit, and the page that reports it must come after that.
        """
        urls: list[URLPattern] = [
            *self._order.urls(),
            *self._files.urls(),
            *self._trials.urls(),
            *self._preview.urls(),
            *super().get_urls(),
        ]
        for url in urls:
            transaction.non_atomic_requests(router.db_for_write(ChannelPolicy))(url.callback)
        return urls

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may publish and this admin site has the page for it."""
        return self.admin_site.is_registered(Publishing) and super().has_publish_permission(request)

    # ---- the list ----------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChannelPolicy]:
        """Prefetch the groups that the columns show."""
        rows: QuerySet[ChannelPolicy] = super().get_queryset(request)
        return rows.prefetch_related("groups")

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        """Use the list that knows which policies never decide."""
        return PolicyList

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """Make policies movable if all of them are shown in their order."""
        if self._order.is_sortable(request):
            return ("place", *self.list_display[1:])
        return self.list_display

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Pass the permissions to the list."""
        added = {"may_import": self._files.may_import(request)}
        view = super().changelist_view
        response = self.saved(request, lambda: view(request, {**added, **(extra_context or {})}))
        context = _context(response)
        if "cl" in context:
            context["cl"].last_row = self.last_row
            context["media"] += module_script("admin/ordering")
        return response

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description=SafeString('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, policy: ChannelPolicy) -> SafeString:
        """Render the checkbox."""
        return checkbox(policy.pk, policy.name)

    @admin.display(description=gettext_lazy("order"), ordering="order")
    def place(self, policy: ChannelPolicy) -> SafeString:
        """Render the position of a policy, and what moves it."""
        return self._order.place(policy)

    @admin.display(description=gettext_lazy("pattern"), ordering="pattern")
    def pattern_column(self, policy: ChannelPolicy) -> SafeString:
        """Show the pattern, from left to right in every language, and the options below it."""
        parts = re.split(r"(?<=.)(?=/.)", policy.pattern)
        options = ", ".join(_options(policy))
        return format_html(
            '<bdi dir="ltr">{}</bdi>{}',
            format_html_join(SafeString("<wbr>"), "{}", ((part,) for part in parts)),
            format_html('<div class="quiet hookbox-options">{}</div>', options) if options else "",
        )

    @admin.display(description=gettext_lazy("subscribe"), ordering="subscribe_audience")
    def subscribe_column(self, policy: Any) -> SafeString:
        """Who may subscribe."""
        return labelled(_("subscribe"), _audience(policy, policy.subscribe_audience))

    @admin.display(description=gettext_lazy("publish"), ordering="publish_audience")
    def publish_column(self, policy: Any) -> SafeString:
        """Who may publish, and a link to do so for users who may."""
        who = labelled(_("publish"), _audience(policy, policy.publish_audience))
        if not policy.hookbox_publish_url:
            return who
        name = _("Publish to the channels of “%(name)s”") % {"name": policy.name}
        return format_html(
            '{} <a href="{}" class="hookbox-publish" title="{}" aria-label="{}">{}</a>',
            who, policy.hookbox_publish_url, name, name, _("Publish…"),
        )  # fmt: skip

    @admin.display(description=gettext_lazy("on"), ordering="enabled")
    def is_on(self, policy: Any) -> SafeString:
        """Whether the policy is enabled."""
        if not policy.enabled:
            return badge(_("off"), "neutral")
        if policy.hookbox_shadowed_by:
            after = _("after %(names)s") % {"names": policy.hookbox_shadowed_by}
            return format_html("{} {}", badge(_("never decides"), "warning"), after)
        return badge(_("on"), "good")

    # ---- the form ----------------------------------------------------------------------------

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Place a new policy last unless the URL says otherwise."""
        last = ChannelPolicy.objects.aggregate(last=models.Max("order"))["last"]
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"order": GAP if last is None else last + GAP, **initial}

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Use a search field for groups if this admin site has a page for them."""
        page = self.admin_site._registry.get(Group)
        return ("groups",) if page is not None and page.search_fields else ()

    def formfield_for_dbfield(
        self, db_field: models.Field[object, object], request: HttpRequest, **kwargs: object
    ) -> Any:
        """Escape patterns in help texts, which the admin treats as HTML."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "pattern":
            # Without this, right-to-left languages would reorder the parts of a pattern.
            attrs = {
                "dir": "ltr",
                "spellcheck": "false",
                "class": "vLargeTextField hookbox-channel",
            }
            field.widget.attrs.update(attrs)
        if field is not None and "<" in str(field.help_text):
            field.help_text = escape(field.help_text)
        return field

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the live preview and links to the form's context."""
        policy = kwargs.get("obj")
        context["media"] += module_script("admin/json", "admin/policy")
        if policy is not None and policy.pk:
            pattern = texts.as_rule(policy).pattern
            names = examples(pattern) if pattern else []
            context["example"] = urlencode({"channel": names[0]}) if names else ""
            if self.has_publish_permission(request):
                url = self.address("changelist", model="publishing", policy=policy.pk)
                context["publish_url"] = url
        response = super().render_change_form(request, context, *args, **kwargs)
        if kwargs.get("add"):
            # Django focuses the first control of a new object's form: the name, not "Save".
            _context(response)["save_on_top"] = False
        return response

    @admin.display(description=gettext_lazy("matches"))
    def examples(self, policy: ChannelPolicy) -> SafeString:
        """Show example names that match the pattern, updated by a script."""
        return self._preview.examples(policy)

    @admin.display(description=gettext_lazy("in plain words"))
    def explained(self, policy: ChannelPolicy) -> SafeString:
        """Show what the policy does, in sentences, updated by a script."""
        return self._preview.explained(policy)

    # ---- saving ------------------------------------------------------------------------------

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Report after a save what it means for live channels."""
        view = super().changeform_view
        return self._followed(request, lambda: view(request, *args, **kwargs))

    def _followed(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Return the view's response, and report what live channels do if it changed a policy."""

        def listened() -> HttpResponse:
            with listening() as told:
                response = view()
            if request.method == "POST" and response.status_code == 302:
                self.say_who_follows(request, told)
            return response

        return self.saved(request, listened)

    def save_related(
        self, request: HttpRequest, form: ModelForm[Any], formsets: object, change: bool
    ) -> None:
        """Warn about what was saved."""
        super().save_related(request, form, formsets, change)
        self.warn(request, form.instance)

    def warn(self, request: HttpRequest, policy: ChannelPolicy, *, opened: bool = True) -> None:
        """Report warnings about a policy, and with `opened` what it opens to everybody."""
        earlier, later = around(order().rules, policy)
        known = texts.opened(policy)
        for warning in texts.warnings(policy, later, earlier):
            if opened or warning not in known:
                self.message_user(request, warning, messages.WARNING)

    def say_what_changed(
        self, request: HttpRequest, told: Sequence[Told], policy: ChannelPolicy
    ) -> None:
        """Report what a move means for live channels and for other policies."""
        self.warn(request, policy, opened=False)
        self.say_who_follows(request, told)

    def say_who_follows(self, request: HttpRequest, told: Sequence[Told]) -> None:
        """Report the process's answers to a change, which the receivers send after commit."""
        text, calm = texts.followed(told)
        self.message_user(request, text, messages.INFO if calm else messages.WARNING)

    # ---- deleting ----------------------------------------------------------------------------

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show who decides after a deletion, then report what live channels do."""
        view = super().delete_view
        response = self._followed(request, lambda: view(request, *args, **kwargs))
        if (policy := _context(response).get("object")) is not None:
            _context(response)["aftermath"] = aftermath([policy])
        return response

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ChannelPolicy]) -> None:
        """Delete several policies, and report what live channels do."""
        with listening() as told, writing(ChannelPolicy):
            super().delete_queryset(request, queryset)
        self.say_who_follows(request, told)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Show before deleting several policies who decides afterwards."""
        response = super().response_action(request, queryset, *args, **kwargs)
        context = _context(response)
        if "deletable_objects" in context:
            context["aftermath"] = aftermath(list(context["queryset"]))
        return response


def _options(policy: ChannelPolicy) -> list[str]:
    """Return the options that differ from the defaults."""
    facts: list[str] = []
    if policy.durable:
        facts.append(_("durable"))
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
    if isinstance(policy.polling, dict) and policy.polling.get("mode"):
        facts.append(_("polling"))
    if policy.server_presenceful:
        facts.append(_("server presence"))
    return facts


def _audience(policy: ChannelPolicy, audience: str) -> str:
    if audience == Audience.EVERYONE:
        return badge(_("everyone"), "warning")
    if audience == Audience.GROUPS:
        return ", ".join(group.name for group in policy.groups.all()) or _("no group")
    if audience == Audience.PERMISSION:
        return policy.permission
    return str(capfirst(Audience(audience).label))


def _context(response: HttpResponse | None) -> dict[str, Any]:
    """Return the context of a response that has not been rendered yet."""
    context = response.context_data if isinstance(response, TemplateResponse) else None
    return {} if context is None else context
