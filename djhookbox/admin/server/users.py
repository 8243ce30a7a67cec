"""The subpage of the server page about a user, and adding users to channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename, get_user_model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext as _

import djhookbox

from ... import client
from ...audit.addresses import stored
from ...bans import store as bans
from ...bans.rules import Kind, Subject
from ...exceptions import HookboxError
from ...models import Ban, ConnectionLog, Publication, SubscriptionLog
from ...policy.reserved import is_reserved
from ...users.accounts import find as account_named
from ...users.identity import ANONYMOUS, ANONYMOUS_PREFIX
from ...wire.names import find_fault
from ..logs.cells import divisible
from ..pages import unless_posted
from .base import ServerBase
from .channels import names_listed
from .report import Listing, moment_of, transport_label

if TYPE_CHECKING:
    from ...wire.answers import ListedConnection

SUBSCRIBE_PERMISSION = "djhookbox.subscribe_user"


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection of a user.

    Attributes:
        session_url: Where its session can be refused, or "".
        address_url: Where its address can be refused, or "".
        log_url: Where everything from its address is listed, or "".

    """

    id: str
    transport: str
    since: Any
    address: str
    user_agent: str
    origin: str
    unsent: str
    session_url: str
    address_url: str
    log_url: str


class UserPages(ServerBase):
    """The page of a user."""

    def has_subscribe_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may subscribe others."""
        return request.user.has_perm(SUBSCRIBE_PERMISSION)

    def user_view(self, request: HttpRequest) -> HttpResponse:
        """Show a user: connections, channels, and what can be done about them.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        name = request.GET.get("name", "")
        listed: Sequence[ListedConnection] = ()
        total, problem = 0, ""
        try:
            if name:
                found = client.list_connections(name)
                total, listed = found.total, found.connections
        except HookboxError as error:
            problem = str(error)
        if not listed and not problem:
            problem = _("This user is not currently connected.")
        rows = tuple(self._open(request, name, row) for row in listed)
        # All connections of a user share channels, except for private subscriptions.
        channels = dict.fromkeys(each for row in listed for each in row.channels)
        return self.page(
            request,
            "server_user.html",
            name or _("A user"),
            name=name,
            problem=problem,
            connections=Listing(max(total, len(rows)), rows),
            channels=names_listed(list(channels), ""),
            may_disconnect=self.has_disconnect_permission(request),
            may_subscribe=self.has_subscribe_permission(request) and bool(rows),
            account_url=self._account_url(request, name),
            ban_url=self._ban_url(request, Kind.USER, name, "") if name else "",
            ban=self._ban(request, name),
            trails=self.trails(
                request, logs=(ConnectionLog, SubscriptionLog, Publication), user_name=name
            ),
        )

    def subscribe_view(self, request: HttpRequest) -> HttpResponse:
        """Subscribe a user to a channel.

        Raises:
            PermissionDenied: The user may not.

        """
        self.require(self.has_subscribe_permission(request))
        user = (request.POST if request.method == "POST" else request.GET).get("user", "")
        url = self.address("user", name=user) if user else self.address("changelist")
        back = HttpResponseRedirect(url)
        if (answer := unless_posted(request, back)) is not None:
            return answer
        channel = request.POST.get("channel", "").strip()
        if not user or not channel:
            self.message_user(request, _("Choose a user and a channel."), messages.WARNING)
            return back
        if is_reserved(channel):
            self.message_user(request, _("This channel is reserved."), messages.ERROR)
            return back
        try:
            djhookbox.subscribe(channel, user)
        except HookboxError as error:
            self.message_user(request, str(error), messages.ERROR)
            return back
        self.enter(request, f"Subscribed {user} to {channel}.")
        text = _("%(user)s was subscribed to %(channel)s.") % {"user": user, "channel": channel}
        self.message_user(request, text, messages.SUCCESS)
        return back

    # ---- parts -------------------------------------------------------------------------------

    def _open(self, request: HttpRequest, name: str, row: ListedConnection) -> OpenConnection:
        session = row.identity if row.identity != ANONYMOUS else ""
        address = row.remote_addr
        return OpenConnection(
            id=row.conn_id,
            transport=transport_label(row.transport),
            since=moment_of(row.since),
            address=divisible(address),
            user_agent=row.user_agent,
            origin=divisible(row.origin),
            unsent=filesizeformat(row.unsent) if row.unsent else "",
            session_url=self._ban_url(request, Kind.SESSION, session, name),
            address_url=self._ban_url(request, Kind.ADDRESS, address, name),
            log_url=address
            and self.list_address(request, ConnectionLog, ip=stored(address) or address),
        )

    def _ban_url(self, request: HttpRequest, kind: Kind, value: str, about: str) -> str:
        """Return the URL for a ban, or "" if the user may not add one."""
        if not value or not self.admin_site.is_registered(Ban):
            return ""
        if not request.user.has_perm("djhookbox.add_ban"):
            return ""
        query = {"kind": kind.value, "value": value, **({"about": about} if about else {})}
        return self.address("add", model="ban", **query)

    def _ban(self, request: HttpRequest, name: str) -> tuple[str, str]:
        """Return why a user is banned, and the URL of the ban; "" if there is no ban."""
        entry = bans.find(Subject(name)) if name else None
        if entry is None:
            return "", ""
        text = _("This user is banned.")
        if entry.reason:
            text = _("This user is banned: %(reason)s") % {"reason": entry.reason}
        return text, self.list_address(request, Ban, id=entry.pk)

    def _account_url(self, request: HttpRequest, name: str) -> str:
        """Return the URL of a user's account in the admin, or ""."""
        model = get_user_model()
        opts = model._meta
        permission = f"{opts.app_label}.{get_permission_codename('view', opts)}"
        if not name or name.startswith(ANONYMOUS_PREFIX):
            return ""
        if not self.admin_site.is_registered(model) or not request.user.has_perm(permission):
            return ""
        account = None if find_fault(name) else account_named(name)
        if account is None:
            return ""
        page = f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_change"
        return reverse(page, args=[quote(account.pk)])
