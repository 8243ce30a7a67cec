"""`manage.py hookbox outbox`: what waits, what has failed, and what to do about it."""

from __future__ import annotations

from argparse import ArgumentParser

from django.utils.translation import gettext as _

from ..guards import database_errors
from ..outbox import failed, waiting
from .base import DONE, REFUSED, Options, Subcommand

#: Rows to list.
MOST = 100


class OutboxCommand(Subcommand):
    """Shows the outbox of durable channels, and handles failed rows."""

    name = "outbox"
    help = (
        "Shows how many publications to durable channels and how many revocations wait, and which "
        "publications have failed. The exit status is 1 if any has failed, or if something waits "
        "for more than ten seconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what to do, and with which rows."""
        parser.add_argument("rows", nargs="*", type=int, help="The ids of failed rows.")
        way = parser.add_mutually_exclusive_group()
        way.add_argument(
            "--try-again", action="store_true",
            help="Put the failed rows, or only those named, at the end of the outbox.",
        )  # fmt: skip
        way.add_argument(
            "--discard", action="store_true",
            help="Delete the failed rows, or only those named.",
        )  # fmt: skip

    def run(self, options: Options) -> int:
        """Print the outbox, or do what is asked for."""
        keys = options["rows"] or None
        with database_errors():
            if options["try_again"]:
                return self._done("tried_again", failed.try_again(keys), options)
            if options["discard"]:
                return self._done("discarded", failed.discard(keys), options)
            now = waiting.look()
            found = list(failed.rows(keys).defer("payload")[:MOST])
        late = now.is_late or now.are_revocations_late
        status = REFUSED if now.failed or late else DONE
        if options["json"]:
            self.print_json({
                "waiting": now.count,
                "seconds": round(now.seconds, 1),
                "failed": now.failed,
                "revocations": {
                    "waiting": now.revocations, "seconds": round(now.revocation_seconds, 1),
                },
                "rows": [
                    {"id": row.pk, "channel": row.channel, "created": row.created,
                     "error": row.error}
                    for row in found
                ],
            })  # fmt: skip
            return status
        text = _("Waiting: 0. Failed: %(failed)d.")
        if now.count:
            text = _("Waiting: %(count)d (the oldest for %(seconds)d s). Failed: %(failed)d.")
        self.say(text % {"count": now.count, "seconds": now.seconds, "failed": now.failed})
        if now.revocations:
            self.say(
                _("Waiting revocations: %(count)d (the oldest for %(seconds)d s).")
                % {"count": now.revocations, "seconds": now.revocation_seconds}
            )
        if found:
            heading = (_("Row"), _("Channel"), _("Error"))
            self.table([heading, *((str(row.pk), row.channel, row.error) for row in found)])
        return status

    def _done(self, key: str, count: int, options: Options) -> int:
        if options["json"]:
            self.print_json({key: count})
        elif key == "discarded":
            self.say(_("Discarded: %(count)d.") % {"count": count})
        else:
            self.say(_("Moved to the end of the outbox: %(count)d.") % {"count": count})
        return DONE if count else REFUSED
