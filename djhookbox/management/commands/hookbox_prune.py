"""Delete old entries of the audit log by hand or from cron; the Hookbox process does it daily."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from djhookbox.conf import settings
from djhookbox.exceptions import HookboxMisconfigured

from ...audit import pruning


class Command(BaseCommand):
    """Deletes entries that are older than the retention period."""

    help = (
        "Deletes entries of the connection log, the subscription log and the publish "
        "history that are older than HOOKBOX_LOG_DAYS days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--days",
            type=int,
            help="Delete entries older than this many days (default: HOOKBOX_LOG_DAYS).",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only show how many entries would be deleted."
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="Answer in JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete old entries and print how many.

        Raises:
            CommandError: The number of days is invalid.

        """
        try:
            days = settings.log_days if options["days"] is None else options["days"]
        except HookboxMisconfigured as error:
            raise CommandError(str(error)) from error
        if options["days"] == 0:
            raise CommandError(
                _(
                    "--days 0 would delete all entries, whereas HOOKBOX_LOG_DAYS = 0 keeps them "
                    "all. Pass a number between 1 and 36500 to --days. To keep all entries, set "
                    "HOOKBOX_LOG_DAYS to 0."
                )
            )
        if options["days"] is not None and not 1 <= days <= 36_500:
            raise CommandError(_("--days must be between 1 and 36500."))
        if options["as_json"]:
            counts = _counts(days, dry_run=options["dry_run"])
            self.stdout.write(json.dumps({"days": days, "dry_run": options["dry_run"], **counts}))
            return
        if not days:
            self.stdout.write(_("All entries are kept: HOOKBOX_LOG_DAYS is 0."))
            return
        if options["dry_run"]:
            self.stdout.write(_("Entries that would be deleted:"))
        else:
            self.stdout.write(_("Deleted entries:"))
        counts = _counts(days, dry_run=options["dry_run"])
        for name, model in pruning.LOGS.items():
            self.stdout.write(f"  {model._meta.verbose_name_plural}: {counts[name]}")
        text = ngettext(
            "Entries older than %(days)d day are deleted.",
            "Entries older than %(days)d days are deleted.",
            days,
        )
        self.stdout.write(text % {"days": days})


def _counts(days: int, *, dry_run: bool) -> Mapping[str, int]:
    """Return how many entries of each log were deleted, or would be."""
    if not days:  # everything is kept
        return dict.fromkeys(pruning.LOGS, 0)
    return pruning.due(days) if dry_run else pruning.prune(days).counts
