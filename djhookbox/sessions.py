"""Sessions as webhooks use them: read, never written.

The cookie that a webhook carries belongs to a browser, and the answer goes to the Hookbox process.
A session that got a new key in a webhook would be lost to its browser, which never learns the key:
Django's `get_user()` does that when only a fallback of `SECRET_KEY` fits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest


class _ReadOnly:
    """Overrides what writes a session; its data can still be changed in memory.

    `flush()` is Django's own: it empties the session in memory, and calls `delete()`.
    """

    @property
    def modified(self) -> bool:
        """Whether the middleware has to save the session, which it never has."""
        return False

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    def save(self, must_create: bool = False) -> None:
        pass

    def create(self) -> None:
        pass

    def delete(self, session_key: str | None = None) -> None:
        pass

    def cycle_key(self) -> None:
        pass

    async def asave(self, must_create: bool = False) -> None:
        pass

    async def acreate(self) -> None:
        pass

    async def adelete(self, session_key: str | None = None) -> None:
        pass

    async def acycle_key(self) -> None:
        pass


@cache
def _read_only(store: type[SessionBase]) -> type[Any]:
    # Django makes the salt of the signature from the name of the class, which therefore stays.
    names = {"__module__": store.__module__, "__qualname__": store.__qualname__}
    return type(store.__name__, (_ReadOnly, store), names)


def make_read_only(request: HttpRequest) -> None:
    """Keep the session of a request from being saved, deleted, or given another key.

    The object itself is changed, because middleware may hold it already. What middleware did to
    the session before the view was called is done.
    """
    session: Any = getattr(request, "session", None)
    if isinstance(session, SessionBase) and not isinstance(session, _ReadOnly):
        session.__class__ = _read_only(type(session))
