"""Times as the site shows them, with or without USE_TZ."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from django.conf import settings
from django.utils import timezone

#: Returns a time in the site's time zone.
Localizer = Callable[[datetime.datetime], datetime.datetime]


def local(value: datetime.datetime) -> datetime.datetime:
    """Return a time from the database or the server in the site's time zone.

    With USE_TZ off the result is naive, like all times of such a site, so that both can be
    compared.
    """
    return localizer()(value)


def localizer() -> Localizer:
    """Return a function that does the same for many times, and looks for the zone only once."""
    zone = timezone.get_current_timezone()
    if settings.USE_TZ:
        return lambda value: value if value.tzinfo is None else value.astimezone(zone)
    return lambda value: timezone.make_naive(value, zone) if timezone.is_aware(value) else value


def today() -> datetime.date:
    """Return today in the site's time zone."""
    return local(timezone.now()).date()
