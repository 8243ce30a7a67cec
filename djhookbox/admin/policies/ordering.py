"""Reorder policies by dragging, by buttons or by number, without gaps to manage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ...commits import writing
from ...models import ChannelPolicy
from ...notices import Told, listening
from ..pages import PageMixin, route

logger = logging.getLogger("djhookbox")

#: The distance between two policies after a move.
GAP = 10


class PolicyOrder:
    """Moves policies; each move renumbers all of them.

    Args:
        model_admin: The admin of policies that uses this.
        say_what_changed: Reports what a move means for live channels and for other policies.

    """

    def __init__(
        self,
        model_admin: PageMixin,
        say_what_changed: Callable[[HttpRequest, Sequence[Told], ChannelPolicy], None],
    ) -> None:
        self._admin = model_admin
        self._say_what_changed = say_what_changed

    def urls(self) -> list[URLPattern]:
        """Return the route that moves a policy."""
        return [route(self._admin, "move/", self.move_view, "move")]

    def is_sortable(self, request: HttpRequest) -> bool:
        """Return whether the list shows all policies in their order, so that they can be moved."""
        return set(request.GET) <= {"p"} and self._admin.has_change_permission(request)

    def place(self, policy: Any) -> SafeString:
        """Render the number, a drag handle and two buttons."""
        pk = policy.pk
        return format_html(
            '<span class="hookbox-place">'
            '<button type="button" class="hookbox-handle" id="hookbox-handle-{pk}" hidden'
            ' aria-label="{drag}" title="{drag}" data-policy="{pk}">⠿</button>'
            '<span class="hookbox-number">{number}</span>'
            '<button type="submit" formaction="{url}" name="move" value="{pk}:up"'
            ' id="hookbox-up-{pk}" class="hookbox-arrow" aria-label="{up}" title="{up}">▲</button>'
            '<button type="submit" formaction="{url}" name="move" value="{pk}:down"'
            ' id="hookbox-down-{pk}" class="hookbox-arrow" aria-label="{down}" title="{down}">▼'
            "</button></span>",
            pk=pk,
            number=policy.order,
            url=policy.hookbox_move_url,
            drag=_("Move “%(name)s” by dragging or with the arrow keys") % {"name": policy.name},
            up=_("Move “%(name)s” up") % {"name": policy.name},
            down=_("Move “%(name)s” down") % {"name": policy.name},
        )

    def move_view(self, request: HttpRequest) -> HttpResponse:
        """Move one policy: `move` is its key with `:up`, `:down`, or `:before:` and another key.

        Raises:
            PermissionDenied: The user may not change policies.

        """
        if not self._admin.has_change_permission(request):
            raise PermissionDenied
        changelist = self._admin.address("changelist")
        if request.method == "GET":  # after a login, if the session had ended
            return HttpResponseRedirect(changelist)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        key, _colon, where = request.POST.get("move", "").partition(":")
        try:
            with listening() as told, writing(ChannelPolicy):
                moved = _move(key, where)
                if moved is not None and moved[1] != moved[2]:
                    text = f"Moved from position {moved[1]} to {moved[2]}."
                    self._admin.log_change(request, moved[0], text)
        except DatabaseError:
            logger.exception("Could not move a policy.")
            text = _("The database rejected the change.")
            self._admin.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(changelist)
        if moved is None:
            text = _("The policies have changed in the meantime. Nothing was moved.")
            self._admin.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(changelist)
        policy, before, now, count = moved
        if before == now:
            text = _("“%(name)s” was not moved.") % {"name": policy.name}
            self._admin.message_user(request, text, messages.INFO)
        else:
            words = {"name": policy.name, "place": now, "count": count}
            text = _("“%(name)s” is now number %(place)d of %(count)d.") % words
            self._admin.message_user(request, text, messages.SUCCESS)
            self._say_what_changed(request, told, policy)
        # The fragment keeps the focus on the button, so that it can be pressed again.
        name = where if where in ("up", "down") else "handle"
        return HttpResponseRedirect(f"{changelist}#hookbox-{name}-{policy.pk}")


def _move(key: str, where: str) -> tuple[Any, int, int, int] | None:
    """Move a policy; return it, its old and new position, and the number of policies."""
    policies = list(ChannelPolicy.objects.select_for_update().order_by("order", "pk"))
    keys = [str(policy.pk) for policy in policies]
    if key not in keys:
        return None
    before = keys.index(key)
    policy = policies.pop(before)
    rest = [one for one in keys if one != key]
    if where == "up":
        now = max(0, before - 1)
    elif where == "down":
        now = min(len(rest), before + 1)
    else:
        kind, _colon, other = where.partition(":")
        if kind != "before" or (other and other not in rest):
            return None
        now = rest.index(other) if other else len(rest)
    policies.insert(now, policy)
    if now == before:
        return policy, before + 1, now + 1, len(policies)
    for index, one in enumerate(policies):
        number = (index + 1) * GAP
        if one is policy:
            one.order = number
            one.save()  # the model's signals notify live channels
        elif one.order != number:
            # The others keep their relative order, so that nothing changes for their channels.
            ChannelPolicy.objects.filter(pk=one.pk).update(order=number)
    return policy, before + 1, now + 1, len(policies)
