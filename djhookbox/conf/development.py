"""The settings that only matter while a site is developed."""

from __future__ import annotations

from django.conf import settings as django_settings

from ..exceptions import HookboxMisconfigured
from .reading import SettingsReader


class DevelopmentSettings(SettingsReader):
    """What developers see, and what `runserver` does for them."""

    @property
    def debug(self) -> bool:
        """Whether the site runs for its developer, who may see exception messages."""
        return bool(django_settings.DEBUG)

    @property
    def autostart(self) -> bool | None:
        """Whether `runserver` starts the Hookbox process.

        None means: if `DEBUG` is on, and `runserver` is the command of Django itself.
        """
        value: object = getattr(django_settings, "HOOKBOX_AUTOSTART", None)
        if value is not None and not isinstance(value, bool):
            raise HookboxMisconfigured(
                f"HOOKBOX_AUTOSTART must be True, False or None, not {value!r}."
            )
        return value
