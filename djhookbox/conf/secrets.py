"""The secrets that the process and the site prove to each other."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings as django_settings
from django.utils.crypto import salted_hmac

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader


def derived(purpose: str, key: str | bytes) -> str:
    """Return a secret for one purpose that is derived from a value of `SECRET_KEY`."""
    # The salt separates these secrets from each other and from all of Django's own.
    return salted_hmac(f"djhookbox.{purpose}", "secret", secret=key, algorithm="sha256").hexdigest()


class SecretSettings(SettingsReader):
    """The secrets of webhooks and of REST calls; each may be a list, to rotate them."""

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Secrets accepted in webhooks; the process sends the first."""
        return self._secrets(["HOOKBOX_WEBHOOK_SECRET"], "webhook")

    @property
    def rest_secrets(self) -> tuple[str, ...]:
        """Secrets accepted by the process's REST API; Django sends the first."""
        return self._secrets(["HOOKBOX_REST_SECRET", "HOOKBOX_API_SECURITY_TOKEN"], "rest")

    def _secrets(self, names: Sequence[str], purpose: str) -> tuple[str, ...]:
        """Return all accepted secrets; the first one is sent."""
        for name in names:
            value: object = getattr(django_settings, name, None)
            if value is None or value == "" or value == [] or value == ():
                continue
            secrets = (value,) if isinstance(value, str) else value
            if not isinstance(secrets, list | tuple) or not all(
                isinstance(secret, str) and secret for secret in secrets
            ):
                raise HookboxMisconfigured(
                    f"{name} must be a non-empty string, or a list of them to rotate secrets."
                )
            return tuple(secrets)
        # SECRET_KEY_FALLBACKS keeps old derived secrets valid while SECRET_KEY is rotated.
        keys = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
        return tuple(derived(purpose, key) for key in keys)
