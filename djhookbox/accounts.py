"""Accounts and their names: the one place that knows what `USERNAME_FIELD` may hold.

The names of connections are texts, those of accounts need not be: a `BigIntegerField` or a
`PhoneNumberField` can be the USERNAME_FIELD of a user model as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


def username(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return the name that the connections of a user have."""
    return str(user.get_username())


def named(names: Iterable[str], users: models.QuerySet[Any] | None = None) -> models.QuerySet[Any]:
    """Return the accounts that may have one of these names.

    Compare `username`: some databases find “Alice” for “alice”, and a number has many spellings.

    Args:
        names: Names of connections; those that no account can have are left out.
        users: The accounts to choose from, if not all.

    """
    model = get_user_model()
    field: Any = model._meta.get_field(model.USERNAME_FIELD)
    values = []
    for name in names:
        try:
            value = field.to_python(name)
            if isinstance(value, int):
                field.run_validators(value)  # a database may fail on a number beyond its range
        except (ValidationError, ValueError, TypeError, OverflowError):
            continue
        values.append(value)
    rows = model._default_manager.all() if users is None else users
    return rows.filter(**{f"{model.USERNAME_FIELD}__in": values})


def find(name: str) -> Any | None:
    """Return the account of exactly this name, None if there is none."""
    return next((user for user in named([name]) if username(user) == name), None)


def usernames(users: models.QuerySet[Any]) -> list[str]:
    """Return the names of accounts, read with one query and nothing else of them."""
    return [username(user) for user in users.only(get_user_model().USERNAME_FIELD)]
