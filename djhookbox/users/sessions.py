"""Read-only sessions for webhooks.

A webhook carries a browser's cookie, but its answer goes to the Hookbox process. If a webhook gave
a session a new key, the browser would lose the session, because it never learns the new key.
Django's `get_user()` does so when only a fallback of `SECRET_KEY` matches.

The view is too late for that: middleware that uses `request.user` has called `get_user()` already.
So `SessionMiddleware` is wrapped, and what it attaches to a webhook is read-only from the start.
`AuthenticationMiddleware` is wrapped too, because some packages bring a session middleware that is
not derived from Django's.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import Http404, HttpRequest
from django.urls import resolve

from .expiry import noting

#: Marks the views of the webhooks.
MARK = "hookbox_webhook"


class _ReadOnly:
    """Overrides methods that write a session; its data can still be changed in memory.

    `flush()` is Django's own: it clears the session in memory and calls `delete()`.
    """

    @property
    def modified(self) -> bool:
        """Whether the middleware must save the session: never."""
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
    # Django derives the salt of the signature from the class name, which therefore must not change.
    names = {"__module__": store.__module__, "__qualname__": store.__qualname__}
    names |= noting(store)
    return type(store.__name__, (_ReadOnly, store), names)


def make_read_only(request: HttpRequest) -> None:
    """Keep a request's session from being saved, deleted, or given a new key.

    The object itself is changed, because middleware may hold it already.
    """
    session: Any = getattr(request, "session", None)
    if isinstance(session, SessionBase) and not isinstance(session, _ReadOnly):
        session.__class__ = _read_only(type(session))


@cache
def _names() -> frozenset[str]:
    """Return the names of the webhooks; their module is imported with the first request."""
    from ..wire import webhooks

    return frozenset(webhook.name for webhook in webhooks.ALL)


def _is_webhook(request: HttpRequest) -> bool:
    """Tell whether one of our views will be called, before Django has looked for the view."""
    # The last part of the path first: most requests of a site need not be resolved twice.
    if request.path_info.rstrip("/").rpartition("/")[2] not in _names():
        return False
    try:
        match = resolve(request.path_info, getattr(request, "urlconf", None))
    except Http404:
        return False
    return hasattr(match.func, MARK)


def watch(middleware: Any) -> None:
    """Have a middleware leave read-only sessions attached to webhooks."""
    original = middleware.process_request

    @wraps(original)
    def process_request(self: object, request: HttpRequest) -> object:
        response = original(self, request)
        if _is_webhook(request):
            make_read_only(request)
        return response

    middleware.process_request = process_request


watch(SessionMiddleware)
watch(AuthenticationMiddleware)
