"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HookboxConfig(AppConfig):
    """Registers the system checks and the signal receivers."""

    name = "djhookbox"
    label = "djhookbox"
    verbose_name = _("Realtime channels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect receivers and checks once the models are loaded."""
        from . import checks, cookie_checks, ended_sessions, receivers, sessions  # noqa: F401
        from .wire import loglines

        loglines.install()
