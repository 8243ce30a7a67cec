"""Decide again whether rows of the outbox may be published: policies may have changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from django.utils.translation import gettext as _

from ..policy import reserved
from ..policy.rules import Audience, Rule
from .rows import Row


class Allowed(NamedTuple):
    """How a row of the outbox may be published, or why it may not.

    Attributes:
        opened_by: The policy or handler that makes the channel durable.
        problem: Why it cannot be published any more.

    """

    opened_by: str = ""
    history_size: int = 0
    history_duration: int = 0
    problem: str = ""


class Allowing:
    """Decide about the rows of one call, once for each channel.

    Args:
        rules: The policies. Handlers are not asked again.

    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._decided: dict[tuple[str, str], Allowed | None] = {}

    def check(self, row: Row) -> str:
        """Return why a row can no longer be published, or ""; note under which policy it is."""
        key = (row.channel, row.opened_by)
        if key not in self._decided:
            self._decided[key] = self._decide(row.channel, row.opened_by.startswith("handler:"))
        allowed = self._decided[key]
        if allowed is None:
            return ""
        if not allowed.problem:
            row.opened_by = allowed.opened_by
            row.history_size = allowed.history_size
            row.history_duration = allowed.history_duration
        return allowed.problem

    def _decide(self, channel: str, by_handler: bool) -> Allowed | None:
        """Return what the policies say now; None if a handler has decided, and still may."""
        for rule in chain(reserved.RULES, self._rules):
            if not rule.covers(channel):
                continue
            if rule.pattern is None:
                return Allowed(
                    problem=_("The policy “%(name)s” is malformed.") % {"name": rule.name}
                )
            if rule.create == Audience.HANDLERS and by_handler:
                return None
            if not rule.options.get("durable"):
                return Allowed(
                    problem=_("The policy “%(name)s” is not durable (any more).")
                    % {"name": rule.name}
                )
            return Allowed(
                rule.decider[:255],
                _count(rule.options, "history_size"),
                _count(rule.options, "history_duration"),
            )
        if by_handler:
            return None
        return Allowed(problem=_("No policy opens this channel any more."))


def _count(options: Mapping[str, object], name: str) -> int:
    value = options.get(name)
    return value if isinstance(value, int) else 0
