"""Times as the site shows them, with USE_TZ or without."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.utils import timezone


def local(value: datetime.datetime) -> datetime.datetime:
    """Return a time of the database or the server by the site's clock.

    With USE_TZ off the result is naive, as all times of such a site are, so that the two can be
    compared.
    """
    if not timezone.is_aware(value):
        return value
    return timezone.localtime(value) if settings.USE_TZ else timezone.make_naive(value)


def today() -> datetime.date:
    """Return the day by the site's clock."""
    return local(timezone.now()).date()
