"""The settings of the calls from the process to the site."""

from __future__ import annotations

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader


class WebhookSettings(SettingsReader):
    """How many webhooks there may be, how long they may take, and when they are batched."""

    @property
    def webhook_timeout(self) -> float:
        """Timeout of a webhook, in seconds."""
        return self._seconds("HOOKBOX_WEBHOOK_TIMEOUT", 5.0)

    @property
    def webhook_concurrency(self) -> int:
        """Webhooks that may be in flight at once."""
        return self._int("HOOKBOX_WEBHOOK_CONCURRENCY", 32)

    @property
    def batch_middleware(self) -> tuple[str, ...]:
        """Entries of MIDDLEWARE that do nothing to webhooks, in addition to Django's own."""
        return self._names(
            "HOOKBOX_BATCH_MIDDLEWARE", (), "entries of MIDDLEWARE such as 'app.middleware.Timing'"
        )

    @property
    def revalidate_seconds(self) -> float:
        """Seconds within which each connection's session and account are confirmed; 0 for never."""
        name = "HOOKBOX_REVALIDATE_SECONDS"
        kinds, words = (int, float, type(None)), "a number of seconds, or None for never"
        value = float(self._typed(name, 600.0, kinds, words) or 0)
        if value != 0 and not 10 <= value < 86_400 * 365:
            raise HookboxMisconfigured(
                f"{name} must be at least 10 seconds and less than a year, or 0 for never, "
                f"not {value:g}."
            )
        return value
