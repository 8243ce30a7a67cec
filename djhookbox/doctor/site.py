"""Checks of the site itself: settings, database, versions, limits of the system."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import django
from django.core import checks
from django.db import Error, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from .._version import __version__
from ..batches.rule import site_problems
from ..conf import settings
from ..models import ChannelPolicy
from ..process import control
from .base import Check, Finding, Level, Patient, error, ok, warning

#: Descriptors that the process needs besides those of its connections.
SPARE = 100


class Versions(Check):
    """Names the versions, for reports."""

    name, title = "versions", gettext_noop("Versions")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield one line."""
        try:
            aiohttp = metadata.version("aiohttp")
        except metadata.PackageNotFoundError:
            aiohttp = "?"
        yield ok(
            f"django-hookbox {__version__}, Django {django.__version__}, "
            f"Python {platform.python_version()}, aiohttp {aiohttp}, {platform.system()}"
        )


class Settings(Check):
    """Runs the system checks of this package."""

    name, title = "settings", gettext_noop("Settings")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield each message."""
        found = [
            message
            for message in checks.run_checks(tags=["djhookbox"], include_deployment_checks=False)
            if not message.is_silenced()
        ]
        for message in found:
            serious = message.level >= checks.ERROR
            level = Level.ERROR if serious else Level.WARNING
            yield Finding(level, f"{message.id}: {message.msg}", str(message.hint or ""))
        if not found:
            yield ok(_("The system checks find nothing."))


class Database(Check):
    """Connects to the database and looks for migrations that have not been run."""

    name, title = "database", gettext_noop("Database")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield what is wrong with the database of the policies."""
        using = router.db_for_write(ChannelPolicy)
        connection = connections[using]
        try:
            executor = MigrationExecutor(connection)
            targets = [
                node for node in executor.loader.graph.leaf_nodes() if node[0] == "djhookbox"
            ]
            missing = [str(migration) for migration, _back in executor.migration_plan(targets)]
        except Error as problem:
            yield error(
                _("The database “%(name)s” cannot be used: %(problem)s")
                % {"name": using, "problem": problem},
                _("Check DATABASES and whether the database server runs."),
            )
            return
        if missing:
            yield error(
                _("Migrations have not been run: %(names)s.") % {"names": ", ".join(missing)},
                _("Run “manage.py migrate”."),
            )
            return
        count = ChannelPolicy.objects.enabled().count()
        yield ok(
            _("%(vendor)s; all migrations have been run; enabled policies: %(count)d")
            % {"vendor": connection.display_name, "count": count}
        )


class Batches(Check):
    """Looks for what keeps the site from answering many webhooks in one request."""

    name, title = "batches", gettext_noop("Batches")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield each reason."""
        problems = site_problems()
        for problem in problems:
            yield warning(
                problem,
                _(
                    "Without batches, connecting costs the site several times as much, and "
                    "sessions and accounts may not be confirmed regularly."
                ),
            )
        if not problems:
            yield ok(_("Webhooks can be sent in batches."))


class Limits(Check):
    """Compares the open files that the process may have with the connections it should accept."""

    name, title = "limits", gettext_noop("Open files")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield whether the limit suffices."""
        status = control.status()
        pid = status.pid if status.identified else None
        limit = _limit_of(pid)
        wanted = settings.max_connections
        if limit is None:
            yield ok(_("The limit is not known on this system."))
        elif limit < wanted + SPARE:
            where = _("the process") if pid else _("this shell")
            yield warning(
                _(
                    "The limit of %(where)s is %(limit)d open files, but HOOKBOX_MAX_CONNECTIONS "
                    "is %(wanted)d."
                )
                % {"where": where, "limit": limit, "wanted": wanted},
                _(
                    "Raise it where the process is started (systemd: LimitNOFILE=65536; shell: "
                    "ulimit -n 65536), or lower HOOKBOX_MAX_CONNECTIONS."
                ),
            )
        else:
            yield ok(_("%(limit)d open files are allowed.") % {"limit": limit})


def _limit_of(pid: int | None) -> int | None:
    """Return the soft limit of open files of a process, or of this one."""
    try:
        text = Path(f"/proc/{pid or 'self'}/limits").read_text()
    except OSError:
        return None
    found = re.search(r"^Max open files\s+(\d+|unlimited)", text, re.MULTILINE)
    if found is None:
        return None
    return 2**31 if found[1] == "unlimited" else int(found[1])
