"""React to database changes: drop caches, end rights, notify the server.

What ends is stored in the transaction of the change, and takes effect after its commit (see
`notices`). For sessions, see `ended_sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from .bans import store as bans
from .decisions.store import cache
from .models import Ban, ChannelPolicy, PolicyGroup
from .notices import disconnect, recheck
from .outbox import heads
from .policy.reserved import REPORT_CHANNEL
from .policy.rules import Audience
from .revocations.storing import with_change
from .users.accounts import username, usernames
from .wire.closing import ACCOUNT_GONE, SESSION_EXPIRED

_USER = get_user_model()
_CONCRETE = {field.name for field in _USER._meta.concrete_fields}

#: The fields of users on which rights depend.
_WATCHED = tuple(
    name
    for name in ("password", "is_active", "is_staff", "is_superuser", _USER.USERNAME_FIELD)
    if name in _CONCRETE
)


# ---- bans --------------------------------------------------------------------


def ban_changed(sender: type[Ban], **kwargs: Any) -> None:
    """Drop the cached bans after one was saved or deleted."""
    bans.cache.changed(kwargs["using"])


# ---- policies ----------------------------------------------------------------


def remember_pattern(sender: type[ChannelPolicy], **kwargs: Any) -> None:
    """Remember the pattern that an edit replaces: its channels are rechecked as well."""
    policy: ChannelPolicy = kwargs["instance"]
    rows = ChannelPolicy.objects.using(kwargs["using"]).filter(pk=policy.pk)
    before = list(rows.values_list("pattern", "durable", "name"))
    policy._hookbox_patterns = [pattern for pattern, _durable, _name in before]  # type: ignore[attr-defined]
    policy._hookbox_durable = [name for _pattern, durable, name in before if durable]  # type: ignore[attr-defined]


def policy_changed(sender: type[ChannelPolicy], **kwargs: Any) -> None:
    """Drop the cached rules and recheck live channels after a policy was saved or deleted."""
    policy: ChannelPolicy = kwargs["instance"]
    cache.changed(kwargs["using"])
    patterns = {policy.pattern, *vars(policy).pop("_hookbox_patterns", ())}
    durable = vars(policy).pop("_hookbox_durable", [policy.name] if policy.durable else [])
    if kwargs["signal"] is post_delete or not (policy.durable and policy.enabled):
        for name in durable:
            _of_streams(kwargs["using"], heads.end_epochs, name)
    else:
        for name in durable:
            if name != policy.name:
                _of_streams(kwargs["using"], heads.rename_opener, name, policy.name)
    recheck(kwargs["using"], patterns=patterns)


def _of_streams(using: str, change: Callable[..., None], *policies: str) -> None:
    """Change the channels that a policy has made durable, with the change of the policy.

    Args:
        using: The alias of the policy's database.
        change: What changes them.
        policies: The name of the policy, and the others that `change` takes.

    """
    alias = heads.database()
    now = partial(change, alias, *(f"policy:{name}"[:255] for name in policies))
    if alias == using:
        now()
    else:
        transaction.on_commit(now, using=using)


def policy_groups_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Do the same when a policy's groups change."""
    if not kwargs["action"].startswith("post_"):
        return
    cache.changed(kwargs["using"])
    if isinstance(kwargs["instance"], ChannelPolicy):
        recheck(kwargs["using"], patterns=[kwargs["instance"].pattern])


def _patterns_of(*audiences: Audience) -> list[str]:
    """Return the patterns of policies whose subscribe audience is one of these."""
    # Not from the changed object's database: a router may store policies in another one. From the
    # one for writing, which shows the changes of the open transaction.
    policies = ChannelPolicy.objects.using(router.db_for_write(ChannelPolicy)).enabled()
    found = policies.filter(subscribe_audience__in=audiences).values_list("pattern", flat=True)
    # A permission also opens the server page's channel, which has no row.
    return [*found, REPORT_CHANNEL] if Audience.PERMISSION in audiences else list(found)


# ---- users -------------------------------------------------------------------


def _save_with_revocations(model: Any) -> None:
    """Let a model of users be saved in one transaction with what the save revokes."""
    original = model.save_base

    @wraps(original)
    def save_base(
        self: Any,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        # A new account has no rights yet, and a login only saves last_login.
        if not self._state.adding and _watched(update_fields):
            alias = using or router.db_for_write(type(self), instance=self)
            with with_change(alias):
                original(self, raw, force_insert, force_update, using, update_fields)
        else:
            original(self, raw, force_insert, force_update, using, update_fields)

    save_base.alters_data = True  # type: ignore[attr-defined]
    model.save_base = save_base


def _watched(update_fields: Iterable[str] | None) -> list[str]:
    """Return the fields on which rights depend among those that a save writes."""
    return [name for name in _WATCHED if update_fields is None or name in update_fields]


def remember_user(sender: type[models.Model], **kwargs: Any) -> None:
    """Remember what a save may change about a user's rights."""
    user, watched = kwargs["instance"], _watched(kwargs["update_fields"])
    before = None
    # A login only saves last_login, which needs no query.
    if watched and user.pk is not None and not user._state.adding and not kwargs["raw"]:
        rows = _USER._base_manager.using(kwargs["using"]).filter(pk=user.pk)
        row = rows.values(*{*watched, _USER.USERNAME_FIELD}).first()
        if row is not None:
            name = _as_python(_USER.USERNAME_FIELD, row[_USER.USERNAME_FIELD])
            before = _Before(str(name), {name: row[name] for name in watched})
    user._hookbox_before = before


@dataclass(frozen=True, slots=True)
class _Before:
    """The state before a save: the saved name, and the fields on which rights depend."""

    username: str
    values: Mapping[str, object]

    def changed(self, user: object) -> set[str]:
        """Return the fields that have changed."""
        return {
            name
            for name, value in self.values.items()
            if _as_python(name, getattr(user, name)) != _as_python(name, value)
        }


def _as_python(name: str, value: object) -> object:
    """Return a value as its field converts it: "7" may be assigned where 7 is read back."""
    try:
        field: Any = _USER._meta.get_field(name)
        return field.to_python(value)
    except ValidationError:
        return value


def user_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """End the rights that a saved user no longer has."""
    user, using = kwargs["instance"], kwargs["using"]
    before: _Before | None = getattr(user, "_hookbox_before", None)
    if before is None:
        return
    user._hookbox_before = None
    changed, name = before.changed(user), before.username
    if "is_active" in changed and not user.is_active:
        disconnect(using, "user", [name], ACCOUNT_GONE, "account deactivated")
    elif changed & {"password", _USER.USERNAME_FIELD}:
        disconnect(using, "user", [name], SESSION_EXPIRED, "password or name changed")
    elif changed & {"is_staff", "is_superuser"}:
        recheck(using, users=[name])


def user_deleted(sender: type[models.Model], **kwargs: Any) -> None:
    """Close the connections of a deleted account."""
    name = username(kwargs["instance"])
    disconnect(kwargs["using"], "user", [name], ACCOUNT_GONE, "account deleted")


def memberships_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Recheck the subscriptions of users whose groups or permissions change."""
    action, instance, using = kwargs["action"], kwargs["instance"], kwargs["using"]
    if isinstance(instance, _USER):
        if action.startswith("post_"):
            recheck(using, users=[username(instance)])
        return
    # The reverse side: group.user_set.add(…). Read what is cleared beforehand.
    users = _USER._base_manager.using(using)
    if action in ("post_add", "post_remove"):
        found = users.filter(pk__in=kwargs["pk_set"])
    elif action == "pre_clear":
        found = users.filter(**{_name_of_relation(sender): instance})
    else:
        return
    recheck(using, users=usernames(found))


def _name_of_relation(through: type[models.Model]) -> str:
    return next(
        field.name for field in _USER._meta.many_to_many if field.remote_field.through is through
    )


def group_permissions_changed(sender: type[models.Model], **kwargs: Any) -> None:
    """Recheck channels that a permission opens when a group's permissions change."""
    if kwargs["action"].startswith("post_"):
        using = kwargs["using"]
        recheck(using, patterns=_patterns_of(Audience.PERMISSION))


def group_deleted(sender: type[models.Model], **kwargs: Any) -> None:
    """Recheck channels that groups or permissions open when a group is deleted."""
    using = kwargs["using"]
    elsewhere = router.db_for_write(PolicyGroup)
    # Not if the router was bypassed, for example in a copy of the site.
    if elsewhere != using == router.db_for_write(sender):
        rows = PolicyGroup._base_manager.using(elsewhere).filter(group=kwargs["instance"].pk)
        transaction.on_commit(rows.delete, using=using)
    cache.changed(using)
    recheck(using, patterns=_patterns_of(Audience.GROUPS, Audience.PERMISSION))


# ---- connecting them -----------------------------------------------------------

pre_save.connect(remember_pattern, sender=ChannelPolicy)
post_save.connect(ban_changed, sender=Ban)
post_delete.connect(ban_changed, sender=Ban)
post_save.connect(policy_changed, sender=ChannelPolicy)
post_delete.connect(policy_changed, sender=ChannelPolicy)
m2m_changed.connect(policy_groups_changed, sender=PolicyGroup)

for _model in apps.get_models():
    if issubclass(_model, _USER):  # proxy models send their own signals
        pre_save.connect(remember_user, sender=_model)
        post_save.connect(user_changed, sender=_model)
        post_delete.connect(user_deleted, sender=_model)
        _save_with_revocations(_model)
    if issubclass(_model, Group):
        pre_delete.connect(group_deleted, sender=_model)
for _relation in ("groups", "user_permissions"):
    if hasattr(_USER, _relation):
        m2m_changed.connect(memberships_changed, sender=getattr(_USER, _relation).through)
m2m_changed.connect(group_permissions_changed, sender=Group.permissions.through)
