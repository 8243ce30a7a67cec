"""The statements of a pull, compiled once for each database.

Django takes half a millisecond to compile a statement of its ORM, which is ten times as long as
SQLite takes to execute it. A pull makes a dozen of them, and the message waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections, models
from django.db.models.sql import UpdateQuery

#: Rows to insert with one statement, and values where the database has no limit of its own.
_MOST_ROWS = 100
_MOST_VALUES = 10_000


class Select:
    """A query that is always the same, apart from the values given to it.

    Args:
        build: Returns the query for a database; a `values_list()`, or model instances.

    """

    def __init__(self, build: Callable[[str], models.QuerySet[Any, Any]]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[Any, ...], Any]] = {}

    def rows(self, using: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows; the values replace those that the query was built with, in order."""
        connection = connections[using]
        known = self._compiled.get(connection.vendor)
        if known is None:
            compiler: Any = self._build(using).query.get_compiler(using)
            sql, params = compiler.as_sql()
            converters = compiler.get_converters([each[0] for each in compiler.select])
            known = self._compiled[connection.vendor] = (sql, params, converters)
        sql, params, converters = known
        with connection.cursor() as cursor:
            cursor.execute(sql, values or params)
            found = cursor.fetchall()
        if not converters:
            return [tuple(row) for row in found]
        return [tuple(row) for row in _converted(found, converters, connection)]


def _converted(rows: Sequence[Any], converters: Any, connection: Any) -> list[list[Any]]:
    converted = [list(row) for row in rows]
    for position, (functions, expression) in converters.items():
        for row in converted:
            value = row[position]
            for function in functions:
                value = function(value, expression, connection)
            row[position] = value
    return converted


class Update:
    """An update that is always the same, apart from the values given to it.

    Args:
        build: Returns the rows to update.
        changes: The fields and what they become, in order.

    """

    def __init__(
        self, build: Callable[[str], models.QuerySet[Any, Any]], **changes: object
    ) -> None:
        self._build = build
        self._changes = changes
        self._compiled: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def execute(self, using: str, *values: Any) -> int:
        """Return how many rows were matched; the values replace the original ones, in order."""
        connection = connections[using]
        known = self._compiled.get(connection.vendor)
        if known is None:
            query: Any = self._build(using).query.chain(UpdateQuery)
            query.add_update_values(self._changes)
            sql, params = query.get_compiler(using).as_sql()
            known = self._compiled[connection.vendor] = (sql, params)
        sql, params = known
        with connection.cursor() as cursor:
            cursor.execute(sql, values or params)
            return int(cursor.rowcount)


def insert(using: str, rows: Sequence[models.Model]) -> None:
    """Insert rows of one model; keys that the database assigns are not read back."""
    if not rows:
        return
    connection = connections[using]
    meta: Any = type(rows[0])._meta
    fields = [
        field
        for field in meta.concrete_fields
        if not (field.primary_key and isinstance(field, models.AutoField))
    ]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    group = f"({', '.join(['%s'] * len(fields))})"
    most = connection.features.max_query_params or _MOST_VALUES
    size = max(1, min(_MOST_ROWS, most // len(fields)))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            values = [
                field.get_db_prep_save(getattr(row, field.attname), connection)
                for row in some
                for field in fields
            ]
            sql = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES "  # noqa: S608 - no values
            cursor.execute(sql + ", ".join([group] * len(some)), values)


def save(using: str, row: models.Model, names: Sequence[str]) -> None:
    """Update some fields of a row."""
    connection = connections[using]
    meta: Any = type(row)._meta
    quote = connection.ops.quote_name
    fields = [meta.get_field(name) for name in names]
    columns = ", ".join(f"{quote(field.column)} = %s" for field in fields)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    key = quote(meta.pk.column)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(meta.db_table)} SET {columns} WHERE {key} = %s",  # noqa: S608
            [*values, row.pk],
        )


def delete(using: str, model: type[models.Model], keys: Sequence[int]) -> None:
    """Delete rows to which nothing refers."""
    connection = connections[using]
    quote = connection.ops.quote_name
    meta: Any = model._meta
    table, key = quote(meta.db_table), quote(meta.pk.column)
    with connection.cursor() as cursor:
        for start in range(0, len(keys), _MOST_ROWS):
            some = keys[start : start + _MOST_ROWS]
            places = ", ".join(["%s"] * len(some))
            cursor.execute(f"DELETE FROM {table} WHERE {key} IN ({places})", some)  # noqa: S608
