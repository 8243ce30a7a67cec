"""`manage.py hookbox new-epochs`: invalidate all positions after a database was restored."""

from __future__ import annotations

from argparse import ArgumentParser

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.translation import gettext as _

from ..guards import database_errors
from ..outbox import heads
from .base import DONE, Mistake, Options, Subcommand


class NewEpochs(Subcommand):
    """Starts a new incarnation of the outbox."""

    name = "new-epochs"
    help = (
        "Invalidates all positions in durable channels. Run it after you have restored the "
        "database from a backup: clients that have seen more than the backup contains are then "
        "notified of a gap."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the database."""
        parser.add_argument(
            "--database", default="", help="The alias of the database, if not the router's choice."
        )

    def run(self, options: Options) -> int:
        """Start a new incarnation and print it."""
        alias = options["database"] or heads.database()
        if alias not in connections:
            raise Mistake(
                _("There is no database “%(alias)s”; try “%(default)s”.")
                % {"alias": alias, "default": DEFAULT_DB_ALIAS},
                code="malformed",
            )
        with database_errors():
            heads.look(alias)  # creates what is missing
            incarnation = heads.renew(alias).incarnation
        if options["json"]:
            self.print_json({"incarnation": incarnation})
        else:
            self.say(_("All positions are invalid now; clients will receive a gap."))
        return DONE
