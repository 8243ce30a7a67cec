"""What the server page and its subpages share: permissions and links."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Model
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    HttpResponseRedirect,
)
from django.utils import translation

from ...models import ChannelPolicy, ConnectionLog, Publication, Publishing, Server, SubscriptionLog
from ..pages import TablelessMixin
from .report import etag

logger = logging.getLogger("djhookbox")

#: Required for both disconnecting and unsubscribing.
DISCONNECT_PERMISSION = "djhookbox.disconnect_user"


class ServerBase(TablelessMixin):
    """Base class of the pages about the process."""

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may start and stop the process."""
        return request.user.has_perm("djhookbox.control_server")

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may disconnect and unsubscribe others."""
        return request.user.has_perm(DISCONNECT_PERMISSION)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Allow the page to users who may act on it."""
        return (
            super().has_view_permission(request, obj)
            or self.has_control_permission(request)
            or self.has_disconnect_permission(request)
        )

    def require(self, allowed: bool) -> None:
        """Raise unless something is allowed.

        Raises:
            PermissionDenied: It is not.

        """
        if not allowed:
            raise PermissionDenied

    def enter(self, request: HttpRequest, text: str) -> None:
        """Record an action in the admin's history, in English, as Django stores its own."""
        self.enter_about(request, Server(pk=1), text)

    def leave(self, request: HttpRequest, text: str, level: int) -> HttpResponseRedirect:
        """Redirect to the server page with a message."""
        self.message_user(request, text, level)
        return HttpResponseRedirect(self.address("changelist"))

    def live_part(
        self, request: HttpRequest, template: str, context: Mapping[str, object], *shown: object
    ) -> HttpResponse:
        """Return the part of a page that changes, or 304 if the script has it already.

        Args:
            request: The request of the script.
            template: The template of the part.
            context: What the template needs.
            shown: The values that the part shows.

        """
        tag = etag(translation.get_language(), *shown)
        response: HttpResponse
        if request.headers.get("If-None-Match") == tag:
            response = HttpResponseNotModified()
        else:
            response = self.page(request, template, "", **context)
        response.headers["ETag"] = tag
        return response

    # ---- other pages -------------------------------------------------------------------------

    def list_address(self, request: HttpRequest, model: type[models.Model], **query: object) -> str:
        """Return the URL of a list, or "" if this site has none or the user may not see it."""
        opts = model._meta
        permission = f"{opts.app_label}.{get_permission_codename('view', opts)}"
        if not self.admin_site.is_registered(model) or not request.user.has_perm(permission):
            return ""
        return self.address("changelist", model=str(opts.model_name), **query)

    def publish_address(self, request: HttpRequest, **query: object) -> str:
        """Return the URL of the page that publishes, or "" if the user has none."""
        if not self.admin_site.is_registered(Publishing):
            return ""
        if not self.has_publish_permission(request):
            return ""
        return self.address("changelist", model="publishing", **query)

    def try_address(self, request: HttpRequest, **query: object) -> str:
        """Return the URL of the page that tries a channel, or "" if the user has none."""
        seen = self.list_address(request, ChannelPolicy)
        return seen and self.address("try", model="channelpolicy", **query)

    def trails(
        self, request: HttpRequest, *, logs: tuple[type[models.Model], ...] = (), **query: object
    ) -> list[tuple[str, str]]:
        """Return the lists in which something can be followed, with their names."""
        kinds = logs or (ConnectionLog, SubscriptionLog, Publication)
        found = [
            (self.list_address(request, kind, **query), str(kind._meta.verbose_name_plural))
            for kind in kinds
        ]
        return [(url, name) for url, name in found if url]
