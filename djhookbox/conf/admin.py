"""The settings of the admin's pages."""

from __future__ import annotations

from .reading import SettingsReader


class AdminSettings(SettingsReader):
    """What the admin does at once, and what it asks about first."""

    @property
    def confirm_recipients(self) -> int:
        """Connections that a message from the admin may reach without confirmation."""
        return self._int("HOOKBOX_CONFIRM_RECIPIENTS", 100, least=0)

    @property
    def export_limit(self) -> int:
        """Maximum rows of an audit log in one export."""
        return self._int("HOOKBOX_EXPORT_LIMIT", 100_000)
