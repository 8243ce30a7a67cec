"""Querysets of policies and of the audit log."""

from __future__ import annotations

import datetime
import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models.expressions import OrderBy
from django.db.models.lookups import Exact
from django.utils import timezone

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

    from .models import ChannelPolicy

#: So many rows are fetched by their keys.
FEW = 1_000


class Exactly(models.Func):
    """A text that is compared by its characters, whatever the collation of its column.

    With the usual collations of MySQL and MariaDB, `/News/` equals `/news/`, and spaces at the end
    do not count. Names of channels and users differ if any character does.
    """

    template = "%(expressions)s"
    output_field = models.TextField()

    def as_mysql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> object:
        """Compare the bytes."""
        template = "CAST(CONVERT(%(expressions)s USING utf8mb4) AS BINARY)"
        return self.as_sql(compiler, connection, template=template, **context)


class ByPrefix(OrderBy):
    """The order of an index of prefixes, which is that of bytes."""

    # Django looks for the direction at the end.
    template = "%(expression)s USING %(operator)s /* %(ordering)s */"

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the SQL and its parameters."""
        kwargs["operator"] = "~>~" if self.descending else "~<~"
        return super().as_sql(compiler, connection, *args, **kwargs)


def has_text(column: str, value: str) -> models.Q:
    """Return the condition that a column has exactly this text, using the column's index."""
    same = Exact(Exactly(models.F(column)), Exactly(models.Value(value)))
    return models.Q(**{column: value}) & models.Q(same)


class ChannelPolicyQuerySet(models.QuerySet[Any]):
    """A queryset of policies."""

    def enabled(self) -> ChannelPolicyQuerySet:
        """Return the enabled policies in the order in which they are tried."""
        return self.filter(enabled=True).order_by("order", "pk")

    def get_by_natural_key(self, name: str) -> ChannelPolicy:
        """Return the policy with a name, for fixtures."""
        found: ChannelPolicy = self.get(name=name)
        return found


class WithoutRows(models.Manager[Any]):
    """The manager of models without a table."""

    def get_queryset(self) -> models.QuerySet[models.Model]:
        """Return an empty queryset that makes no query."""
        return super().get_queryset().none()


class LogQuerySet(models.QuerySet[Any]):
    """A queryset of an audit log."""

    def older_than(self, days: float) -> LogQuerySet:
        """Return rows older than this many days."""
        return self.filter(created__lt=timezone.now() - datetime.timedelta(days=days))

    def naming(self, value: str, fields: Sequence[str]) -> LogQuerySet:
        """Return the rows in which one of the fields equals the value.

        A field without this value is omitted, which its index reveals at once. Without an OR, the
        database reads the newest rows of the remaining field in index order and stops.
        """
        everything = self.model._default_manager.using(self.db)
        having = [
            condition
            for condition in (has_text(name, value) for name in fields)
            if everything.filter(condition).exists()
        ]
        return self.filter(functools.reduce(operator.or_, having)) if having else self.none()

    def channel_begins(self, beginning: str) -> LogQuerySet:
        """Return the rows of channels with a prefix, using an index on the channels."""
        vendor = connections[self.db].vendor
        if vendor == "sqlite":  # its LIKE ignores case and therefore uses no index
            rows = self.filter(channel__gte=beginning)
            end = _after(beginning)
            return rows.filter(channel__lt=end) if end else rows
        rows = self.filter(channel__startswith=beginning)
        if vendor == "postgresql":
            # It estimates badly how many there are, and if they are few, it must not read all rows
            # from the newest on until it has a page of them.
            everything = self.model._default_manager.using(self.db)
            found = everything.filter(channel__startswith=beginning)
            order = ByPrefix(models.F("channel"), descending=True)
            keys = list(found.order_by(order).values_list("pk", flat=True)[: FEW + 1])
            return rows if len(keys) > FEW else self.filter(pk__in=keys)
        # LIKE BINARY does not use an index either.
        return rows.filter(channel__istartswith=beginning) if vendor == "mysql" else rows


def _after(beginning: str) -> str:
    """Return the first text after all texts with this prefix, or "" if there is none."""
    for index in range(len(beginning) - 1, -1, -1):
        following = ord(beginning[index]) + 1
        if following == 0xD800:  # surrogates are not characters
            following = 0xE000
        if following < 0x110000:
            return beginning[:index] + chr(following)
    return ""
