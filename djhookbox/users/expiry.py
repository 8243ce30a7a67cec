"""When a session expires, according to its store."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.utils import timezone

#: Where a store that has loaded a row notes when it expires.
NOTE = "hookbox_expires"

_COOKIES = "django.contrib.sessions.backends.signed_cookies"


def noting(store: type[SessionBase]) -> dict[str, Any]:
    """Return what a class derived from a store needs to note when a row expires."""
    original = getattr(store, "_get_session_from_db", None)
    if original is None:
        return {}

    def _get_session_from_db(self: object) -> object:
        row = original(self)
        setattr(self, NOTE, getattr(row, "expire_date", None))
        return row

    return {"_get_session_from_db": _get_session_from_db}


def seconds_left(session: SessionBase) -> float | None:
    """Return in how many seconds a loaded session expires; None if nobody knows.

    The time is exact for rows and signed cookies. For a cache, it is the longest possible time.
    """
    noted: datetime.datetime | None = getattr(session, NOTE, None)
    try:
        if noted is not None:
            return max(0.0, (noted - timezone.now()).total_seconds())
        if _is_cookie(type(session)):
            signed = signing.b62_decode(str(session.session_key).rsplit(":", 2)[1])
            left = signed + session.get_session_cookie_age() - timezone.now().timestamp()
            return max(0.0, float(left))
        return max(0.0, float(session.get_expiry_age()))
    except Exception:  # a store of the site, which need not know
        return None


def _is_cookie(store: type[Any]) -> bool:
    return any(base.__module__ == _COOKIES for base in store.__mro__)
