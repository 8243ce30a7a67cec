"""Close codes in words, for people who do not know them by heart.

The meanings are those of docs/reference/errors.rst and, for codes that browsers send, of RFC 6455,
section 7.4.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...wire import closing

#: The meaning of each code that the server sends or that browsers and proxies commonly send.
MEANINGS: Mapping[int, object] = {
    closing.NORMAL.code: gettext_lazy("Closed normally"),
    1001: gettext_lazy("The page was left, or a process stopped"),
    1002: gettext_lazy("Violation of the WebSocket protocol"),
    1005: gettext_lazy("Closed without a code"),
    closing.ABNORMAL.code: gettext_lazy("The connection was lost"),
    1009: gettext_lazy("A message was too large"),
    1011: gettext_lazy("An unexpected error"),
    closing.RESTART.code: gettext_lazy("The process stopped or restarted"),
    closing.SESSION_EXPIRED.code: gettext_lazy("The session changed"),
    closing.TOO_SLOW.code: gettext_lazy("The client did not read fast enough"),
    closing.NO_PONG.code: gettext_lazy("The client did not answer a ping"),
    closing.NOT_CONNECTED.code: gettext_lazy("The client did not connect in time"),
    closing.BY_SITE.code: gettext_lazy("Disconnected by the site"),
    closing.ACCOUNT_GONE.code: gettext_lazy("The account was deactivated or deleted"),
}

#: What the server itself says with these codes; the meaning says it in the reader's language.
_SAID = {
    (end.code, end.reason)
    for end in (
        closing.NORMAL, closing.RESTART, closing.SESSION_EXPIRED, closing.TOO_SLOW, closing.NO_PONG,
        closing.NOT_CONNECTED, closing.BY_SITE, closing.ACCOUNT_GONE, closing.ABNORMAL,
    )
}  # fmt: skip


def meaning(code: int) -> str:
    """Return what a close code means, or "" if it belongs to the site or is unknown."""
    return str(MEANINGS.get(code, ""))


def in_words(code: int) -> str:
    """Return a close code with its meaning, if it has one."""
    words = meaning(code)
    return _("%(code)d: %(meaning)s") % {"code": code, "meaning": words} if words else str(code)


def is_said_by(code: int, reason: str) -> bool:
    """Return whether the meaning of a close code already says the reason."""
    return (code, reason) in _SAID
