"""The subpages of the server page: a live channel, and a connected user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ... import api, client
from ...audit.payloads import masked
from ...exceptions import HookboxError, HookboxRefused
from ...models import ConnectionLog, Publication, SubscriptionLog
from ...wire.answers import ConnectionList
from ..pages import pretty_json
from .base import ServerBase
from .report import Listing, moment_of, transport_label

#: Rows of a list on these pages at most.
LISTED = 100
#: Characters of a history or a state that are shown at most.
SHOWN = 20_000

#: Options that are shown separately.
APART = ("history", "state")


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection of a user."""

    id: str
    transport: str
    since: Any


class Details(ServerBase):
    """The pages that the lists of the server page link to."""

    def channel_view(self, request: HttpRequest) -> HttpResponse:
        """Show a live channel: its options, subscribers, history and state.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        name = request.GET.get("name", "")
        info: Mapping[str, Any] = {}
        problem = ""
        try:
            info = api.channel_info(name)
        except HookboxRefused as error:
            problem = str(error)
            if error.code == "no_channel":
                problem = _("This channel is not currently in use.")
        except HookboxError as error:
            problem = str(error)
        options = info.get("options")
        known: Mapping[str, Any] = options if isinstance(options, Mapping) else {}
        search = request.GET.get("q", "")
        return self.page(
            request,
            "server_channel.html",
            name or _("A channel"),
            name=name,
            problem=problem,
            options=[(key, pretty_json(known[key])) for key in sorted(known) if key not in APART],
            subscribers=_names(info.get("subscribers"), search),
            search=search,
            may_see_payload=request.user.has_perm("djhookbox.view_payload"),
            history=_shortened(known.get("history")),
            state=_shortened(known.get("state")),
            may_disconnect=self.has_disconnect_permission(request),
            publish_url=self.publish_address(request, channel=name),
            try_url=self.try_address(request, channel=name),
            trails=self.trails(request, logs=(SubscriptionLog, Publication), channel=name),
        )

    def user_view(self, request: HttpRequest) -> HttpResponse:
        """Show a connected user: connections and channels.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        name = request.GET.get("name", "")
        found = ConnectionList()
        problem = ""
        try:
            found = client.list_connections(name) if name else found
        except HookboxError as error:
            problem = str(error)
        if not found.connections and not problem:
            problem = _("This user is not currently connected.")
        connections = Listing(
            max(found.total, len(found.connections)),
            tuple(
                OpenConnection(row.conn_id, transport_label(row.transport), moment_of(row.since))
                for row in found.connections
            ),
        )
        # All connections of a user share channels, except for private subscriptions.
        channels = dict.fromkeys(name for row in found.connections for name in row.channels)
        return self.page(
            request,
            "server_user.html",
            name or _("A user"),
            name=name,
            problem=problem,
            connections=connections,
            channels=_names(list(channels), ""),
            may_disconnect=self.has_disconnect_permission(request),
            trails=self.trails(
                request, logs=(ConnectionLog, SubscriptionLog, Publication), user_name=name
            ),
        )


def _names(value: object, search: str) -> Listing[str]:
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    part = search.casefold()
    found = [name for name in names if part in name.casefold()]
    return Listing(len(found), tuple(found[:LISTED]))


def _shortened(value: object) -> str:
    """Format a value for display, shortened if long; "" if it is empty."""
    if not value:
        return ""
    text = pretty_json(masked(value))
    return text if len(text) <= SHOWN else text[:SHOWN] + "\n…"
