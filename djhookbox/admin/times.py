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
    return localizer()(value)


def localizer() -> Callable[[datetime.datetime], datetime.datetime]:
    """Return a function that does the same for many times, and looks for the zone only once."""
    zone = timezone.get_current_timezone()
    convert = timezone.localtime if settings.USE_TZ else timezone.make_naive
    return lambda value: convert(value, zone) if timezone.is_aware(value) else value


def today() -> datetime.date:
    """Return today in the site's time zone."""
    return local(timezone.now()).date()
