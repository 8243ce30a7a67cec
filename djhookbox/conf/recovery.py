"""The settings that say how long publications are kept for returning clients, in seconds."""

from __future__ import annotations

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader, shown


class RecoverySettings(SettingsReader):
    """How long a client may be away without missing anything."""

    @property
    def recovery_seconds(self) -> float:
        """Seconds for which publications to other channels are kept for them; 0 for not at all."""
        name = "HOOKBOX_RECOVERY_SECONDS"
        value = self._seconds_or_never(name, 60.0, "0 for no recovery")
        if not 0 <= value <= 86_400:
            raise HookboxMisconfigured(
                f"{name} must be between 0 and 86400 seconds, not {shown(value)}; for longer, make "
                "channels durable."
            )
        return float(value)

    @property
    def durable_seconds(self) -> float:
        """Seconds for which publications to durable channels are kept for returning clients."""
        return self._seconds("HOOKBOX_DURABLE_SECONDS", 86_400.0)
