"""Named questions to the database."""

from __future__ import annotations

import datetime
import functools
import operator
from collections.abc import Sequence
from typing import Any

from django.db import connections, models
from django.utils import timezone


class ChannelPolicyQuerySet(models.QuerySet[Any]):
    """Questions about policies."""

    def enabled(self) -> ChannelPolicyQuerySet:
        """Return the policies that take part in decisions, in the order they are tried."""
        return self.filter(enabled=True).order_by("order", "pk")

    def get_by_natural_key(self, name: str) -> Any:
        """Return the policy of a name, for fixtures."""
        return self.get(name=name)


class WithoutRows(models.Manager[Any]):
    """The manager of models that have no table."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return nothing, without a query."""
        return super().get_queryset().none()


class LogQuerySet(models.QuerySet[Any]):
    """Questions about logs."""

    def older_than(self, days: float) -> LogQuerySet:
        """Return what happened more than so many days ago."""
        return self.filter(created__lt=timezone.now() - datetime.timedelta(days=days))

    def naming(self, value: str, fields: Sequence[str]) -> LogQuerySet:
        """Return the rows in which one of the fields is exactly the value.

        A field that has the value nowhere is left out, which its index knows at once: without
        an OR the database reads the newest rows of the one field in their order, and stops.
        """
        everything = self.model._default_manager.using(self.db)
        having = [
            condition
            for condition in (self._is(name, value) for name in fields)
            if everything.filter(condition).exists()
        ]
        return self.filter(functools.reduce(operator.or_, having)) if having else self.none()

    def _is(self, name: str, value: str) -> models.Q:
        """Return the condition that a field is exactly the value, by its index."""
        condition = models.Q(**{name: value})
        if connections[self.db].vendor == "mysql":  # to which /News/ equals /news/
            condition &= models.Q(**{f"{name}__startswith": value})
        return condition

    def channel_begins(self, beginning: str) -> LogQuerySet:
        """Return the rows of channels whose names begin so, by an index of the channels."""
        vendor = connections[self.db].vendor
        if vendor == "sqlite":  # whose LIKE takes no notice of case, and therefore uses no index
            rows = self.filter(channel__gte=beginning)
            end = _after(beginning)
            return rows.filter(channel__lt=end) if end else rows
        rows = self.filter(channel__startswith=beginning)
        # LIKE BINARY uses no index either.
        return rows.filter(channel__istartswith=beginning) if vendor == "mysql" else rows


def _after(beginning: str) -> str:
    """Return the first text behind all that begin so, "" if there is none."""
    for index in range(len(beginning) - 1, -1, -1):
        following = ord(beginning[index]) + 1
        if following == 0xD800:  # halves of surrogate pairs are no characters
            following = 0xE000
        if following < 0x110000:
            return beginning[:index] + chr(following)
    return ""
