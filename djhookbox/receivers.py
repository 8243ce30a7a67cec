"""What follows from a change in the database: caches dropped, rights ended, the server told.

All of it after commit. The calls of one transaction are put together, so that editing many
rows costs few calls, and a process that does not run costs one refused connection.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.http import HttpRequest
from django.utils import timezone

from .accounts import username, usernames
from .decisions.store import cache
from .exceptions import HookboxError, HookboxNotRunning
from .identity import session_identity
from .models import ChannelPolicy
from .policy.reserved import REPORT_CHANNEL
from .policy.rules import Audience, reach
from .wire.closing import ACCOUNT_GONE, SESSION_EXPIRED

logger = logging.getLogger("djhookbox")

#: More users than this are not named one by one: all subscriptions are asked for again.
_MANY_USERS = 1000

_USER = get_user_model()
_CONCRETE = {field.name for field in _USER._meta.concrete_fields}

#: The fields of users that rights hang on.
_WATCHED = tuple(
    name
    for name in ("password", "is_active", "is_staff", "is_superuser", _USER.USERNAME_FIELD)
    if name in _CONCRETE
)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling the server about an edit.

    Attributes:
        channels: How many live channels it concerns.
        connections: How many connections are asked about, None if the server does not say.
        error: Why it could not be told, None if it was.

    """

    channels: int = 0
    connections: int | None = None
    error: HookboxError | None = None


_listener: ContextVar[list[Told] | None] = ContextVar("_listener", default=None)


@contextmanager
def listening() -> Iterator[list[Told]]:
    """Collect what comes of telling the server, until the block ends.

    It stays empty where a transaction around the block has yet to be committed.
    """
    told: list[Told] = []
    token = _listener.set(told)
    try:
        yield told
    finally:
        _listener.reset(token)


def _heard(told: Told) -> None:
    listener = _listener.get()
    if listener is not None:
        listener.append(told)


class Notice:
    """What the server is told once a transaction is committed."""

    def __init__(self) -> None:
        self.patterns: set[str] = set()
        self.users: set[str] = set()
        #: By kind (`user` or `identity`) and value: close code and reason.
        self.departures: dict[tuple[str, str], tuple[int, str]] = {}

    @classmethod
    def after_commit(cls, using: str | None) -> Notice:
        """Return the notice of the transaction, or of the savepoint, that is open now."""
        connection = transaction.get_connection(using)
        # None stands for a block without a savepoint, which is rolled back with the one around.
        savepoints = set(connection.savepoint_ids) - {None}
        for known, func, *_rest in reversed(connection.run_on_commit):
            # Not one of another savepoint, which may yet be rolled back without this one.
            if isinstance(func, cls) and set(known) - {None} == savepoints:
                return func
        return cls()

    def book(self, using: str | None) -> None:
        """Have the server told after commit, at once if no transaction is open."""
        waiting = transaction.get_connection(using).run_on_commit
        if not any(func is self for _savepoints, func, *_rest in waiting):
            transaction.on_commit(self, using=using, robust=True)

    def __call__(self) -> None:
        """Tell the server."""
        from . import client

        try:
            for (kind, value), (code, reason) in self.departures.items():
                client.disconnect(**{kind: value}, code=code, reason=reason)
            if self.patterns:
                answer = client.recheck(sorted(self.patterns))
                _heard(Told(_count(answer, "channels") or 0, _count(answer, "connections")))
            if len(self.users) > _MANY_USERS:
                client.recheck([".*"])
            elif self.users:
                client.recheck([".*"], users=sorted(self.users))
        except HookboxNotRunning as error:
            # As in every deploy script: nobody is connected to a process that does not run.
            logger.info("Hookbox is not running, so no connection is affected by a change.")
            _heard(Told(error=error))
        except HookboxError as error:
            logger.warning("Hookbox could not be told of a change: %s", error)
            _heard(Told(error=error))


def _count(answer: Mapping[str, object], name: str) -> int | None:
    value = answer.get(name)
    return value if isinstance(value, int) else None


def _depart(using: str | None, kind: str, value: str, code: int, reason: str) -> None:
    notice = Notice.after_commit(using)
    if notice.departures.get((kind, value), (0, ""))[0] < code:  # gone outweighs changed
        notice.departures[kind, value] = (code, reason)
    notice.book(using)


def _recheck(using: str | None, *, patterns: Iterable[str] = (), users: Iterable[str] = ()) -> None:
    notice = Notice.after_commit(using)
    notice.patterns.update(reach(pattern) for pattern in patterns)
    notice.users.update(users)
    if notice.patterns or notice.users:
        notice.book(using)


# ---- policies ----------------------------------------------------------------


def remember_pattern(sender: type[ChannelPolicy], **kwargs: Any) -> None:
    """Note the pattern that an edit replaces: its channels are to be asked about too."""
    policy: ChannelPolicy = kwargs["instance"]
    rows = ChannelPolicy.objects.using(kwargs["using"]).filter(pk=policy.pk)
    policy._hookbox_patterns = list(rows.values_list("pattern", flat=True))  # type: ignore[attr-defined]


def policy_changed(sender: type[ChannelPolicy], **kwargs: Any) -> None:
    """Drop the rules and have live channels rechecked after a policy was saved or deleted."""
    policy: ChannelPolicy = kwargs["instance"]
    cache.changed(kwargs["using"])
    patterns = {policy.pattern, *vars(policy).pop("_hookbox_patterns", ())}
    _recheck(kwargs["using"], patterns=patterns)


def policy_groups_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Do the same when the groups of a policy change."""
    if not kwargs["action"].startswith("post_"):
        return
    cache.changed(kwargs["using"])
    if isinstance(kwargs["instance"], ChannelPolicy):
        _recheck(kwargs["using"], patterns=[kwargs["instance"].pattern])


def _patterns_of(using: str | None, *audiences: Audience) -> list[str]:
    """Return the patterns of the policies whose readers are one of these."""
    policies = ChannelPolicy.objects.using(using).enabled()
    found = policies.filter(subscribe_audience__in=audiences).values_list("pattern", flat=True)
    # The channel of the server page is opened by a permission too, if not by a row.
    return [*found, REPORT_CHANNEL] if Audience.PERMISSION in audiences else list(found)


# ---- users -------------------------------------------------------------------


def remember_user(sender: type[models.Model], **kwargs: Any) -> None:
    """Note what a save may change about a user's rights."""
    user, update_fields = kwargs["instance"], kwargs["update_fields"]
    watched = [name for name in _WATCHED if update_fields is None or name in update_fields]
    before = None
    # A login saves last_login alone: no reason for another query.
    if watched and user.pk is not None and not user._state.adding and not kwargs["raw"]:
        rows = _USER._base_manager.using(kwargs["using"]).filter(pk=user.pk)
        row = rows.values(*{*watched, _USER.USERNAME_FIELD}).first()
        if row is not None:
            name = _as_python(_USER.USERNAME_FIELD, row[_USER.USERNAME_FIELD])
            before = _Before(str(name), {name: row[name] for name in watched})
    user._hookbox_before = before


@dataclass(frozen=True, slots=True)
class _Before:
    """What a save is about to replace: the name, whether saved or not, and what rights hang on."""

    username: str
    values: Mapping[str, object]

    def changed(self, user: Any) -> set[str]:
        """Return the fields that are other now."""
        return {
            name
            for name, value in self.values.items()
            if _as_python(name, getattr(user, name)) != _as_python(name, value)
        }


def _as_python(name: str, value: object) -> object:
    """Return a value as its field has it: "7" may have been assigned where 7 is read again."""
    try:
        field: Any = _USER._meta.get_field(name)
        return field.to_python(value)
    except ValidationError:
        return value


def user_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """End the rights that a saved user has no more."""
    user, using = kwargs["instance"], kwargs["using"]
    before: _Before | None = getattr(user, "_hookbox_before", None)
    if before is None:
        return
    user._hookbox_before = None
    changed, name = before.changed(user), before.username
    if "is_active" in changed and not user.is_active:
        _depart(using, "user", name, ACCOUNT_GONE.code, "account deactivated")
    elif changed & {"password", _USER.USERNAME_FIELD}:
        _depart(using, "user", name, SESSION_EXPIRED.code, "password or name changed")
    elif changed & {"is_staff", "is_superuser"}:
        _recheck(using, users=[name])


def user_deleted(sender: type[models.Model], **kwargs: Any) -> None:
    """Close the connections of an account that is gone."""
    name = username(kwargs["instance"])
    _depart(kwargs["using"], "user", name, ACCOUNT_GONE.code, "account deleted")


def memberships_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Ask again for the subscriptions of users whose groups or permissions change."""
    action, instance, using = kwargs["action"], kwargs["instance"], kwargs["using"]
    if isinstance(instance, _USER):
        if action.startswith("post_"):
            _recheck(using, users=[username(instance)])
        return
    # The other side: group.user_set.add(…). What is being cleared must be read beforehand.
    users = _USER._base_manager.using(using)
    if action in ("post_add", "post_remove"):
        found = users.filter(pk__in=kwargs["pk_set"])
    elif action == "pre_clear":
        found = users.filter(**{_name_of_relation(sender): instance})
    else:
        return
    _recheck(using, users=usernames(found))


def _name_of_relation(through: type[models.Model]) -> str:
    return next(
        field.name for field in _USER._meta.many_to_many if field.remote_field.through is through
    )


def group_permissions_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Ask again where a permission opens channels, when groups win or lose permissions."""
    if kwargs["action"].startswith("post_"):
        using = kwargs["using"]
        _recheck(using, patterns=_patterns_of(using, Audience.PERMISSION))


def group_deleted(sender: type[models.Model], **kwargs: Any) -> None:
    """Ask again where groups or permissions open channels, when a group goes."""
    using = kwargs["using"]
    cache.changed(using)
    _recheck(using, patterns=_patterns_of(using, Audience.GROUPS, Audience.PERMISSION))


# ---- sessions ----------------------------------------------------------------


def session_deleted(sender: type[models.Model], **kwargs: Any) -> None:
    """Close the connections of a session that is deleted: by logout, by a new key, by hand."""
    session: Any = kwargs["instance"]
    # Clearing out thousands of expired or anonymous sessions concerns no connection.
    if session.expire_date > timezone.now() and SESSION_KEY in session.get_decoded():
        _end_session(kwargs["using"], session.session_key)


def logged_out(sender: object, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    """Close the connections of a session that is logged out and has no row to be deleted."""
    session: Any = getattr(request, "session", None)
    if user is None or session is None or not session.session_key:
        return
    if _model_of(type(session)) not in _SESSION_MODELS:
        _end_session(None, session.session_key)


def logged_in(sender: object, request: HttpRequest | None, **kwargs: Any) -> None:
    """Close the connections of a session without a row that a login has put another in place of."""
    session: Any = getattr(request, "session", None)
    if request is None or session is None or _model_of(type(session)) in _SESSION_MODELS:
        return
    before = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    if before and before != session.session_key:
        _end_session(None, before)


def _end_session(using: str | None, key: str) -> None:
    _depart(using, "identity", session_identity(key), SESSION_EXPIRED.code, "session ended")


def _model_of(store: Any) -> Any | None:
    """Return the model that sessions of a store are kept in, if it keeps them in the database."""
    get_model_class = getattr(store, "get_model_class", None)
    return get_model_class() if get_model_class is not None else None


def _session_models() -> Collection[Any]:
    if not apps.is_installed("django.contrib.sessions"):
        return ()
    model = _model_of(import_module(django_settings.SESSION_ENGINE).SessionStore)
    return () if model is None else (model,)


_SESSION_MODELS = _session_models()


# ---- connecting them -----------------------------------------------------------

pre_save.connect(remember_pattern, sender=ChannelPolicy)
post_save.connect(policy_changed, sender=ChannelPolicy)
post_delete.connect(policy_changed, sender=ChannelPolicy)
m2m_changed.connect(policy_groups_changed, sender=ChannelPolicy.groups.through)

for _model in apps.get_models():
    if issubclass(_model, _USER):  # proxies send signals of their own
        pre_save.connect(remember_user, sender=_model)
        post_save.connect(user_changed, sender=_model)
        post_delete.connect(user_deleted, sender=_model)
for _relation in ("groups", "user_permissions"):
    if hasattr(_USER, _relation):
        m2m_changed.connect(memberships_changed, sender=getattr(_USER, _relation).through)
m2m_changed.connect(group_permissions_changed, sender=Group.permissions.through)
pre_delete.connect(group_deleted, sender=Group)

for _model in _SESSION_MODELS:
    post_delete.connect(session_deleted, sender=_model)
user_logged_in.connect(logged_in)
user_logged_out.connect(logged_out)
