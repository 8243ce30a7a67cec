"""Accounts that have a number for a name, a UUID for a key, and neither names nor usernames."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class AccountManager(BaseUserManager["Account"]):
    """Makes accounts."""

    def create_superuser(self, number: int, password: str | None = None, **more: Any) -> Account:
        account = self.model(number=number, is_staff=True, is_superuser=True, **more)
        account.set_password(password)
        account.save(using=self._db)
        return account


class Account(AbstractBaseUser, PermissionsMixin):
    """A customer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    number = models.BigIntegerField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = AccountManager()

    USERNAME_FIELD = "number"

    def __str__(self) -> str:
        return f"Customer {self.number}"
