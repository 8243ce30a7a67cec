"""Find accounts by name, whatever type `USERNAME_FIELD` has.

Names of connections are strings. Names of accounts need not be: the USERNAME_FIELD of a custom user
model can be a `BigIntegerField` or a `PhoneNumberField`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

#: A Django user, with or without an account.
User: TypeAlias = "AbstractBaseUser | AnonymousUser"


def username(user: User) -> str:
    """Return the name of a user's connections."""
    return str(user.get_username())


def named(names: Iterable[str], users: models.QuerySet[Any] | None = None) -> models.QuerySet[Any]:
    """Return the accounts that may have one of these names.

    Compare `username` afterwards: some databases match “Alice” for “alice”, and “007” is
    the number 7.

    Args:
        names: Names of connections; names that no account can have are ignored.
        users: The accounts to search; all accounts by default.

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
    """Return the account with exactly this name, or None."""
    return next((user for user in named([name]) if username(user) == name), None)


def usernames(users: models.QuerySet[Any]) -> list[str]:
    """Return the names of accounts with one query that reads nothing else."""
    return [username(user) for user in users.only(get_user_model().USERNAME_FIELD)]
