"""Named questions to the database."""

from __future__ import annotations

import datetime
from typing import Any

from django.db import models
from django.utils import timezone


class ChannelPolicyQuerySet(models.QuerySet[Any]):
    """Questions about policies."""

    def enabled(self) -> ChannelPolicyQuerySet:
        """Return the policies that take part in decisions, in the order they are tried."""
        return self.filter(enabled=True).order_by("order", "pk")

    def get_by_natural_key(self, name: str) -> Any:
        """Return the policy of a name, for fixtures."""
        return self.get(name=name)


class LogQuerySet(models.QuerySet[Any]):
    """Questions about logs."""

    def older_than(self, days: float) -> LogQuerySet:
        """Return what happened more than so many days ago."""
        return self.filter(created__lt=timezone.now() - datetime.timedelta(days=days))
