"""`manage.py hookbox erase`: erase a person from the audit log and all other tables."""

from __future__ import annotations

import logging
from argparse import ArgumentParser

from django.apps import apps
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ..audit import erasing, personal
from ..guards import database_errors
from ..users.accounts import find as account_named
from ..wire.names import find_fault
from .base import DONE, REFUSED, Mistake, Options, Subcommand

logger = logging.getLogger("djhookbox")


class Erase(Subcommand):
    """Erases a person."""

    name = "erase"
    help = (
        "Erases a person: replaces the name by a random one and deletes addresses, browsers and "
        "messages in all logs, bans, notes and durable channels. The account need not exist any "
        "more. This cannot be undone. The exit status is 1 if nothing was found."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the user, who does it, and --dry-run."""
        parser.add_argument("user", help="The name of the user, as in the logs.")
        parser.add_argument(
            "--by",
            default="",
            help="The name of the account under which this is recorded in the admin's history; "
            "the name that was erased is not recorded.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only show how many rows would be changed."
        )

    def run(self, options: Options) -> int:
        """Erase the person and print how many rows were changed.

        Raises:
            Mistake: The name is invalid, or there is no such account to record it under.

        """
        name = options["user"]
        if find_fault(name) is not None:
            raise Mistake(_("“%(name)s” cannot be the name of a user.") % {"name": name[:50]})
        by = None
        if options["by"] and not apps.is_installed("django.contrib.admin"):
            raise Mistake(_("--by: the admin, which would record it, is not installed."))
        if options["by"] and (by := account_named(options["by"])) is None:
            text = _("--by: there is no account “%(name)s”.") % {"name": options["by"]}
            raise Mistake(text)
        pseudonym = ""
        with database_errors():
            if options["dry_run"]:
                counts = erasing.count(name)
            else:
                erased = erasing.erase(name)
                counts, pseudonym = erased.counts, erased.pseudonym
                if by is not None:
                    erasing.enter(by.pk, erased)
                logger.info("Erased a person, who is %s now: %s", pseudonym, counts)
        found = any(counts.values())
        if options["json"]:
            self.print_json(
                {"dry_run": options["dry_run"], "pseudonym": pseudonym, "changed": counts}
            )
        elif not found:
            self.say(_("Nothing was found under this name."))
        else:
            dry = options["dry_run"]
            self.say(_("Rows that would be changed:") if dry else _("Changed rows:"))
            for key, number in counts.items():
                if number:
                    self.say(f"  {capfirst(str(personal.PARTS[key].label))}: {number}")
            if not dry:
                text = _("The name was replaced by %(pseudonym)s.") % {"pseudonym": pseudonym}
                self.say(self.style.SUCCESS(text))
        return DONE if found else REFUSED
