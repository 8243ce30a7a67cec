"""Helpers that all system checks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.utils.module_loading import import_string

from ..exceptions import HookboxMisconfigured


def site_check(function: Callable[[], Iterator[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Register a generator of messages as a system check."""

    def run(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
        try:
            return list(function())
        except HookboxMisconfigured:
            return []  # W001 and E001 report settings that cannot be read

    # Not functools.wraps: Django inspects the signature.
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return register(run, "djhookbox")


def explicit(name: str) -> Any:
    """Return a setting as written in Django's settings, or None."""
    return getattr(django_settings, name, None)


def has_middleware(path: str) -> bool:
    """Return whether MIDDLEWARE contains this class or a subclass."""
    wanted = import_string(path)
    for entry in django_settings.MIDDLEWARE:
        try:
            found = import_string(entry)
        except ImportError:
            continue  # Django reports this itself when the site starts
        if isinstance(found, type) and issubclass(found, wanted):
            return True
    return False
