"""The latest messages of a live channel, which the page of a channel keeps up to date."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ... import client
from ...audit.payloads import compact, masked
from ...exceptions import HookboxError, HookboxRefused
from ...wire import values
from ..pages import encodable
from .base import ServerBase
from .report import moment_of

if TYPE_CHECKING:
    from ...wire.answers import Tailed

PAYLOAD_PERMISSION = "djhookbox.view_payload"

#: Characters of a payload that are shown at most.
SHOWN = 1000


@dataclass(frozen=True, slots=True)
class TailRow:
    """A message in the tail.

    Attributes:
        payload: The beginning of the message, with sensitive fields masked; None if it is not
            shown.

    """

    offset: int
    at: datetime.datetime | None
    user: str
    payload: str | None


class TailPages(ServerBase):
    """The part of a channel's page that shows what was published lately."""

    def tail_view(self, request: HttpRequest) -> HttpResponse:
        """Return the part of the page that changes, for its script.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        context = self.tail_context(request, request.GET.get("name", ""))
        return self.live_part(request, "server_tail.html", context, sorted(context.items()))

    def tail_context(self, request: HttpRequest, name: str) -> dict[str, object]:
        """Return what `server_tail.html` needs."""
        shows = request.user.has_perm(PAYLOAD_PERMISSION)
        rows: list[TailRow] = []
        note = ""
        try:
            found = client.tail(name, payloads=shows)
        except HookboxRefused as error:
            if error.code == "no_channel":
                note = _("This channel is not currently in use.")
            else:  # an older process, or the genuine Hookbox
                note = _("The process cannot list the latest messages.")
        except HookboxError as error:
            note = str(error)
        else:
            rows = [_row(one, shows) for one in found.publications]
            if not found.kept:
                note = _(
                    "The channel keeps no messages: it has no history, and "
                    "HOOKBOX_RECOVERY_SECONDS is 0."
                )
            elif not rows:
                note = _("Nothing has been published lately.")
        return {"tail": rows, "tail_note": note, "tail_payloads": shows}

    def tail_settings(self, name: str) -> dict[str, object]:
        """Return the settings of the script that keeps the tail up to date."""
        return {
            "address": self.address("tail", name=name),
            "texts": {
                "live": _("Live: updated every two seconds."),
                "paused": _("Paused."),
                "failing": _("The site is not responding. Retrying."),
                "ended": _(
                    "You are no longer signed in, or you may not see this page. Reload the page."
                ),
                "pause": _("Pause"),
                "resume": _("Resume"),
            },
        }


def _row(one: Tailed, shows: bool) -> TailRow:
    payload = None
    if shows and one.payload is not None:
        payload = _shown(one.payload)
    return TailRow(one.offset, moment_of(one.at), encodable(one.user), payload)


def _shown(text: str) -> str:
    """Return the beginning of a payload with sensitive fields masked."""
    try:
        whole = encodable(compact(masked(values.loads(text))))
    except ValueError:
        return ""  # another version has written it
    return whole if len(whole) <= SHOWN else whole[:SHOWN] + "…"
