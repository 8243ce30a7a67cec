"""The Django application."""

from __future__ import annotations

import sys

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HookboxConfig(AppConfig):
    """Registers the system checks and the signal receivers."""

    name = "djhookbox"
    label = "djhookbox"
    verbose_name = _("Realtime channels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect receivers and checks; under `runserver`, start the process."""
        from . import checks, receivers  # noqa: F401
        from .users import ended_sessions, sessions  # noqa: F401
        from .wire import loglines

        loglines.install()
        if sys.argv[1:2] == ["runserver"]:  # nothing else pays for the import
            from .process import autostart

            autostart.begin()
