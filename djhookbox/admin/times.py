"""Times as the site shows them, with or without USE_TZ."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from django.conf import settings
from django.utils import timezone


def local(value: datetime.datetime) -> datetime.datetime:
    """Return a time from the database or the server in the site's time zone.

    With USE_TZ off the result is naive, like all times of such a site, so that both can be
    compared.
    """
    if not timezone.is_aware(value):
        return value
    return timezone.localtime(value) if settings.USE_TZ else timezone.make_naive(value)


def localizer() -> Callable[[datetime.datetime], datetime.datetime]:
    """Return a function like `local` for many times, which does not look for the zone each time."""
    if not settings.USE_TZ:
        return local
    zone = timezone.get_current_timezone()
    return lambda value: value.astimezone(zone) if timezone.is_aware(value) else value


def today() -> datetime.date:
    """Return today in the site's time zone."""
    return local(timezone.now()).date()
