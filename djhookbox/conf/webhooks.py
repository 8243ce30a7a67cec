"""The settings of the calls from the process to the site."""

from __future__ import annotations

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
