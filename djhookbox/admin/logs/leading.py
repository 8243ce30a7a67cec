"""Make the database follow the index of a filter.

Each index of a log is (column, created, id), so that the newest rows of a filter need no sorting.
Refusals also have partial indexes of more columns: those of a user, and those for a reason.
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
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    F,
    Func,
    Model,
    Q,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce, Length
from django.db.models.lookups import Exact, GreaterThanOrEqual, In, LessThan, LessThanOrEqual
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import WhereNode

from ...audit.partial import PartialIndex
from ...querysets import ByPrefix, Exactly

#: How far the rows of a filter are counted to find the rarest filter.
PROBED = 2_000

#: Rows of the rarest filter that are looked through for those that other filters allow, too.
SEARCHED = 2_500

#: Queries for the combinations of several values, at most.
COMBINED = 16

#: The columns of the order, in which a page begins and ends.
ORDER = ("created", "id")

#: The place of a row in the order: when it was created, and its key.
RowPlace = tuple[datetime.datetime, int]

#: How many rows have some values, of what has been counted for a page: by model and values.
Counts = dict[tuple[type[Any], tuple[tuple[str, str], ...]], int]

#: Comparisons with one value that an index has together, by their columns.
Filter = Mapping[str, Any]


def newest(rows: QuerySet[Model], count: int, counts: Counts | None = None) -> list[Any]:
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


def total_length(rows: QuerySet[Model], count: int, texts: Sequence[Any]) -> int:
    """Return how many characters the first rows have at most in some expressions."""
    whole = sum((Coalesce(Length(text), 0) for text in texts), start=Value(0))
    parts = (lead(one).annotate(length=whole)[:count] for one in _combinations(rows))
    return sum(part.aggregate(total=Sum("length"))["total"] or 0 for part in parts)


def search_end(rows: QuerySet[Model], counts: Counts | None = None) -> RowPlace | None:
    """Return how far rows are looked through: the place of a row, or None for all of them.

    If many rows pass the rarest filter and none of them another one, no index helps: few pairs of
    columns have one. Then only the first of the rarest filter are looked through.

    Args:
        rows: The rows in the order of a list, newest first.
        counts: What has been counted before, to which more is added.

    """
    ends = (_search_end(one, counts) for one in _combinations(rows))
    return max(filter(None, ends), default=None)


def _search_end(rows: QuerySet[Model], counts: Counts | None) -> RowPlace | None:
    known = {column: one for found in _filters(rows) for column, one in found.items()}
    others = [one for one in _conditions(rows) if not (_is_of_order(one) or _repeats(one, known))]
    leader = _rarest(rows, counts)
    if all(one in leader.values() for one in others) or not leader:
        return None  # an index finds them
    if _count(rows, leader, counts) < min(PROBED, SEARCHED):
        return None
    alone = rows.all()
    conditions = _conditions(alone)
    conditions[:] = [one for one in conditions if one in leader.values() or _is_of_order(one)]
    places = lead(alone).values_list("created", "pk")[SEARCHED : SEARCHED + 1]
    return next(iter(places), None)


def within(rows: QuerySet[Model], place: RowPlace | None) -> QuerySet[Model]:
    """Return the rows down to a place, including it."""
    if place is None:
        return rows
    created, key = place
    return rows.filter(Q(created__gte=created), Q(created__gt=created) | Q(pk__gte=key))


def _is_of_order(condition: object) -> bool:
    """Return whether a condition is one of the order's columns, as those of a page and a period."""
    if isinstance(condition, WhereNode):
        return all(_is_of_order(child) for child in condition.children)
    return _column(condition) in ORDER


def _place(row: Any) -> tuple[object, object]:
    return (row[0], row[1]) if isinstance(row, tuple) else (row.created, row.pk)


def _combinations(rows: QuerySet[Model]) -> Iterator[QuerySet[Model]]:
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


def lead(rows: QuerySet[Model], counts: Counts | None = None) -> QuerySet[Model]:
    """Return the same rows in the same order, found through the index of the rarest filter."""
    vendor = connections[rows.db].vendor
    if vendor not in ("sqlite", "postgresql"):
        return rows
    leader = _rarest(rows, counts)
    if not leader:
        return rows
    known = {column: one for found in _filters(rows) for column, one in found.items()}
    led = rows.all()
    conditions = _conditions(led)
    # A filter may be there twice, and once more for databases that do not compare exactly.
    conditions[:] = [one for one in conditions if not _repeats(one, known)]
    others = [one for column, one in known.items() if column not in leader]
    if vendor == "postgresql":  # which hides only texts
        others = [one for one in others if isinstance(one.lhs.output_field, CharField)]
    _hide(led, others)
    if vendor == "postgresql" and len(leader) == 1:
        _single(led, *leader.values())
    elif vendor == "postgresql":
        _bound(led, [*leader.values()][-1])
    return led


def _rarest(rows: QuerySet[Model], counts: Counts | None) -> Filter:
    """Return the filter that the fewest rows pass; it is empty if none has an index."""
    found = _filters(rows)
    if len(found) < 2:
        return found[0] if found else {}
    return min(found, key=lambda one: _count(rows, one, counts))


def _filters(rows: QuerySet[Model]) -> list[Filter]:
    """Return the filters that have an index.

    Those that a partial index has are one filter; the others are of one column.
    """
    equal = {
        _column(one): one
        for one in _conditions(rows)
        if isinstance(one, Exact) and isinstance(one.rhs, str)
    }
    together = _together(rows, equal)
    indexed = _indexed(rows)
    single = [{name: one} for name, one in equal.items() if name in indexed - together.keys()]
    return [together, *single] if together else [*single]


def _together(rows: QuerySet[Model], equal: Filter) -> Filter:
    """Return the comparisons that a partial index has, of as many columns as possible."""
    found: list[str] = []
    if connections[rows.db].features.supports_partial_indexes:
        for index in rows.model._meta.indexes:
            if (
                isinstance(index, PartialIndex)
                and all(name in equal for name in index.compared)
                and equal[index.column].rhs in index.values
            ):
                found = max(found, index.compared, key=len)
    return {name: equal[name] for name in found}


def _indexed(rows: QuerySet[Model]) -> set[str]:
    """Return the columns that begin an index."""
    return {index.fields[0] for index in rows.model._meta.indexes} - {"created"}


def _repeats(condition: object, found: Mapping[str, Any]) -> bool:
    """Return whether a condition says what one of the filters says."""
    if not isinstance(condition, Exact):
        return False
    if isinstance(condition.lhs, Exactly):
        column: Any = condition.lhs.source_expressions[0]
        value = condition.rhs.source_expressions[0]
        known = found.get(column.target.name)
        return known is not None and known.rhs == value.value
    known = found.get(_column(condition))
    return known is not None and known is not condition and known.rhs == condition.rhs


def _conditions(rows: QuerySet[Model]) -> list[Any]:
    return rows.query.where.children


def _column(lookup: object) -> str:
    target = getattr(getattr(lookup, "lhs", None), "target", None)
    return "" if target is None else str(target.name)


def _count(rows: QuerySet[Model], found: Filter, counts: Counts | None) -> int:
    """Return how many rows pass a filter, counting no further than `PROBED`."""
    values = {name: one.rhs for name, one in found.items()}
    key = (rows.model, tuple(values.items()))
    if counts is not None and key in counts:
        return counts[key]
    everything = rows.model._default_manager.using(rows.db)
    most = min(PROBED, SEARCHED)
    count: int = everything.filter(**values).order_by()[:most].count()
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

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> object:
        """Return the SQL and its parameters."""
        return self.as_sql(compiler, connection, template="(%(expressions)s || '')", **context)


def _hide(rows: QuerySet[Model], others: Sequence[object]) -> None:
    """Compare the columns of some filters without their indexes."""
    conditions = _conditions(rows)
    for place, one in enumerate(conditions):
        if any(one is other for other in others):
            column = _WithoutIndex(one.lhs, output_field=one.lhs.output_field)
            conditions[place] = Exact(column, one.rhs)


# ---- PostgreSQL --------------------------------------------------------------------------------


class _OnlyOf(Exact):
    """An equality that is written as one with any element of an array, which has one."""

    def as_postgresql(self, compiler: SQLCompiler, connection: Any) -> object:
        """Return the SQL and its parameters."""
        left, before = self.process_lhs(compiler, connection)
        right, after = self.process_rhs(compiler, connection)
        field = self.lhs.output_field
        kind = "text" if isinstance(field, CharField) else field.db_type(connection)
        return f"{left} = ANY(ARRAY[{right}]::{kind}[])", (*before, *after)


def _single(rows: QuerySet[Any], leader: Any) -> None:
    """Write the equality of a column that begins an index so that it is sorted by this column.

    PostgreSQL ignores a column in an order that equals a constant, and may then follow the index of
    all rows instead. It does not look into the array, but an index scan does: it begins and ends
    where the period does.
    """
    conditions = _conditions(rows)
    conditions[conditions.index(leader)] = _OnlyOf(leader.lhs, leader.rhs)
    name = _column(leader)
    _sort(rows, ByPrefix(F(name), descending=True) if name == "channel" else f"-{name}")


def _sort(rows: QuerySet[Any], first: Any) -> None:
    """Sort by this first, and then as before."""
    order: Any = rows.query.order_by
    rows.query.order_by = (first, *order)


class _Row(Func):
    """A comparison of two rows of values, which is a range of an index."""

    output_field = BooleanField()

    def __init__(self, operator: str, columns: Sequence[object], values: Sequence[object]) -> None:
        super().__init__(*columns, *values)
        self.operator = operator

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: object,
        **kwargs: object,
    ) -> Any:
        """Return the SQL and its parameters."""
        parts = [compiler.compile(one) for one in self.source_expressions]
        texts = [text for text, _parameters in parts]
        half = len(texts) // 2
        left, right = ", ".join(texts[:half]), ", ".join(texts[half:])
        parameters = [value for _text, some in parts for value in some]
        return f"(({left}) {self.operator} ({right}))", parameters


def _bound(rows: QuerySet[Any], leader: Any) -> None:
    """Write the equality of the last column of several as a range, and sort by this column first.

    PostgreSQL does not see that such a range has one value. It has the order of an index only if an
    array is compared with the first column, for which there may be another index.
    """
    name = _column(leader)
    value = Value(leader.rhs, output_field=leader.lhs.output_field)
    lower, upper = [value], [value]
    for one in _conditions(rows):
        if _column(one) != "created":
            continue
        if isinstance(one, GreaterThanOrEqual):
            lower = [value, _latest(lower, one.rhs, max)]
        elif isinstance(one, LessThan | LessThanOrEqual):
            upper = [value, _latest(upper, one.rhs, min)]
    conditions = _conditions(rows)
    conditions.remove(leader)
    columns = [F(name), F("created")]
    for operator, bound in ((">=", lower), ("<=", upper)):
        row = _Row(operator, columns[: len(bound)], bound)
        conditions.append(row.resolve_expression(rows.query))
    _sort(rows, f"-{name}")


def _latest(bound: Sequence[Value], moment: object, choose: Any) -> Value:
    moments = [moment, *(one.value for one in bound[1:])]
    return Value(choose(moments), output_field=DateTimeField())
