"""Close connections when their session ends: logged out, key changed, or deleted.

A `post_delete` receiver would work for sessions in the database, but Django then loads every row it
deletes: `clearsessions` would take twenty times as long. Instead, this wraps the methods that
delete one or many rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, wraps
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import models, router
from django.http import HttpRequest
from django.utils import timezone

from ..notices import disconnect
from ..revocations.storing import with_change
from ..wire.closing import SESSION_EXPIRED
from .identity import session_identity


def _end(using: str | None, keys: Iterable[str]) -> None:
    identities = map(session_identity, keys)
    disconnect(using, "identity", identities, SESSION_EXPIRED, "session ended")


# ---- sessions in the database --------------------------------------------------


class _SessionQuerySet(models.QuerySet[Any]):
    """Closes the connections of the sessions that it deletes."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows as Django does, all at once."""
        if self.query.is_sliced or self.query.combinator:
            return super().delete()  # which raises
        using = self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]
        # Expired sessions have no connections, so `clearsessions` finds none here.
        live = self.using(using).filter(expire_date__gt=timezone.now()).order_by()
        rows = live.values_list("pk", "session_data").iterator()
        keys = [key for key, data in rows if _has_user(self.model(session_data=data))]
        if not keys:
            return super().delete()
        with with_change(using):
            deleted = super().delete()
            _end(using, keys)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


def _has_user(session: Any) -> bool:
    return SESSION_KEY in session.get_decoded()


@cache
def _watched(queryset: type[models.QuerySet[Any]]) -> type[models.QuerySet[models.Model]]:
    if queryset is models.QuerySet:
        return _SessionQuerySet
    return type(queryset.__name__, (_SessionQuerySet, queryset), {"__module__": __name__})


def _watch(model: Any) -> None:
    """Watch a session model for deleted rows."""
    inherited = [m for base in model.__mro__ if hasattr(base, "_meta")
                 for m in base._meta.local_managers]  # fmt: skip
    for manager in [*inherited, *model._meta.managers]:  # these are copies of the inherited ones
        manager._queryset_class = _watched(manager._queryset_class)
    original = model.delete

    @wraps(original)
    def delete(self: Any, using: str | None = None, *args: Any, **kwargs: object) -> object:
        using = using or router.db_for_write(type(self), instance=self)
        key = self.session_key
        if not (self.expire_date > timezone.now() and _has_user(self)):
            return original(self, using, *args, **kwargs)
        with with_change(using):
            deleted = original(self, using, *args, **kwargs)
            _end(using, [key])
        return deleted

    model.delete = delete


# ---- sessions elsewhere --------------------------------------------------------


def logged_out(sender: object, request: HttpRequest | None, user: object, **kwargs: object) -> None:
    """Close the connections of a session that is logged out and has no row."""
    session: Any = getattr(request, "session", None)
    if user is None or session is None or not session.session_key:
        return
    if _model_of(type(session)) not in _MODELS:
        _end(None, [session.session_key])


def logged_in(sender: object, request: HttpRequest | None, **kwargs: object) -> None:
    """Close the connections of a session without a row that a login has replaced."""
    session: Any = getattr(request, "session", None)
    if request is None or session is None or _model_of(type(session)) in _MODELS:
        return
    before = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    if before and before != session.session_key:
        _end(None, [before])


def _model_of(store: object) -> object | None:
    """Return the model of a session store, or None if it does not use the database."""
    get_model_class = getattr(store, "get_model_class", None)
    return get_model_class() if get_model_class is not None else None


def _models() -> tuple[Any, ...]:
    if not apps.is_installed("django.contrib.sessions"):
        return ()
    model = _model_of(import_module(django_settings.SESSION_ENGINE).SessionStore)
    return () if model is None else (model,)


# ---- connecting them -----------------------------------------------------------

_MODELS = _models()

for _model in _MODELS:
    _watch(_model)
user_logged_in.connect(logged_in)
user_logged_out.connect(logged_out)
