"""Publish by hand: to one channel, or one message to several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from ...exceptions import HookboxError
from ...models import ChannelPolicy
from .. import live
from ..pages import TablelessMixin
from .message import MessageMixin, audience_text, vouching_text


class PublishingAdmin(MessageMixin, TablelessMixin):
    """A page in place of a list: a message, and who will receive it."""

    def get_urls(self) -> list[URLPattern]:
        """Return the routes of the page and of its script."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{prefix}_changelist"),
            path("channels/", view(self.channels_view), name=f"{prefix}_channels"),
            path("audience/", view(self.audience_view), name=f"{prefix}_audience"),
        ]

    # ---- permissions -------------------------------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the page to users who may publish."""
        return self.has_publish_permission(request)

    # ---- pages -------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Publish a message: `?channel=…` (repeatable), or `?policy=…` for a policy's channels.

        Raises:
            PermissionDenied: The user may not publish.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        return self.message_page(request, self._names(request), **(extra_context or {}))

    def channels_view(self, request: HttpRequest) -> HttpResponse:
        """Complete a channel name.

        Raises:
            PermissionDenied: The user may not publish.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        return live.completions(request)

    def audience_view(self, request: HttpRequest) -> HttpResponse:
        """Return how many connections a channel has, for the page's script.

        Raises:
            PermissionDenied: The user may not publish.

        """
        if not self.has_publish_permission(request):
            raise PermissionDenied
        name = request.GET.get("channel", "")
        if not name:
            return JsonResponse({"audience": "", "vouching": ""})
        targets, problem = self.targets([name])
        audience = audience_text(targets) if problem is None else str(problem)
        return JsonResponse({"audience": audience, "vouching": vouching_text(name)})

    # ---- parts -------------------------------------------------------------------------------

    def _names(self, request: HttpRequest) -> list[str]:
        """Return the requested channels, without duplicates."""
        if request.method == "POST":
            return self.posted_names(request)
        names = [name for name in request.GET.getlist("channel") if name]
        keys = [key for key in request.GET.getlist("policy") if key.isascii() and key.isdigit()]
        if keys:
            names += self._decided(request, keys)
        return list(dict.fromkeys(names))

    def _decided(self, request: HttpRequest, keys: Sequence[str]) -> list[str]:
        """Return the live channels covered by some policies, and report if there are none."""
        rows = ChannelPolicy.objects.filter(pk__in=[int(key) for key in keys if len(key) < 19])
        policies = dict(rows.values_list("name", "pattern"))
        try:
            targets, total = live.decided_by(policies)
        except HookboxError as error:
            self.message_user(request, str(error), messages.ERROR)
            # Channels that a policy names in full need not be listed by the process.
            return [pattern for pattern in policies.values() if "<" not in pattern]
        if total > len(targets):
            text = _(
                "There may be %(total)d such channels. These %(count)d have the most subscribers; "
                "publish to the others from code."
            )
            words = {"total": total, "count": len(targets)}
            self.message_user(request, text % words, messages.WARNING)
        elif not targets:
            text = _("This policy does not currently cover any live channel.")
            self.message_user(request, text, messages.INFO)
        return [target.name for target in targets]
