"""`manage.py hookbox tail`: print what the audit log records, as it happens."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from django.db import connections, router
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from ..audit.models import ConnectionLog, Log, Publication, SubscriptionLog
from ..conf import settings
from .base import DONE, Mistake, Options, Subcommand

#: The logs by the names that `--only` accepts.
LOGS: dict[str, type[Log]] = {
    "publications": Publication,
    "subscriptions": SubscriptionLog,
    "connections": ConnectionLog,
}
#: Rows below the newest one to look at again: a transaction with a lower id may commit later.
LOOK_BACK = 200
#: Rows to read at once.
MOST = 1000
#: Events and statuses that are refusals or failures.
BAD = {"refused", "create_refused", "failed"}


class Watch:
    """Finds the rows of one log that are new.

    Args:
        model: The log.
        accept: Whether a row is wanted.

    """

    def __init__(self, model: type[Log], accept: Callable[[Any], bool]) -> None:
        self._model = model
        self._accept = accept
        self._using = router.db_for_read(model)
        self._seen: set[int] = set()
        self._last = 0

    def latest(self, count: int) -> list[Any]:
        """Return the newest wanted rows, oldest first; later calls of `new` begin after them."""
        rows = list(self._rows().order_by("-pk")[: max(count, 1) if count else 1])
        if rows:
            self._last = rows[0].pk
        before = self._rows().filter(pk__gt=self._last - LOOK_BACK, pk__lte=self._last)
        self._seen = set(before.values_list("pk", flat=True))
        if not count:
            return []
        found: list[Any] = []
        for row in self._rows().order_by("-pk")[:MOST].iterator():
            if row.pk <= self._last and self._accept(row):
                found.append(row)
                if len(found) == count:
                    break
        return found[::-1]

    def new(self) -> Iterator[Any]:
        """Yield the wanted rows that were committed since the last call."""
        rows = self._rows().filter(pk__gt=self._last - LOOK_BACK).order_by("pk")
        for row in list(rows.exclude(pk__in=self._seen)[:MOST]):
            self._seen.add(row.pk)
            self._last = max(self._last, row.pk)
            if self._accept(row):
                yield row
        self._seen = {pk for pk in self._seen if pk > self._last - LOOK_BACK}

    def _rows(self) -> Any:
        return self._model._default_manager.using(self._using)


class Tail(Subcommand):
    """Prints new rows of the audit log."""

    name = "tail"
    help = (
        "Prints publications, subscriptions and connections as the audit log records them, until "
        "Ctrl-C. With --json, each line is a JSON object."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the filters."""
        parser.add_argument(
            "channel",
            nargs="*",
            help="Print only these channels; * and ? are placeholders, as in '/rooms/*'.",
        )
        parser.add_argument("--user", default="", help="Print only what this user did.")
        parser.add_argument(
            "--only", choices=list(LOGS), action="append", help="Print only this log."
        )
        parser.add_argument(
            "--refused", action="store_true", help="Print only refusals and failures."
        )
        parser.add_argument(
            "-n", "--lines", type=int, default=10, help="Earlier rows to print (default: 10)."
        )
        parser.add_argument(
            "--no-follow", action="store_true", help="Print the earlier rows and end."
        )
        parser.add_argument(
            "--interval", type=float, default=0.5, help="Seconds between two looks (default: 0.5)."
        )

    def run(self, options: Options) -> int:
        """Print rows until Ctrl-C."""
        if options["lines"] < 0 or options["interval"] <= 0:
            raise Mistake(_("--lines and --interval must not be negative."), code="malformed")
        chosen = options["only"] or list(LOGS)
        if options["channel"]:
            chosen = [name for name in chosen if name != "connections"]
        for sentence in _turned_off(chosen):
            self.stderr.write(self.style.WARNING(sentence))
        wanted = _wanted(options)
        watches = [Watch(LOGS[name], wanted) for name in chosen]
        earlier = [row for watch in watches for row in watch.latest(options["lines"])]
        earlier.sort(key=lambda row: row.created)
        for row in earlier[len(earlier) - min(len(earlier), options["lines"]) :]:
            self._print(row, options)
        try:
            while not options["no_follow"]:
                time.sleep(options["interval"])
                rows = [row for watch in watches for row in watch.new()]
                for row in sorted(rows, key=lambda row: row.created):
                    self._print(row, options)
                for connection in connections.all(initialized_only=True):
                    connection.close_if_unusable_or_obsolete()
        except KeyboardInterrupt:
            pass
        return DONE

    def _print(self, row: object, options: Options) -> None:
        if options["json"]:
            self.print_json(described(row), indent=None)
        else:
            line = _line(row)
            self.say(self.style.ERROR(line) if _is_bad(row) else line)
        self.stdout.flush()


def _wanted(options: Options) -> Callable[[Any], bool]:
    def accept(row: Any) -> bool:
        if options["user"] and row.user_name != options["user"]:
            return False
        if options["refused"] and not _is_bad(row):
            return False
        globs = options["channel"]
        return not globs or any(fnmatchcase(row.channel, glob) for glob in globs)

    return accept


def _turned_off(chosen: list[str]) -> Iterator[str]:
    switches = {
        "subscriptions": ("HOOKBOX_LOG_SUBSCRIPTIONS", settings.log_subscriptions),
        "connections": ("HOOKBOX_LOG_CONNECTIONS", settings.log_connections),
    }
    for name in chosen:
        setting, on = switches.get(name, ("", True))
        if not on:
            yield _("New entries of the %(log)s will not be shown: %(setting)s is off.") % {
                "log": LOGS[name]._meta.verbose_name_plural,
                "setting": setting,
            }


def _is_bad(row: Any) -> bool:
    return (row.status if isinstance(row, Publication) else row.event) in BAD


def described(row: Any) -> dict[str, object]:
    """Return a row of any log as an object for programs."""
    facts: dict[str, object] = {"at": row.created.isoformat(), "user": row.user_name}
    if isinstance(row, Publication):
        facts |= {
            "log": "publications",
            "event": row.status,
            "channel": row.channel,
            "source": row.source,
            "payload": row.payload,
            "kept": row.kept,
            "delivered": row.delivered,
            "error": row.error,
        }
    elif isinstance(row, SubscriptionLog):
        facts |= {"log": "subscriptions", "event": row.event, "channel": row.channel}
    else:
        facts |= {
            "log": "connections",
            "event": row.event,
            "transport": row.transport,
            "ip": row.ip,
            "code": row.code,
        }
    return facts | {
        "connection": row.connection_id,
        "decided_by": row.decided_by,
        "reason": row.reason,
    }


def _line(row: Any) -> str:
    at = timezone.localtime(row.created) if timezone.is_aware(row.created) else row.created
    parts = [date_format(at, "H:i:s"), (row.user_name or "-").strip()]
    if isinstance(row, Publication):
        reached = "" if row.delivered is None else f" → {row.delivered}"
        parts += [row.get_status_display() + reached, row.channel, row.preview or row.error]
    elif isinstance(row, SubscriptionLog):
        parts += [row.get_event_display(), row.channel]
    else:
        code = "" if row.code is None else str(row.code)
        parts += [row.get_event_display(), row.get_transport_display(), code]
    if _is_bad(row):
        parts.append(f"({row.decided_by or '-'}: {row.reason or getattr(row, 'error', '')})")
    return "  ".join(part for part in parts if part)
