"""The settings that say how long publications are kept for returning clients, in seconds."""

from __future__ import annotations

from .reading import SettingsReader


class DurableSettings(SettingsReader):
    """How long a client may be away without missing anything."""

    @property
    def durable_seconds(self) -> float:
        """Seconds for which publications to durable channels are kept for returning clients."""
        return self._seconds("HOOKBOX_DURABLE_SECONDS", 86_400.0)
