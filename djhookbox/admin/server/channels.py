"""The subpage of the server page about a live channel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

import djhookbox

from ... import client
from ...audit.payloads import masked
from ...exceptions import HookboxError, HookboxRefused
from ...models import ChannelPolicy, Publication, SubscriptionLog
from ...querysets import has_text
from ...wire import values
from ..live import policy_of
from ..pages import encodable, module_script, pretty_json, unless_posted
from .report import Listing, rate, whole
from .tail import PAYLOAD_PERMISSION, TailPages

#: Rows of a list on these pages at most.
LISTED = 100
#: Characters of a history or a state that are shown at most.
SHOWN = 20_000

#: Options that are shown separately.
APART = ("history", "state")


class ChannelPages(TailPages):
    """The page of a channel."""

    def channel_view(self, request: HttpRequest) -> HttpResponse:
        """Show a live channel: its options, subscribers, history and state.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        name = request.GET.get("name", "")
        info: Mapping[str, object] = {}
        problem = ""
        try:
            info = djhookbox.channel_info(name)
        except HookboxRefused as error:
            problem = str(error)
            if error.code == "no_channel":
                problem = _("This channel is not currently in use.")
        except HookboxError as error:
            problem = str(error)
        options = info.get("options")
        known: Mapping[str, object] = options if isinstance(options, Mapping) else {}
        search = request.GET.get("q", "")
        return self.page(
            request,
            "server_channel.html",
            name or _("A channel"),
            name=name,
            problem=problem,
            options=[(key, pretty_json(known[key])) for key in sorted(known) if key not in APART],
            subscribers=names_listed(info.get("subscribers"), search),
            search=search,
            may_see_payload=request.user.has_perm(PAYLOAD_PERMISSION),
            **(self.tail_context(request, name) if not problem else {}),
            tail_settings=self.tail_settings(name),
            media=self.media + module_script("admin/tail.min"),
            history=_shortened(known.get("history")),
            state=_state(known.get("state")),
            may_change_state=self.has_state_permission(request),
            decider=self._decider(request, name),
            counts=_counts(name) if not problem else (),
            created=self._created(request, name),
            may_disconnect=self.has_disconnect_permission(request),
            publish_url=self.publish_address(request, channel=name),
            try_url=self.try_address(request, channel=name),
            trails=self.trails(request, logs=(SubscriptionLog, Publication), channel=name),
        )

    def has_state_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may change states: who publishes and sees what is in them."""
        may_see = request.user.has_perm(PAYLOAD_PERMISSION)
        return may_see and self.has_publish_permission(request)

    def state_view(self, request: HttpRequest) -> HttpResponse:
        """Set or delete a key of a channel's state.

        Raises:
            PermissionDenied: The user may not.

        """
        self.require(self.has_state_permission(request))
        sent = request.POST if request.method == "POST" else request.GET
        name, key = sent.get("name", ""), sent.get("key", "").strip()
        url = self.address("channel", name=name) if name else self.address("changelist")
        back = HttpResponseRedirect(url)
        if (answer := unless_posted(request, back)) is not None:
            return answer
        if not name or not key:
            self.message_user(request, _("Enter a key."), messages.WARNING)
            return back
        try:
            if "delete" in sent:
                djhookbox.state_delete(name, key)
                done, text = "Deleted", _("%(key)s was deleted from the state.")
            else:
                djhookbox.state_set(name, key, values.loads(sent.get("value", "")))
                done, text = "Set", _("%(key)s was set in the state.")
        except ValueError as error:
            # Also the errors of names and payloads, which say what is wrong.
            text = _("This is not JSON.") if not isinstance(error, HookboxError) else str(error)
            self.message_user(request, text, messages.ERROR)
            return back
        except HookboxError as error:
            self.message_user(request, str(error), messages.ERROR)
            return back
        self.enter(request, f"{done} the key {key} of the state of {name}.")
        self.message_user(request, text % {"key": key}, messages.SUCCESS)
        return back

    # ---- parts -------------------------------------------------------------------------------

    def _decider(self, request: HttpRequest, name: str) -> tuple[str, str]:
        """Return which policy decides about a channel now, and where it is; or that none does."""
        try:
            rule = policy_of(name)
        except DatabaseError:
            return "", ""
        if rule is None:
            return _("No policy matches; handlers decide."), ""
        if rule.reserved:
            return _("Reserved for this package."), ""
        url = self.list_address(request, ChannelPolicy, name=rule.name)
        return _("The policy “%(name)s” decides.") % {"name": rule.name}, url

    def _created(self, request: HttpRequest, name: str) -> object:
        """Return the entry of the log for the channel's creation, if the user may see it."""
        if not request.user.has_perm("djhookbox.view_subscriptionlog"):
            return None
        event = SubscriptionLog.Event.CREATE
        rows = SubscriptionLog.objects.filter(has_text("channel", name.replace("\0", "")))
        try:
            return rows.filter(event=event).order_by("-created", "-id").first()
        except DatabaseError:
            return None


def names_listed(value: object, search: str) -> Listing[str]:
    """Return the names that contain a text, the first of them."""
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    part = search.casefold()
    found = [name for name in names if part in name.casefold()]
    return Listing(len(found), tuple(found[:LISTED]))


def _state(value: object) -> list[tuple[str, str]]:
    """Return the keys of a state and their values for display."""
    if not isinstance(value, Mapping):
        return []
    shown: Any = masked(value)
    return [
        (encodable(str(key)), _shortened(shown[key]) or pretty_json(shown[key]))
        for key in sorted(shown)
    ]


def _counts(name: str) -> list[tuple[str, str]]:
    """Return how many connections a channel has, and how busy it is; nothing if that is unknown."""
    try:
        found = client.list_channels(limit=1, patterns=[re.escape(name)]).channels
    except HookboxError:
        return []
    pairs = [
        pair
        for one in found
        for pair in (
            (_("Users"), whole(one.subscribers)),
            (_("Connections"), whole(one.connections)),
            (_("Messages per second"), rate(one.rate)),
        )
    ]
    return [(label, value) for label, value in pairs if value]


def _shortened(value: object) -> str:
    """Format a value for display, shortened if long; "" if it is empty."""
    if not value:
        return ""
    text = pretty_json(masked(value))
    return text if len(text) <= SHOWN else text[:SHOWN] + "\n…"
