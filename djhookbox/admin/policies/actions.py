"""Actions on several policies."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...commits import writing
from ...models import ChannelPolicy
from ...notices import listening

if TYPE_CHECKING:
    from .page import ChannelPolicyAdmin


@admin.action(permissions=["change"], description=gettext_lazy("Enable"))
def enable(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
) -> None:
    """Enable policies."""
    with listening() as told:
        switched, rest = _switch(model_admin, request, queryset, enabled=True)
    count = len(switched)
    done = ngettext("%(count)d policy enabled.", "%(count)d policies enabled.", count)
    already = ngettext(
        "%(count)d policy was already enabled.", "%(count)d policies were already enabled.", rest
    )
    _tell(model_admin, request, messages.SUCCESS, done, count)
    _tell(model_admin, request, messages.INFO, already, rest)
    for policy in switched:
        model_admin.warn(request, policy)
    if switched:
        model_admin.say_who_follows(request, told)


@admin.action(permissions=["change"], description=gettext_lazy("Disable"))
def disable(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
) -> None:
    """Disable policies."""
    with listening() as told:
        switched, rest = _switch(model_admin, request, queryset, enabled=False)
    count = len(switched)
    done = ngettext("%(count)d policy disabled.", "%(count)d policies disabled.", count)
    already = ngettext(
        "%(count)d policy was already disabled.", "%(count)d policies were already disabled.", rest
    )
    _tell(model_admin, request, messages.SUCCESS, done, count)
    _tell(model_admin, request, messages.INFO, already, rest)
    if switched:
        model_admin.say_who_follows(request, told)


def _tell(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, level: int, text: str, count: int
) -> None:
    """Show a message about a number of policies, unless it is 0."""
    if count:
        model_admin.message_user(request, text % {"count": count}, level)


def _switch(
    model_admin: ChannelPolicyAdmin,
    request: HttpRequest,
    queryset: QuerySet[ChannelPolicy],
    *,
    enabled: bool,
) -> tuple[list[ChannelPolicy], int]:
    """Return the policies that were switched, and the number of those that need not be."""
    label = capfirst(str(ChannelPolicy._meta.get_field("enabled").verbose_name))
    with writing(ChannelPolicy):
        # Now: afterwards, a list that is filtered by `enabled` no longer contains them.
        rest = queryset.filter(enabled=enabled).count()
        switched = list(queryset.filter(enabled=not enabled))
        for policy in switched:
            policy.enabled = enabled
            policy.save()  # one by one: the model's signals notify live channels
            model_admin.log_change(request, policy, [{"changed": {"fields": [label]}}])
    return switched, rest


@admin.action(permissions=["add"], description=gettext_lazy("Duplicate"))
def duplicate(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
) -> HttpResponse | None:
    """Duplicate policies; a copy is disabled until somebody has reviewed it."""
    with writing(ChannelPolicy):
        copies = [_copy(model_admin, request, policy) for policy in queryset]
    text = ngettext(
        "%(count)d policy duplicated. The copy is disabled: edit and enable it.",
        "%(count)d policies duplicated. The copies are disabled: edit and enable them.",
        len(copies),
    )
    model_admin.message_user(request, text % {"count": len(copies)}, messages.SUCCESS)
    if len(copies) == 1 and model_admin.has_change_permission(request, copies[0]):
        return HttpResponseRedirect(model_admin.address("change", copies[0].pk))
    return None


def _copy(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, policy: ChannelPolicy
) -> ChannelPolicy:
    # Without the prefetched groups, which belong to the original.
    copy = ChannelPolicy.objects.get(pk=policy.pk)
    copy.pk = None
    copy._state.adding = True
    copy.name = _free_name(policy.name)
    copy.enabled = False
    copy.created = copy.modified = timezone.now()
    copy.save()
    copy.groups.set(policy.groups.all())
    model_admin.log_addition(request, copy, [{"added": {}}])
    return copy


@admin.action(permissions=["publish"], description=gettext_lazy("Publish to their channels…"))
def publish_to_channels(
    model_admin: ChannelPolicyAdmin, request: HttpRequest, queryset: QuerySet[ChannelPolicy]
) -> HttpResponse:
    """Redirect to the page that publishes one message to the policies' channels."""
    keys = queryset.order_by("order", "pk").values_list("pk", flat=True)
    query = urlencode([("policy", key) for key in keys])
    return HttpResponseRedirect(f"{model_admin.address('changelist', model='publishing')}?{query}")


def _free_name(name: str) -> str:
    longest = ChannelPolicy._meta.get_field("name").max_length or 100
    number = 1
    while True:
        suffix = _(" (copy)") if number == 1 else _(" (copy %(number)d)") % {"number": number}
        copy = name[: longest - len(suffix)] + suffix
        if not ChannelPolicy.objects.filter(name=copy).exists():
            return copy
        number += 1
