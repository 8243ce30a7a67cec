"""What all subcommands of `manage.py hookbox` share: output, exit statuses, common arguments."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from django.core.management.base import OutputWrapper
from django.core.management.color import Style
from django.utils.translation import gettext as _

from ..api import validate_channel
from ..exceptions import HookboxError

#: The options of a subcommand, as argparse returns them.
Options: TypeAlias = Mapping[str, Any]

#: Exit statuses: done, refused or found wanting, and not possible.
DONE, REFUSED, MISTAKEN = 0, 1, 2


class Mistake(HookboxError):
    """The arguments of a subcommand cannot be used; the text says why."""


class Subcommand:
    """A subcommand of `manage.py hookbox`.

    Attributes:
        name: How it is called.
        help: What it does, for `--help`.
        json: Whether it has the option `--json`.

    """

    name: ClassVar[str]
    help: ClassVar[str]
    json: ClassVar[bool] = True

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, style: Style) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.style = style

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments other than `--json`."""

    def run(self, options: Options) -> int:
        """Do the work and return the exit status.

        Raises:
            HookboxError: It could not be done.

        """
        raise NotImplementedError

    def say(self, text: str = "") -> None:
        """Print a line."""
        self.stdout.write(text)

    def print_json(self, value: object, *, indent: int | None = 2) -> None:
        """Print a value as JSON."""
        self.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent, default=str))

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns; the first row is the heading."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.say(self.style.MIGRATE_HEADING(line.rstrip()) if not number else line.rstrip())


def channel_argument(parser: ArgumentParser, **more: Any) -> None:
    """Add the name of a channel."""
    parser.add_argument("channel", help="The channel's name, such as /news/today/.", **more)


def checked_channel(options: Options) -> str:
    """Return the channel that was named.

    Raises:
        Mistake: The name is invalid.

    """
    channel: str = options["channel"]
    try:
        validate_channel(channel)
    except HookboxError as error:
        raise Mistake(str(error), code="malformed") from error
    return channel


def visible_name(name: str) -> str:
    """Return a user's name for display."""
    return name or _("(nobody)")
