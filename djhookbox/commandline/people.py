"""`manage.py hookbox who` and `kick`: see who is connected, and disconnect users."""

from __future__ import annotations

import datetime
from argparse import ArgumentParser

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import api, client
from ..exceptions import HookboxRefused
from ..wire import records
from ..wire.closing import BY_SITE
from .base import DONE, REFUSED, Mistake, Options, Subcommand, channel_argument, checked_channel

#: The code with which the server reports that a channel does not exist.
NO_CHANNEL = "no_channel"


class Who(Subcommand):
    """Lists connections, or the subscribers of a channel."""

    name = "who"
    help = (
        "Lists who is connected, newest first, or who is subscribed to a channel. At most 100 "
        "connections are listed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the channel and the user."""
        channel_argument(parser, nargs="?", default="")
        parser.add_argument("--user", default="", help="List only the connections of this user.")

    def run(self, options: Options) -> int:
        """Print the list."""
        if options["channel"]:
            if options["user"]:
                raise Mistake(_("Specify a channel or a user, not both."), code="malformed")
            return self._channel(checked_channel(options), as_json=options["json"])
        found = client.list_connections(options["user"])
        if options["json"]:
            self.print_json(records.write(found))
            return DONE
        if not found.connections:
            self.say(_("Nobody is connected."))
            return DONE
        rows = [(_("User"), _("Transport"), _("Since"), _("Address"), _("Channels"))]
        for each in found.connections:
            rows.append(
                (
                    each.user,
                    each.transport,
                    _time(each.since),
                    each.remote_addr,
                    " ".join(each.channels),
                )
            )
        self.table(rows)
        if found.total > len(found.connections):
            self.say(
                _("%(listed)d of %(total)d connections are listed.")
                % {"listed": len(found.connections), "total": found.total}
            )
        return DONE

    def _channel(self, channel: str, *, as_json: bool) -> int:
        try:
            info = client.get_channel_info(channel)
        except HookboxRefused as error:
            if error.code != NO_CHANNEL:
                raise
            info = {"name": channel, "subscribers": []}  # nobody uses it
        if as_json:
            self.print_json(info)
            return DONE
        given = info.get("subscribers")
        subscribers = sorted(map(str, given)) if isinstance(given, list) else []
        if not subscribers:
            self.say(_("Nobody is subscribed to %(channel)s.") % {"channel": channel})
        for name in subscribers:
            self.say(name)
        return DONE


def _time(since: float | None) -> str:
    if since is None:
        return "-"
    then = datetime.datetime.fromtimestamp(since, tz=datetime.timezone.utc)
    return date_format(timezone.localtime(then), "Y-m-d H:i:s")


class Kick(Subcommand):
    """Closes connections."""

    name = "kick"
    help = (
        "Closes all connections of a user, or one connection. By default, the pages do not "
        "reconnect. The exit status is 1 if nothing was connected."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the user, the connection, the reason and the code."""
        parser.add_argument("user", nargs="?", default="", help="The name of the user.")
        parser.add_argument("--connection", default="", help="The id of one connection.")
        parser.add_argument("--reason", default="", help="Text that is sent to the pages.")
        parser.add_argument(
            "--code",
            type=int,
            default=BY_SITE.code,
            help="The close code: after 4000 to 4499 the pages reconnect, after 4500 to 4999 they "
            f"do not (default: {BY_SITE.code}).",
        )

    def run(self, options: Options) -> int:
        """Close the connections and print how many there were."""
        if not options["user"] and not options["connection"]:
            raise Mistake(_("Specify a user or a --connection."), code="malformed")
        count = api.disconnect(
            options["user"] or None,
            connection=options["connection"] or None,
            reason=options["reason"],
            code=options["code"],
        )
        if options["json"]:
            self.print_json({"disconnected": count})
        elif count:
            sentence = ngettext(
                "Closed %(count)d connection.", "Closed %(count)d connections.", count
            )
            self.say(self.style.SUCCESS(sentence % {"count": count}))
        else:
            self.say(_("No such connection is open."))
        return DONE if count else REFUSED
