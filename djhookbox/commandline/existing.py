"""`manage.py hookbox explain` and `prune`: the commands `hookbox_explain` and `hookbox_prune`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import ClassVar

from django.core.management.base import BaseCommand

from ..management.commands import hookbox_explain, hookbox_prune
from .base import DONE, Options, Subcommand


class _Existing(Subcommand):
    """Run another management command."""

    json = False  # the command adds it
    command: ClassVar[type[BaseCommand]]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command."""
        self.command().add_arguments(parser)  # type: ignore[arg-type]

    def run(self, options: Options) -> int:
        """Run the command, which raises SystemExit for a status other than 0."""
        command = self.command()
        command.stdout, command.stderr, command.style = self.stdout, self.stderr, self.style
        command.handle(**options)
        return DONE


class Explain(_Existing):
    """Shows who decides."""

    name = "explain"
    help = hookbox_explain.Command.help
    command = hookbox_explain.Command


class Prune(_Existing):
    """Deletes old entries of the audit log."""

    name = "prune"
    help = hookbox_prune.Command.help
    command = hookbox_prune.Command
