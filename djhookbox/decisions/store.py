"""The policies as rules: loaded with one query, cached in each process.

An edit drops the cache of its own process when it is committed; other processes notice within
`TTL` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import router, transaction

from .. import options, transactions
from ..exceptions import PatternError
from ..models import ChannelPolicy
from ..policy.patterns import Pattern, compile_pattern
from ..policy.rules import Rule

logger = logging.getLogger("djhookbox")

#: Marks a transaction that has changed policies.
_CHANGED = "policies changed"

#: Seconds for which a process goes by what it has loaded.
TTL = 1.0

_OPTIONS = tuple(
    field.name for field in ChannelPolicy._meta.fields if field.name in options.CHANNEL
)
_COLUMNS = (
    "pk",
    "name",
    "pattern",
    "create_audience",
    "subscribe_audience",
    "publish_audience",
    "permission",
    *_OPTIONS,
)


def load() -> tuple[Rule, ...]:
    """Read the enabled policies from the database, with their groups, in their order."""
    rows: dict[int, Mapping[str, Any]] = {}
    groups: dict[int, set[int]] = {}
    # One row for each group of a policy: cheaper than a second query on every webhook that
    # finds the cache empty.
    for row in ChannelPolicy.objects.enabled().values(*_COLUMNS, "groups"):
        rows.setdefault(row["pk"], row)
        groups.setdefault(row["pk"], set())
        if row["groups"] is not None:
            groups[row["pk"]].add(row["groups"])
    return tuple(_rule(row, groups[pk]) for pk, row in rows.items())


def _rule(row: Mapping[str, Any], groups: Iterable[int]) -> Rule:
    pattern: Pattern | None
    try:
        pattern = compile_pattern(row["pattern"])
    except PatternError as error:
        # Written past the form, or with a converter that the project has since removed.
        logger.error(
            "Policy %r is malformed and refuses every channel it might match: %s",
            row["name"],
            error,
        )
        pattern = None
    chosen = {name: row[name] for name in _OPTIONS}
    chosen["polling"] = options.complete_polling(chosen["polling"])
    rule = Rule(
        name=row["name"],
        text=row["pattern"],
        pattern=pattern,
        create=row["create_audience"],
        subscribe=row["subscribe_audience"],
        publish=row["publish_audience"],
        groups=frozenset(groups),
        permission=row["permission"],
        options=chosen,
    )
    chosen.update(rule.forced_options())
    return rule


class Cache:
    """The rules that a process goes by."""

    def __init__(
        self,
        load: Callable[[], tuple[Rule, ...]] = load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._held: tuple[float, tuple[Rule, ...]] | None = None

    def get(self, *, fresh: bool = False) -> tuple[Rule, ...]:
        """Return the rules; `fresh` ones come from the database whatever is held."""
        using = router.db_for_read(ChannelPolicy)
        if transactions.is_marked(using, _CHANGED):
            # Whoever has edited a policy sees the edit, and nobody else until it is committed.
            return self._load()
        inside = transaction.get_connection(using).in_atomic_block
        generation, held, now = self._generation, self._held, self._clock()
        if held is not None and not fresh and now - held[0] < TTL:
            return held[1]
        rules = self._load()
        if not inside:  # a transaction may see a past that others must not be given
            with self._lock:
                if generation == self._generation:  # else dropped while it was loaded
                    self._held = (now, rules)
        return rules

    def drop(self) -> None:
        """Forget what is held."""
        with self._lock:
            self._generation += 1
            self._held = None

    def changed(self, using: str | None) -> None:
        """Notice an edit, and drop what is held when it is committed."""
        transactions.mark(using, _CHANGED)

        def committed() -> None:
            transactions.unmark(using, _CHANGED)
            self.drop()

        transaction.on_commit(committed, using=using)


#: The one cache of this process.
cache = Cache()
