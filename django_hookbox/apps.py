"""Lets `INSTALLED_APPS = ["django_hookbox"]` install `djhookbox`."""

from __future__ import annotations

from types import ModuleType

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import djhookbox.apps


class HookboxAliasConfig(djhookbox.apps.HookboxConfig):
    """The app `djhookbox` under the name that the README of 2011 has."""

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        # Django's own words for it, "labels aren't unique", would not say what to do.
        if any(entry.partition(".")[0] == "djhookbox" for entry in settings.INSTALLED_APPS):
            raise ImproperlyConfigured(
                "INSTALLED_APPS has both 'djhookbox' and 'django_hookbox', which are one app. "
                "Delete 'django_hookbox'."
            )
        super().__init__(app_name, app_module)
