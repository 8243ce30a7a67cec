"""What the site says about a handshake of the doctor: which cookies have arrived."""

from __future__ import annotations

from collections.abc import Mapping

from django.core import signing

#: The key in the payload of CONNECT and of CONNECTED.
KEY = "djhookbox.doctor"
#: Seconds for which a question is valid.
MAX_AGE = 60


def question() -> dict[str, object]:
    """Return a payload for CONNECT; only this site can make one."""
    return {KEY: signing.dumps("doctor", salt=KEY)}


def answer(payload: object, cookies: Mapping[str, str]) -> dict[str, object] | None:
    """Return the payload for CONNECTED with the names of the cookies; None if nobody asked."""
    asked = payload.get(KEY) if isinstance(payload, dict) else None
    if not isinstance(asked, str):
        return None
    try:
        signing.loads(asked, salt=KEY, max_age=MAX_AGE)
    except signing.BadSignature:
        return None
    return {KEY: sorted(cookies)}
