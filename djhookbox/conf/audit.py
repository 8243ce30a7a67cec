"""The settings that say what the audit log contains, and for how long."""

from __future__ import annotations

from django.conf import settings as django_settings

from .reading import SettingsReader


class AuditSettings(SettingsReader):
    """What is recorded of connections, subscriptions and publications."""

    @property
    def log_connections(self) -> bool:
        """Whether the connection log is written."""
        return self._bool("HOOKBOX_LOG_CONNECTIONS", True)

    @property
    def log_subscriptions(self) -> bool:
        """Whether the subscription log is written."""
        return self._bool("HOOKBOX_LOG_SUBSCRIPTIONS", True)

    @property
    def log_days(self) -> int:
        """Days for which the audit log is kept; 0 keeps it forever."""
        if getattr(django_settings, "HOOKBOX_LOG_DAYS", 0) is None:
            return 0
        # A longer time would have begun before the year 1.
        note = "; 0 keeps all entries"
        return self._int("HOOKBOX_LOG_DAYS", 30, least=0, most=36_500, note=note)

    @property
    def store_payloads(self) -> bool:
        """Whether the publish history stores payloads."""
        return self._bool("HOOKBOX_STORE_PAYLOADS", True)

    @property
    def redact(self) -> frozenset[str]:
        """Fields of payloads, in lower case, whose values the publish history does not store."""
        names = self._names("HOOKBOX_REDACT", (), "names of fields")
        return frozenset(name.casefold() for name in names)
