"""Load the sessions and users of a batch of webhooks with one query each.

This does for many requests what `SessionMiddleware` and `AuthenticationMiddleware` do for one,
including Django's `get_user()`.
"""

from __future__ import annotations

import copy
import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from ..decisions.store import cache
from ..policy.rules import Audience
from ..users.expiry import NOTE
from ..users.sessions import make_read_only

#: The data of sessions by key, of any types that their serializer knows, and when they expire, if
#: that is known.
_Found = dict[str, tuple[Mapping[str, object], datetime.datetime | None]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A request with a session and a user, and how the user was found.

    Attributes:
        request: What a view would get if the call had been made alone.
        backend: The authentication backend of the session, if it has one.
        by_fallback: Whether the session's hash fits only a fallback of SECRET_KEY.
        gone: Whether the session's account is inactive or deleted.

    """

    request: HttpRequest
    backend: object | None
    by_fallback: bool
    gone: bool = False


class Sessions:
    """The sessions and users of the calls of a batch.

    Args:
        request: The request with the batch.
        cookies: The Cookie header of each call; empty if there is none.

    """

    def __init__(self, request: HttpRequest, cookies: Iterable[str]) -> None:
        self._requests = [_request(request, header) for header in cookies]
        _load_sessions(self._requests)
        self._users = _Users(each.session for each in self._requests)

    def request(self, index: int) -> HttpRequest:
        """Return the request of a call, with its session, but without a user."""
        return self._requests[index]

    def loaded(self, index: int) -> Loaded:
        """Return the request of a call.

        Raises:
            Exception: Django fails on this session, too.

        """
        return self._users.loaded(self._requests[index])


@sensitive_variables()
def _load_sessions(requests: Sequence[HttpRequest]) -> None:
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    name = django_settings.SESSION_COOKIE_NAME
    for each in requests:
        each.session = store(each.COOKIES.get(name))
        make_read_only(each)
    given = (each.session.session_key for each in requests)
    # PostgreSQL fails on "\0", which a quoted cookie can contain, and with it all other calls.
    keys = {key for key in given if key and key.isascii() and key.isprintable()}
    read = _READERS.get(store.__module__)
    if read is not None:
        data = read(store, keys)
        for each in requests:
            _fill(each.session, data)


def _request(batch: HttpRequest, header: str) -> HttpRequest:
    request = HttpRequest()
    request.method = batch.method
    request.path, request.path_info = batch.path, batch.path_info
    request.META = {**batch.META, "HTTP_COOKIE": header}
    request.COOKIES = parse_cookie(header)
    return request


def _fill(session: Any, data: _Found) -> None:
    """Give a session its data as if it had read it itself."""
    found, expires = data.get(session.session_key or "", (None, None))
    if found is None:
        session._session_key = None
    session._session_cache = dict(found or {})
    setattr(session, NOTE, expires)


# ---- sessions by their keys ----------------------------------------------------

#: Reads the data of the sessions with these keys; those that do not exist are missing.
_Reader = Callable[[Any, set[str]], _Found]


def _from_database(store: Any, keys: set[str]) -> _Found:
    if not keys:
        return {}
    decode = store().decode
    rows = store.get_model_class().objects.filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    found = rows.values_list("session_key", "session_data", "expire_date")
    return {key: (decode(data), expires) for key, data, expires in found}


def _from_cache(store: Any, keys: set[str]) -> _Found:
    prefix = store.cache_key_prefix
    held = caches[django_settings.SESSION_CACHE_ALIAS].get_many([prefix + key for key in keys])
    return {
        name.removeprefix(prefix): (data, None) for name, data in held.items() if data is not None
    }


def _from_both(store: object, keys: set[str]) -> _Found:
    held = _from_cache(store, keys)
    return held | _from_database(store, keys - set(held))


#: By the modules of Django's stores. Sessions in cookies read themselves and need no query.
_READERS: Mapping[str, _Reader] = {
    "django.contrib.sessions.backends.db": _from_database,
    "django.contrib.sessions.backends.cached_db": _from_both,
    "django.contrib.sessions.backends.cache": _from_cache,
}


# ---- users ---------------------------------------------------------------------


class _Users:
    """The users of some sessions."""

    def __init__(self, sessions: Iterable[Any]) -> None:
        self._backends: dict[str, object] = {}
        self._field: Any = get_user_model()._meta.pk
        self._found: dict[object, object] = {}
        keys = (self._key(session) for session in sessions)
        self._wanted = Counter(key for key in keys if key is not None)
        if self._wanted:
            self._load()

    def _key(self, session: SessionBase) -> Any:
        try:
            return self._field.to_python(session.get(SESSION_KEY))
        except ValidationError:
            return None  # the call with this session fails, see `loaded`

    def _load(self) -> None:
        """Load the users, and their groups if a policy asks for groups."""
        model = get_user_model()
        users = list(model._default_manager.filter(pk__in=list(self._wanted)))
        if hasattr(model, "groups") and any(
            Audience.GROUPS in (rule.create, rule.subscribe, rule.publish) for rule in cache.get()
        ):
            models.prefetch_related_objects(users, "groups")
        self._found = {user.pk: user for user in users}

    def loaded(self, request: HttpRequest) -> Loaded:
        """Give a request its user, like Django's `get_user()`."""
        session: SessionBase = request.session
        request.user = AnonymousUser()
        try:
            key = self._field.to_python(session[SESSION_KEY])
            path = session[BACKEND_SESSION_KEY]
        except KeyError:
            return Loaded(request, None, by_fallback=False)
        if path not in django_settings.AUTHENTICATION_BACKENDS:
            return Loaded(request, None, by_fallback=False)
        backend = self._backend(path)
        user = self._take(key)
        if (
            user is None
            or not isinstance(backend, ModelBackend)
            or not backend.user_can_authenticate(user)
        ):
            return Loaded(request, backend, by_fallback=False, gone=True)
        fits = _fit(user, session)
        if fits is None:
            session.flush()
        else:
            request.user = user
        return Loaded(request, backend, by_fallback=fits is False)

    def _backend(self, path: str) -> Any:
        if path not in self._backends:
            self._backends[path] = load_backend(path)
        return self._backends[path]

    def _take(self, key: object) -> Any:
        """Return a user; each session gets its own object, as in separate requests."""
        user = self._found.get(key)
        return user if user is None or self._wanted[key] == 1 else copy.copy(user)


def _fit(user: Any, session: Any) -> bool | None:
    """Return whether a session was made with the user's current password.

    False means that this is so with a fallback of SECRET_KEY, and None that it was not.
    """
    if not hasattr(user, "get_session_auth_hash"):
        return True
    given = session.get(HASH_SESSION_KEY)
    if not given:
        return None
    if constant_time_compare(given, user.get_session_auth_hash()):
        return True
    fallbacks = user.get_session_auth_fallback_hash()
    return False if any(constant_time_compare(given, each) for each in fallbacks) else None
