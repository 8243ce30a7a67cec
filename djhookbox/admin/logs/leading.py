"""Make the database follow the index of a filter.

Each index of a log is (column, created, id), so that the newest rows of a filter need no sorting.
But databases also know an index of (created, id), and think that values are spread evenly: asked
for the newest rows of a user who was busy last month, PostgreSQL reads everything since then
backwards. And of two filters, SQLite does not know which is rarer.
"""

from __future__ import annotations

import datetime
import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import BooleanField, CharField, DateTimeField, F, Func, Q, QuerySet, Value
from django.db.models.lookups import Exact, GreaterThanOrEqual, In, LessThan, LessThanOrEqual
from django.db.models.sql.where import WhereNode

from ...querysets import ByPrefix, Exactly

#: How far the rows of a filter are counted to find the rarest filter.
PROBED = 2_000

#: Rows of the rarest filter that are looked through for those that other filters allow, too.
SEARCHED = 5_000

#: Queries for the combinations of several values, at most.
COMBINED = 16

#: The columns of the order, in which a page begins and ends.
ORDER = ("created", "id")

#: When a row was created, and its key.
Reached = tuple[datetime.datetime, int]

#: How many rows have a value, of what has been counted for a page: by model, column and value.
Counts = dict[tuple[type[Any], str, str], int]


def newest(rows: QuerySet[Any], count: int, counts: Counts | None = None) -> list[Any]:
    """Return the first rows, of which a filter may allow several values: `?event__in=…`.

    No index has the newest rows of several values in order, so each combination is a query of its
    own, and their results are merged.

    Args:
        rows: The rows in the order of a list; lists of values begin with `created` and the key.
        count: How many are returned at most.
        counts: What has been counted before, to which more is added.

    """
    found = [list(lead(one, counts)[:count]) for one in _combinations(rows)]
    if len(found) == 1:
        return found[0]
    newest_first = rows.query.standard_ordering
    return list(itertools.islice(heapq.merge(*found, key=_place, reverse=newest_first), count))


def reach(rows: QuerySet[Any], counts: Counts | None = None) -> Reached | None:
    """Return how far rows are looked through: the place of a row, or None for all of them.

    If many rows pass the rarest filter and none of them another one, no index helps: there is none
    for each pair of columns. Then only the first of the rarest filter are looked through.

    Args:
        rows: The rows in the order of a list, newest first.
        counts: What has been counted before, to which more is added.

    """
    reached = (_reach(one, counts) for one in _combinations(rows))
    return max(filter(None, reached), default=None)


def _reach(rows: QuerySet[Any], counts: Counts | None) -> Reached | None:
    found = _filters(rows)
    others = [one for one in _conditions(rows) if not (_is_of_order(one) or _repeats(one, found))]
    if not found or len(others) < 2:
        return None  # an index finds them
    known = {name: _count(rows, one, counts) for name, one in found.items()}
    rarest = min(known, key=known.__getitem__)
    if known[rarest] < min(PROBED, SEARCHED):
        return None
    alone = rows.all()
    conditions = _conditions(alone)
    conditions[:] = [one for one in conditions if one is found[rarest] or _is_of_order(one)]
    places = lead(alone).values_list("created", "pk")[SEARCHED : SEARCHED + 1]
    return next(iter(places), None)


def within(rows: QuerySet[Any], place: Reached | None) -> QuerySet[Any]:
    """Return the rows down to a place, including it."""
    if place is None:
        return rows
    created, key = place
    return rows.filter(Q(created__gte=created), Q(created__gt=created) | Q(pk__gte=key))


def _is_of_order(condition: Any) -> bool:
    """Return whether a condition is one of the order's columns, as those of a page and a period."""
    if isinstance(condition, WhereNode):
        return all(_is_of_order(child) for child in condition.children)
    return _column(condition) in ORDER


def _place(row: Any) -> tuple[Any, Any]:
    return (row[0], row[1]) if isinstance(row, tuple) else (row.created, row.pk)


def _combinations(rows: QuerySet[Any]) -> Iterator[QuerySet[Any]]:
    indexed = _indexed(rows)
    several = [
        one
        for one in _conditions(rows)
        if isinstance(one, In) and _column(one) in indexed and isinstance(one.rhs, list | tuple)
    ]
    if not several or math.prod(len(one.rhs) for one in several) > COMBINED:
        yield rows
        return
    for values in itertools.product(*(dict.fromkeys(one.rhs) for one in several)):
        part = rows.all()
        conditions = _conditions(part)
        for one, value in zip(several, values, strict=True):
            conditions[conditions.index(one)] = Exact(one.lhs, value)
        yield part


def lead(rows: QuerySet[Any], counts: Counts | None = None) -> QuerySet[Any]:
    """Return the same rows in the same order, found through the index of the rarest filter."""
    vendor = connections[rows.db].vendor
    if vendor not in ("sqlite", "postgresql"):
        return rows
    found = _filters(rows)
    if not found:
        return rows
    leader = next(iter(found.values()))
    if len(found) > 1:
        leader = min(found.values(), key=lambda one: _count(rows, one, counts))
    led = rows.all()
    conditions = _conditions(led)
    # A filter may be there twice, and once more for databases that do not compare exactly.
    conditions[:] = [one for one in conditions if not _repeats(one, found)]
    others = [one for one in found.values() if one is not leader]
    if vendor == "postgresql":  # which hides only texts
        others = [one for one in others if isinstance(one.lhs.output_field, CharField)]
    _hide(led, others)
    if vendor == "postgresql":
        _bound(led, leader)
    return led


def _filters(rows: QuerySet[Any]) -> dict[str, Any]:
    """Return the comparisons with one value that have an index, by their columns."""
    indexed = _indexed(rows)
    return {
        _column(one): one
        for one in _conditions(rows)
        if isinstance(one, Exact) and _column(one) in indexed and isinstance(one.rhs, str)
    }


def _indexed(rows: QuerySet[Any]) -> set[str]:
    """Return the columns that begin an index."""
    return {index.fields[0] for index in rows.model._meta.indexes} - {"created"}


def _repeats(condition: Any, found: Mapping[str, Any]) -> bool:
    """Return whether a condition says what one of the filters says."""
    if not isinstance(condition, Exact):
        return False
    if isinstance(condition.lhs, Exactly):
        column: Any = condition.lhs.source_expressions[0]
        value: Any = condition.rhs.source_expressions[0]
        known = found.get(column.target.name)
        return known is not None and known.rhs == value.value
    known = found.get(_column(condition))
    return known is not None and known is not condition and known.rhs == condition.rhs


def _conditions(rows: QuerySet[Any]) -> list[Any]:
    return rows.query.where.children


def _column(lookup: Any) -> str:
    target = getattr(getattr(lookup, "lhs", None), "target", None)
    return "" if target is None else str(target.name)


def _count(rows: QuerySet[Any], one: Any, counts: Counts | None) -> int:
    """Return how many rows have a filter's value, counting no further than `PROBED`."""
    key = (rows.model, _column(one), one.rhs)
    if counts is not None and key in counts:
        return counts[key]
    everything = rows.model._default_manager.using(rows.db)
    most = min(PROBED, SEARCHED)
    count: int = everything.filter(**{key[1]: one.rhs}).order_by()[:most].count()
    if counts is not None:
        counts[key] = count
    return count


# ---- other filters -----------------------------------------------------------------------------


class _WithoutIndex(Func):
    """A column of texts for which the database does not consider an index.

    PostgreSQL would read all entries of a frequent value to combine both indexes.
    """

    template = "+%(expressions)s"
    arity = 1

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the SQL and its parameters."""
        return self.as_sql(compiler, connection, template="(%(expressions)s || '')", **context)


def _hide(rows: QuerySet[Any], others: Sequence[Any]) -> None:
    """Compare the columns of some filters without their indexes."""
    conditions = _conditions(rows)
    for place, one in enumerate(conditions):
        if any(one is other for other in others):
            column = _WithoutIndex(one.lhs, output_field=one.lhs.output_field)
            conditions[place] = Exact(column, one.rhs)


# ---- PostgreSQL --------------------------------------------------------------------------------


class _Row(Func):
    """A comparison of two rows of values, which is a range of an index."""

    output_field = BooleanField()

    def __init__(self, operator: str, columns: Sequence[Any], values: Sequence[Any]) -> None:
        super().__init__(*columns, *values)
        self.operator = operator

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the SQL and its parameters."""
        parts = [compiler.compile(one) for one in self.source_expressions]
        texts = [text for text, _parameters in parts]
        half = len(texts) // 2
        left, right = ", ".join(texts[:half]), ", ".join(texts[half:])
        parameters = [value for _text, some in parts for value in some]
        return f"(({left}) {self.operator} ({right}))", parameters


def _bound(rows: QuerySet[Any], leader: Any) -> None:
    """Write an equality as a range, and sort by its column first.

    PostgreSQL ignores a constant in an order. It does not see that such a range has one value.
    """
    name, field = _column(leader), leader.lhs.output_field
    value = Value(leader.rhs, output_field=field)
    lower, upper = [value], [value]
    for one in _conditions(rows):
        if _column(one) != "created":
            continue
        if isinstance(one, GreaterThanOrEqual):
            lower = [value, _latest(lower, one.rhs, max)]
        elif isinstance(one, LessThan | LessThanOrEqual):
            upper = [value, _latest(upper, one.rhs, min)]
    order: Any = rows.query.order_by
    first: Any = f"-{name}"
    operators = (">=", "<=")
    if name == "channel":  # whose index is one of prefixes
        if len(upper) > 1:
            return  # rows of two types have no common operator for prefixes
        first, operators, lower = ByPrefix(F(name), descending=True), ("~>=~", "~<=~"), [value]
    conditions = _conditions(rows)
    conditions.remove(leader)
    columns = [F(name), F("created")]
    for operator, bound in zip(operators, (lower, upper), strict=True):
        row = _Row(operator, columns[: len(bound)], bound)
        conditions.append(row.resolve_expression(rows.query))
    rows.query.order_by = (first, *order)


def _latest(bound: Sequence[Value], moment: Any, choose: Any) -> Value:
    moments = [moment, *(one.value for one in bound[1:])]
    return Value(choose(moments), output_field=DateTimeField())
