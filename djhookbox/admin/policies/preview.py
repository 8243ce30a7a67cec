"""Live preview of a policy's form: examples, an explanation, warnings."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ...exceptions import PatternError
from ...models import Audience, ChannelPolicy
from ...policy.examples import examples
from ...policy.patterns import compile_pattern
from ...policy.rules import Rule
from ..pages import PageMixin, route
from . import texts
from .listing import order

_AUDIENCES = ("create_audience", "subscribe_audience", "publish_audience")
_NUMBERS = ("order", "history_size", "history_duration")
_SWITCHES = ("enabled", "reflective", "presenceful", "anonymous")


class PolicyPreview:
    """Two fields of the form that follow what is typed.

    Args:
        model_admin: The admin of policies that uses this.

    """

    def __init__(self, model_admin: PageMixin) -> None:
        self._admin = model_admin

    def urls(self) -> list[URLPattern]:
        """Return the route that the form's script calls."""
        return [route(self._admin, "preview/", self.preview_view, "preview")]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the form's script without saving anything.

        Raises:
            PermissionDenied: The user may not see policies.

        """
        if not self._admin.has_view_permission(request) and not self._admin.has_add_permission(
            request
        ):
            raise PermissionDenied
        policy = _typed(request)
        problem = ""
        try:
            if policy.pattern:
                compile_pattern(policy.pattern)
        except PatternError as error:
            problem = str(error)
        keys = [key for key in request.GET.getlist("groups") if key.isascii() and key.isdigit()]
        rows = Group.objects.filter(pk__in=[int(key) for key in keys if len(key) < 19])
        groups = list(rows.order_by("name").values_list("name", flat=True)) if keys else []
        earlier, later = around(order().rules, policy)
        return JsonResponse(
            {
                "problem": problem,
                "examples": _examples(policy),
                "explained": texts.explained(policy, groups),
                "warnings": texts.warnings(policy, later, earlier),
            }
        )

    def examples(self, policy: ChannelPolicy) -> SafeString:
        """Show example names that match the pattern, updated by a script."""
        return format_html(
            '<div class="readonly hookbox-examples" id="hookbox-examples" role="status"'
            ' data-preview="{}" data-none="{}">{}</div>',
            self._admin.address("preview"),
            _("Enter a pattern to see examples."),
            format_html_join(" ", '<code dir="ltr">{}</code>', ((n,) for n in _examples(policy)))
            or _("Enter a pattern to see examples."),
        )

    def explained(self, policy: ChannelPolicy) -> SafeString:
        """Show what the policy does, in sentences, updated by a script."""
        groups = [group.name for group in policy.groups.all()] if policy.pk else []
        earlier, later = around(order().rules, policy)
        found = texts.warnings(policy, later, earlier) if policy.pattern else []
        return format_html(
            '<div class="readonly" role="status">'
            '<div id="hookbox-explained" data-none="{}">{}</div>'
            '<ul id="hookbox-warnings" class="hookbox-warnings">{}</ul></div>',
            _("Enter a pattern to see what the policy does."),
            format_html_join("", "<p>{}</p>", ((one,) for one in texts.explained(policy, groups))),
            format_html_join("", "<li>{}</li>", ((one,) for one in found)),
        )


def around(rules: Sequence[Rule], policy: ChannelPolicy) -> tuple[Sequence[Rule], Sequence[Rule]]:
    """Return the enabled policies tried before a policy, saved or not, and after it."""
    names = {"name": policy.name}
    if policy.pk:
        names = ChannelPolicy.objects.filter(pk=policy.pk).values("name").first() or names
    rest = [rule for rule in rules if rule.name != names["name"]]
    earlier = Q(order__lt=policy.order)
    if policy.pk:
        earlier |= Q(order=policy.order, pk__lt=policy.pk)
    else:
        earlier |= Q(order=policy.order)
    others = ChannelPolicy.objects.filter(enabled=True).exclude(name=names["name"])
    count = others.filter(earlier).count()
    return rest[:count], rest[count:]


def _typed(request: HttpRequest) -> ChannelPolicy:
    """Return the policy in a form; invalid fields keep their defaults."""
    # PostgreSQL refuses to compare texts with NUL, which the form refuses to save.
    typed: dict[str, object] = {
        name: request.GET.get(name, "").replace("\0", "")
        for name in ("name", "pattern", "permission")
    }
    key = request.GET.get("pk", "")
    if key.isascii() and key.isdigit() and len(key) < 19:
        typed["pk"] = int(key)
    for name in _AUDIENCES:
        if request.GET.get(name) in Audience.values:
            typed[name] = request.GET[name]
    for name in _NUMBERS:
        text = request.GET.get(name, "")
        if text.removeprefix("-").isdecimal() and len(text) < 10:
            typed[name] = int(text)
    for name in _SWITCHES:
        typed[name] = name in request.GET
    return ChannelPolicy(**typed)


def _examples(policy: ChannelPolicy) -> list[str]:
    rule = texts.as_rule(policy)
    return examples(rule.pattern) if rule.pattern else []
