"""`manage.py hookbox publish`: send a message from the shell."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import api, strict_json
from ..conf import settings
from .base import DONE, Mistake, Options, Subcommand, channel_argument, checked_channel


class Publish(Subcommand):
    """Publishes as code does: audiences do not apply, and the publish history records it."""

    name = "publish"
    help = (
        "Publishes a message to a channel. Like code of the site, the shell may publish to every "
        "channel that a policy or a handler opens."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the channel and the message."""
        channel_argument(parser)
        parser.add_argument(
            "payload",
            help='The message as JSON, such as \'{"text": "Hello"}\'. With “-”, it is read from '
            "standard input.",
        )
        parser.add_argument(
            "--text", action="store_true", help="The message is plain text rather than JSON."
        )
        parser.add_argument(
            "--user", default="", help="The name of the sender that subscribers see."
        )

    def run(self, options: Options) -> int:
        """Publish and print how many connections were reached."""
        channel = checked_channel(options)
        text: str = options["payload"]
        if text == "-":
            text = sys.stdin.read()
        payload: object = text
        if not options["text"]:
            try:
                payload = strict_json.read(text)
            except strict_json.JSONProblem as error:
                raise Mistake(
                    _("%(problem)s. To send plain text, add --text.")
                    % {"problem": str(error).rstrip(".")},
                    code="malformed",
                ) from error
        delivered = api.publish(channel, payload, user=options["user"] or None)
        if options["json"]:
            self.print_json({"channel": channel, "delivered": delivered})
        elif delivered is None and settings.executable:
            self.say(_("Sent. This server does not count connections."))
        elif delivered is None:
            self.say(
                _("Stored. %(channel)s is durable; the Hookbox process sends the message next.")
                % {"channel": channel}
            )
        elif not delivered:
            self.say(_("Sent, but nobody is subscribed to %(channel)s.") % {"channel": channel})
        else:
            sentence = ngettext(
                "Sent to %(count)d connection.", "Sent to %(count)d connections.", delivered
            )
            self.say(self.style.SUCCESS(sentence % {"count": delivered}))
        return DONE
