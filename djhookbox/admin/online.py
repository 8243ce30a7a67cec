"""Show on the admin's list of users who is online.

from django.contrib.auth.admin import UserAdmin
from djhookbox.admin.online import OnlineAdminMixin

@admin.register(User)
class MyUserAdmin(OnlineAdminMixin, UserAdmin): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import online
from ..exceptions import HookboxError

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object


class OnlineFilter(admin.SimpleListFilter):
    """Filters users by whether they are online."""

    title = gettext_lazy("online")
    parameter_name = "online"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Model]
    ) -> Sequence[tuple[str, Any]]:
        """Return the choices."""
        return [("1", gettext_lazy("Online")), ("0", gettext_lazy("Offline"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Filter by the annotation that the mixin has added."""
        if self.value() in ("0", "1"):
            return queryset.filter(is_online=self.value() == "1")
        return queryset


class OnlineAdminMixin(_Base):
    """Adds the columns “online” and “last seen”, and a filter, to the list of users.

    The process is asked once for each list, whatever its length.
    """

    def get_list_display(self, request: HttpRequest) -> Any:
        """Add the columns."""
        return [*super().get_list_display(request), "hookbox_is_online", "hookbox_last_seen"]

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Add the filter."""
        return [*super().get_list_filter(request), OnlineFilter]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Annotate the list."""
        rows = super().get_queryset(request)
        if not _is_list(request):
            return rows
        return online.with_last_seen(online.with_online(rows, _names(request)))

    @admin.display(description=gettext_lazy("online"), boolean=True, ordering="is_online")
    def hookbox_is_online(self, user: Any) -> bool:
        """Return the annotation."""
        return bool(user.is_online)

    @admin.display(description=gettext_lazy("last seen"), ordering="last_seen", empty_value="-")
    def hookbox_last_seen(self, user: Any) -> Any:
        """Return the annotation."""
        return user.last_seen


def _is_list(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and (match.url_name or "").endswith("_changelist")


def _names(request: HttpRequest) -> frozenset[str]:
    """Return who is online, asking once for each request."""
    known: frozenset[str] | None = getattr(request, "_hookbox_online", None)
    if known is None:
        try:
            known = online.names()
        except HookboxError as error:
            known = frozenset()
            text = _("Cannot determine who is online: %(problem)s") % {"problem": error}
            messages.warning(request, text)
        request._hookbox_online = known  # type: ignore[attr-defined]
    return known
