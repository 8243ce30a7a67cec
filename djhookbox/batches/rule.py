"""Which sites may be sent batches, and which calls of a batch must be made alone.

A batch passes through the site's middleware once, for all its calls. A site therefore announces
`batch` only if that makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from importlib import import_module
from itertools import chain
from weakref import ReferenceType

from django.conf import settings as django_settings
from django.contrib.auth.backends import ModelBackend
from django.dispatch import Signal
from django.utils.module_loading import import_string

from .. import handlers, signals
from ..conf import settings
from ..decisions.decide import BY_POLICY
from ..decisions.store import cache
from ..parsing import Received
from ..policy import reserved
from ..policy.rules import Audience, Operation
from ..wire import batches, capabilities, webhooks
from ..wire.webhooks import AnyWebhook

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"

#: Django's middleware that neither changes a webhook nor depends on its cookies. LocaleMiddleware
#: does: it is run for each call of a batch. Missing are those that log users in.
KNOWN_MIDDLEWARE = frozenset({
    SESSIONS,
    AUTHENTICATION,
    "django.contrib.admindocs.middleware.XViewMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.middleware.cache.CacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.security.SecurityMiddleware",
})  # fmt: skip

#: The modules of Django's session stores whose sessions can be loaded together.
STORES = frozenset(
    f"django.contrib.sessions.backends.{name}"
    for name in ("db", "cached_db", "cache", "signed_cookies")
)


# ---- the site ----------------------------------------------------------------


def site_problems() -> tuple[str, ...]:
    """Return why this site cannot be sent batches, in English as in system checks."""
    return tuple(_site_problems())


def accepted() -> tuple[str, ...]:
    """Return what this site accepts; see `wire.capabilities`."""
    batch = (capabilities.BATCH,) if accepts_batches() else ()
    confirm = (capabilities.CONFIRM,) if accepts_confirming() else ()
    leaving = (capabilities.LEAVING,) if accepts_leaving() else ()
    return capabilities.ALL + batch + confirm + leaving


def accepts_leaving() -> bool:
    """Return whether events may replace the webhooks about users who leave: no handler answers.

    It is all or nothing: an event comes later than a webhook, which would change their order.
    """
    return not any(map(handlers.anyone_for, (Operation.UNSUBSCRIBE, Operation.DESTROY)))


def accepts_batches() -> bool:
    """Return whether this site can be sent batches, without searching again every time."""
    return _accepts_batches(
        tuple(django_settings.MIDDLEWARE),
        settings.batch_middleware,
        django_settings.SESSION_ENGINE,
        django_settings.SESSION_SAVE_EVERY_REQUEST,
    )


@lru_cache(maxsize=8)
def _accepts_batches(*read_settings: object) -> bool:
    return not site_problems()


def accepts_confirming() -> bool:
    """Return whether this site can confirm identities without a request for each.

    Unlike decisions in batches, this works with any session store, and it saves no session.
    """
    return _accepts_confirming(tuple(django_settings.MIDDLEWARE), settings.batch_middleware)


@lru_cache(maxsize=8)
def _accepts_confirming(*read_settings: object) -> bool:
    return not any(_middleware_problems())


def unknown_middleware() -> Iterator[str]:
    """Yield the entries of MIDDLEWARE that are not known to do nothing to webhooks.

    Raises:
        ImportError: If an entry cannot be imported.

    """
    for path, name in _middleware():
        if name not in KNOWN_MIDDLEWARE and path not in settings.batch_middleware:
            yield path


def _middleware() -> Iterator[tuple[str, str]]:
    """Yield the entries of MIDDLEWARE with the names of what they lead to."""
    for path in django_settings.MIDDLEWARE:
        middleware = import_string(path)
        yield path, f"{middleware.__module__}.{getattr(middleware, '__qualname__', '')}"


def _middleware_problems() -> Iterator[str]:
    for path in unknown_middleware():
        yield (
            f"{path} may depend on the cookies of a webhook. If it does nothing to webhooks, "
            "add it to HOOKBOX_BATCH_MIDDLEWARE."
        )
    found = {name for _path, name in _middleware()}
    for name in (SESSIONS, AUTHENTICATION):
        if name not in found:
            yield f"{name} is not in MIDDLEWARE."


def _site_problems() -> Iterator[str]:
    yield from _middleware_problems()
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    if store.__module__ not in STORES or store.__qualname__ != "SessionStore":
        yield (
            f"The session store of SESSION_ENGINE, {django_settings.SESSION_ENGINE}, is not one "
            "of Django's."
        )
    if django_settings.SESSION_SAVE_EVERY_REQUEST:
        yield "SESSION_SAVE_EVERY_REQUEST is on."


# ---- a call ------------------------------------------------------------------


class Alone(Enum):
    """Why a call must be made alone."""

    TIME = "the calls before it took too long"
    BACKEND = "its authentication backend has its own get_user()"
    FALLBACK = "only a fallback of SECRET_KEY fits its session"
    CODE = "a handler or receiver that would be called is not batch_safe"


def why_alone(
    seconds: float, backend: object | None, *, by_fallback: bool, code: Iterable[object]
) -> Alone | None:
    """Return why a call of a batch must be made alone, or None if it can be answered.

    Args:
        seconds: The time since work on the batch began.
        backend: The authentication backend of the call's session, if it has one.
        by_fallback: Whether the session's hash fits only a fallback of SECRET_KEY.
        code: The handlers and receivers that the call may cause to be called.

    """
    if seconds >= batches.LONGEST_SECONDS:
        return Alone.TIME
    if has_own_users(backend):
        return Alone.BACKEND
    if by_fallback:
        return Alone.FALLBACK
    if not all(getattr(each, "batch_safe", False) for each in code):
        return Alone.CODE
    return None


def has_own_users(backend: object | None) -> bool:
    """Return whether a session's authentication backend loads users in its own way."""
    if backend is None:
        return False
    return getattr(type(backend), "get_user", None) is not ModelBackend.get_user


_OPERATIONS = {
    "connect": (Operation.CONNECT,),
    "disconnect": (Operation.DISCONNECT,),
    "create_channel": (Operation.CREATE,),
    "destroy_channel": (Operation.DESTROY,),
    "subscribe": (Operation.SUBSCRIBE,),
    "unsubscribe": (Operation.UNSUBSCRIBE,),
    "publish": (Operation.PUBLISH,),
    "message": (Operation.MESSAGE,),
    "subscribe_many": (Operation.CREATE, Operation.SUBSCRIBE),
}


def code_for(received: Received[AnyWebhook]) -> Iterator[object]:
    """Yield the handlers and receivers that a call may cause to be called."""
    for operation in _OPERATIONS[received.webhook.name]:
        signal = signals.signals.get(operation)
        if signal is not None:
            yield from _receivers(signal)
        asked = {operation}
        if operation in BY_POLICY:
            asked.add(Operation.CREATE)  # decides for handlers that only know that
        functions = [code for each in asked for code in handlers.functions_for(each)]
        if functions and (operation not in BY_POLICY or _asks_handlers(received, operation)):
            yield from functions


def _receivers(signal: Signal) -> Iterator[object]:
    for entry in signal.receivers:
        receiver = entry[1]
        function = receiver() if isinstance(receiver, ReferenceType) else receiver
        if function is not None:
            yield function


def _asks_handlers(received: Received[AnyWebhook], operation: Operation) -> bool:
    """Return whether any channel of a call is left to the handlers by the policies."""
    webhook: object = received.webhook
    if isinstance(webhook, webhooks.SubscribeMany):
        channels = [each.channel_name for each in webhook.channels]
    else:
        channels = [str(getattr(webhook, "channel_name", ""))]
    rules = cache.get()
    for channel in channels:
        first = next((rule for rule in chain(reserved.RULES, rules) if rule.covers(channel)), None)
        if first is None:
            return True
        if first.pattern is not None and first.audience(operation) == Audience.HANDLERS:
            return True
    return False
