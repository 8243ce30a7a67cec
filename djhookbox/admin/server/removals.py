"""Disconnect or unsubscribe users, after confirmation."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

import djhookbox

from ... import client
from ...exceptions import HookboxError, HookboxRefused
from .base import ServerBase

#: Bytes of a reason at most: what fits into a WebSocket close frame.
REASON_BYTES = 120


class ReasonForm(forms.Form):
    """The reason that is sent to the affected pages."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=REASON_BYTES,
        widget=AdminTextInputWidget,
        help_text=gettext_lazy("Sent to the affected pages; may be empty."),
    )

    def clean_reason(self) -> str:
        """Reject a reason that does not fit into a close frame."""
        reason: str = self.cleaned_data["reason"]
        if len(reason.encode()) > REASON_BYTES:
            raise ValidationError(
                _("This is too long: non-ASCII characters take two to four of the %(bytes)d bytes.")
                % {"bytes": REASON_BYTES},
                code="max_length",
            )
        return reason


class Removals(ServerBase):
    """The two ways to remove a user."""

    def disconnect_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then close all connections of a user, or one of them.

        Raises:
            PermissionDenied: The user may not.

        """
        self.require(self.has_disconnect_permission(request))
        user, connection = request.GET.get("user", ""), request.GET.get("connection", "")
        if not user and not connection:
            return self.leave(request, _("Choose a connection or a user."), messages.WARNING)
        try:
            if request.method == "POST":
                form = ReasonForm(request.POST)
                if form.is_valid():
                    return self._disconnect(request, user, connection, form.cleaned_data["reason"])
            else:
                form = ReasonForm()
            count = _count(user, connection)
        except HookboxError as error:
            return self.leave(request, str(error), messages.ERROR)
        if not count:
            return self.leave(request, _gone(user or connection), messages.WARNING)
        if connection:
            title = _("Disconnect this connection of %(user)s?") if user else _("Disconnect?")
            title, button = title % {"user": user}, _("Disconnect")
        else:
            title = _("Disconnect %(user)s?") % {"user": user}
            button = ngettext(
                "Close %(count)d connection", "Close %(count)d connections", count
            ) % {"count": count}
        effect = ngettext(
            "%(count)d connection is closed. Its page does not reconnect until it is reloaded.",
            "%(count)d connections are closed. Their pages do not reconnect until they are "
            "reloaded.",
            count,
        ) % {"count": count}
        after = _("Nothing else changes: users who reload a page connect as before.")
        return self._ask(request, title, form, [effect, after], button)

    def unsubscribe_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then unsubscribe a user from a channel.

        Raises:
            PermissionDenied: The user may not.

        """
        self.require(self.has_disconnect_permission(request))
        user, channel = request.GET.get("user", ""), request.GET.get("channel", "")
        if not user or not channel:
            return self.leave(request, _("Choose a user and a channel."), messages.WARNING)
        try:
            if request.method == "POST":
                form = ReasonForm(request.POST)
                if form.is_valid():
                    return self._unsubscribe(request, user, channel, form.cleaned_data["reason"])
            else:
                form = ReasonForm()
                if not _is_inside(user, channel):
                    return self.leave(request, _not_inside(user, channel), messages.WARNING)
        except HookboxError as error:
            return self.leave(request, str(error), messages.ERROR)
        sentences = [
            _("All of the user's connections leave the channel."),
            _("The user may subscribe again immediately unless a policy or a handler refuses."),
        ]
        title = _("Unsubscribe %(user)s from %(channel)s?") % {"user": user, "channel": channel}
        return self._ask(request, title, form, sentences, _("Unsubscribe"))

    # ---- parts -------------------------------------------------------------------------------

    def _ask(
        self, request: HttpRequest, title: str, form: ReasonForm, sentences: list[str], button: str
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        return self.page(
            request, "server_removal.html", title, sentences=sentences, button=button,
            danger=True, cancel=self.address("changelist"), form=form,
            adminform=AdminForm(form, [(None, {"fields": ["reason"]})], {}),  # type: ignore[arg-type]
        )  # fmt: skip

    def _disconnect(
        self, request: HttpRequest, user: str, connection: str, reason: str
    ) -> HttpResponse:
        count = djhookbox.disconnect(user or None, connection=connection or None, reason=reason)
        if not count:
            return self.leave(request, _gone(user or connection), messages.WARNING)
        whose = f"{user or 'a connection'}, connection {connection}" if connection else user
        self.enter(request, _entry(f"Disconnected {whose} ({count})", reason))
        text = ngettext(
            "%(count)d connection of %(user)s was closed.",
            "%(count)d connections of %(user)s were closed.",
            count,
        ) % {"count": count, "user": user or connection}
        return self.leave(request, text, messages.SUCCESS)

    def _unsubscribe(
        self, request: HttpRequest, user: str, channel: str, reason: str
    ) -> HttpResponse:
        if not _is_inside(user, channel):
            return self.leave(request, _not_inside(user, channel), messages.WARNING)
        djhookbox.unsubscribe(channel, user, reason=reason)
        self.enter(request, _entry(f"Unsubscribed {user} from {channel}", reason))
        text = _("%(user)s was unsubscribed from %(channel)s.") % {"user": user, "channel": channel}
        return self.leave(request, text, messages.SUCCESS)


def _count(user: str, connection: str) -> int:
    """Return how many connections would be closed."""
    if not user:
        return 1  # the user of the connection is unknown until it is closed
    found = client.list_connections(user)
    if not connection:
        return found.total
    return sum(row.conn_id == connection for row in found.connections)


def _is_inside(user: str, channel: str) -> bool:
    try:
        subscribers = djhookbox.channel_info(channel).get("subscribers")
    except HookboxRefused as error:
        if error.code != "no_channel":
            raise
        return False
    return isinstance(subscribers, list) and user in subscribers


def _gone(name: str) -> str:
    return _(
        "%(name)s is no longer connected; the connection may have been closed by somebody else."
    ) % {"name": name}


def _not_inside(user: str, channel: str) -> str:
    return _("%(user)s is no longer subscribed to %(channel)s.") % {
        "user": user,
        "channel": channel,
    }


def _entry(deed: str, reason: str) -> str:
    return f"{deed}: {reason}" if reason else f"{deed}."
