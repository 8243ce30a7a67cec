"""Publish, watch, explain and repair from the shell: `manage.py hookbox <subcommand>`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...commandline.base import MISTAKEN, REFUSED, Mistake, Subcommand
from ...commandline.benchmarking import Bench
from ...commandline.completion import Completion, candidates
from ...commandline.diagnosing import Doctor
from ...commandline.epochs import NewEpochs
from ...commandline.erasing import Erase
from ...commandline.existing import Explain, Prune
from ...commandline.outbox import OutboxCommand
from ...commandline.people import Kick, Who
from ...commandline.publishing import Publish
from ...commandline.starting import Quickstart
from ...commandline.tailing import Tail
from ...exceptions import HookboxError, HookboxRefused

#: The subcommands, in the order in which `--help` lists them.
SUBCOMMANDS: tuple[type[Subcommand], ...] = (
    Quickstart, Doctor, Publish, Tail, Who, Kick, Explain, Prune, Erase, OutboxCommand, NewEpochs,
    Bench, Completion,
)  # fmt: skip

#: Called by the scripts that `completion` prints.
COMPLETE = "complete"

#: Django's own options, which may also follow the subcommand.
COMMON = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Runs one of the subcommands."""

    help = (
        "Tools around the Hookbox process. The exit status is 0 if the work is done, 1 if it was "
        "refused or found problems, and 2 if it could not be done."
    )
    requires_system_checks = ()  # `doctor` shows them; the others must be quick

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for kind in SUBCOMMANDS:
            summary = kind.help.partition(". ")[0].rstrip(".") + "."
            sub = subparsers.add_parser(kind.name, help=summary, description=kind.help)
            self._make(kind).add_arguments(sub)
            if kind.json:
                sub.add_argument("--json", action="store_true", help="Answer in JSON.")
            for option in COMMON:
                sub.add_argument(option, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
            for option in ("--traceback", "--no-color", "--force-color"):
                sub.add_argument(
                    option, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
                )
        complete = subparsers.add_parser(COMPLETE)
        complete.add_argument("words", nargs="*")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the subcommand and exit with its status.

        Raises:
            CommandError: It could not be done; the text says why.

        """
        name = options["subcommand"]
        names = [kind.name for kind in SUBCOMMANDS]
        if name == COMPLETE:
            for word in candidates(options["words"], names):
                self.stdout.write(word)
            return
        subcommand = self._make(SUBCOMMANDS[names.index(name)])
        try:
            status = subcommand.run(options)
        except HookboxError as error:
            refused = isinstance(error, HookboxRefused) and not isinstance(error, Mistake)
            status = REFUSED if refused else MISTAKEN
            if not options.get("json"):
                raise CommandError(str(error), returncode=status) from error
            subcommand.print_json({"error": str(error), "code": error.code})
        if status:
            sys.exit(status)

    def _make(self, kind: type[Subcommand]) -> Subcommand:
        return kind(self.stdout, self.stderr, self.style)
