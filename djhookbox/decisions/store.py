"""The policies as rules: loaded with one query and cached in each process.

An edit drops the cache of its own process on commit; other processes notice within `TTL` seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import router
from django.db.models.sql.constants import MULTI

from .. import options
from ..caching import TTL as TTL
from ..caching import RowCache
from ..exceptions import PatternError
from ..models import ChannelPolicy
from ..policy.patterns import Pattern, compile_pattern
from ..policy.rules import Rule
from ..wire.options import CHANNEL

logger = logging.getLogger("djhookbox")

_OPTIONS = tuple(field.name for field in ChannelPolicy._meta.fields if field.name in CHANNEL)
_COLUMNS = (
    "id",
    "name",
    "pattern",
    "create_audience",
    "subscribe_audience",
    "publish_audience",
    "permission",
    *_OPTIONS,
)


def load() -> tuple[Rule, ...]:
    """Load the enabled policies with their groups, in order.

    As long as the rows are the same, so are the rules, without converting them again.
    """
    # One row per group of a policy: cheaper than a second query in every webhook that finds the
    # cache empty.
    policies = ChannelPolicy.objects.using(router.db_for_write(ChannelPolicy))
    found = policies.enabled().values(*_COLUMNS, "groups")
    compiler = found.query.get_compiler(using=found.db)
    # As the driver returns them; converting them takes most of the time.
    raw = [tuple(row) for rows in compiler.execute_sql(MULTI) for row in rows]
    known = _loaded.get(found.db)
    if known is not None and known[0] == raw:
        return known[1]
    names = found.query.values_select
    rows: dict[int, Mapping[str, Any]] = {}
    groups: dict[int, set[int]] = {}
    for values in compiler.results_iter([raw]):
        row = dict(zip(names, values, strict=True))
        rows.setdefault(row["id"], row)
        groups.setdefault(row["id"], set())
        if row["groups"] is not None:
            groups[row["id"]].add(row["groups"])
    rules = tuple(_rule(row, groups[pk]) for pk, row in rows.items())
    _loaded[found.db] = (raw, rules)
    return rules


#: The rows that were loaded last from each database, and their rules.
_loaded: dict[str, tuple[list[Any], tuple[Rule, ...]]] = {}


def rule_of(policy: ChannelPolicy, groups: Iterable[int] = ()) -> Rule:
    """Return the rule of a policy, which need not be saved, for these primary keys of groups."""
    return _rule({name: getattr(policy, name) for name in _COLUMNS}, groups)


def _rule(row: Mapping[str, Any], groups: Iterable[int]) -> Rule:
    pattern: Pattern | None
    try:
        pattern = compile_pattern(row["pattern"])
    except PatternError as error:
        # Written without the form, or using a converter that the project has since removed.
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


class Cache(RowCache[tuple[Rule, ...]]):
    """The rules that a process uses."""

    def __init__(
        self,
        load: Callable[[], tuple[Rule, ...]] = load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ChannelPolicy, load, clock)
        self._instead: tuple[Rule, ...] | None = None

    @contextmanager
    def replaced(self, rules: Iterable[Rule], *, keep: bool = False) -> Iterator[None]:
        """Use other rules until the block ends, for tests; blocks may be nested.

        Args:
            rules: The rules, in order.
            keep: Whether the rules that apply now follow them.

        """
        before = self._instead
        self._instead = (*rules, *(self.get(fresh=True) if keep else ()))
        try:
            yield
        finally:
            self._instead = before

    def get(self, *, fresh: bool = False) -> tuple[Rule, ...]:
        """Return the rules; with `fresh`, always from the database."""
        return super().get(fresh=fresh) if self._instead is None else self._instead


#: The only cache of this process.
cache = Cache()
