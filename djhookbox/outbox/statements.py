"""The statements of a pull, compiled once for each database.

Django takes half a millisecond to compile a statement of its ORM, which is ten times as long as
SQLite takes to execute it. A pull makes a dozen of them, and the message waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql import UpdateQuery


class Select:
    """A query that is always the same, apart from the values given to it.

    Args:
        build: Returns the query for a database; a `values_list()`, or model instances.

    """

    def __init__(self, build: Callable[[str], models.QuerySet[models.Model]]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[Any, ...], Any]] = {}

    def rows(self, using: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows; the values replace those that the query was built with, in order."""
        sql, params = self.compiled(using)
        with connections[using].cursor() as cursor:
            cursor.execute(sql, values or params)
            return self.convert(using, cursor.fetchall())

    def compiled(self, using: str) -> tuple[str, tuple[Any, ...]]:
        """Return the query, and the values that it was built with."""
        return self._known(using)[:2]

    def convert(self, using: str, rows: Sequence[Any]) -> list[tuple[object, ...]]:
        """Return rows of the driver as those of Django."""
        converters = self._known(using)[2]
        if not converters:
            return [tuple(row) for row in rows]
        return [tuple(row) for row in _converted(rows, converters, connections[using])]

    def _known(self, using: str) -> tuple[str, tuple[object, ...], object]:
        vendor = connections[using].vendor
        known = self._compiled.get(vendor)
        if known is None:
            compiler = self._build(using).query.get_compiler(using)
            sql, params = compiler.as_sql()
            converters = compiler.get_converters([each[0] for each in compiler.select])
            known = self._compiled[vendor] = (sql, params, converters)
        return known


class Read(NamedTuple):
    """A query, and the values that replace those that it was built with."""

    query: Select
    values: tuple[Any, ...] = ()


def _converted(rows: Sequence[Any], converters: Any, connection: object) -> list[list[object]]:
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
        self, build: Callable[[str], models.QuerySet[models.Model]], **changes: object
    ) -> None:
        self._build = build
        self._changes = changes
        self._compiled: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def compiled(self, using: str) -> tuple[str, tuple[Any, ...]]:
        """Return the statement, and the values that it was built with."""
        vendor = connections[using].vendor
        if vendor not in self._compiled:
            query: Any = self._build(using).query.chain(UpdateQuery)
            query.add_update_values(self._changes)
            self._compiled[vendor] = query.get_compiler(using).as_sql()
        return self._compiled[vendor]


class Lock:
    """The update of one row that takes a lock, and the values of that row afterwards.

    Where the database returns what it has updated, this is one statement. It waits for the lock,
    and returns the row as the last holder left it. Other rows must be read in later statements.

    Args:
        row: Returns the row, as a query.
        fields: The names of the fields to read.
        changes: The fields that are written, and what they become.

    """

    def __init__(
        self,
        row: Callable[[str], models.QuerySet[Any, Any]],
        fields: Sequence[str],
        **changes: object,
    ) -> None:
        self._row = row
        self._fields = fields
        self._update = Update(row, **changes)
        self._read = Select(lambda using: row(using).values_list(*fields))
        self._returning: dict[str, tuple[str, dict[int, tuple[object, object]]]] = {}

    def take(
        self, using: str, *reads: Read, first: str = ""
    ) -> tuple[list[tuple[Any, ...]], list[list[tuple[Any, ...]]]]:
        """Return the locked row, or nothing if there is none, and what was read after it.

        Args:
            using: The alias of the database.
            reads: What to read once the lock is held: in the same message, if the driver returns
                the results of several statements. Each of them sees what was committed before it.
            first: Statements to execute before, in the same message, if the database is PostgreSQL.

        """
        connection = connections[using]
        sql, params = self._update.compiled(using)
        with connection.cursor() as cursor:
            if not _returns_updated(connection):
                cursor.execute(sql, params)
                found = self._read.rows(using) if cursor.rowcount else []
                return found, [each.query.rows(using, *each.values) for each in reads]
            columns, converters = self._columns(using)
            sql = f"{sql} RETURNING {columns}"
            together = reads if returns_all_results(connection) else ()
            if first:
                # Where the server binds parameters, several statements must not have any; these
                # are integers.
                sql = f"{first}; {sql % tuple(map(int, params))}"
                params = ()
            for each in together:
                query, usual = each.query.compiled(using)
                sql, params = f"{sql}; {query}", (*params, *(each.values or usual))
            cursor.execute(sql, params or None)
            while cursor.description is None:
                cursor.nextset()
            found = [tuple(row) for row in _converted(cursor.fetchall(), converters, connection)]
            results = []
            for each in together:
                cursor.nextset()
                results.append(each.query.convert(using, cursor.fetchall()))
        if not together:
            results = [each.query.rows(using, *each.values) for each in reads]
        return found, results

    def _columns(self, using: str) -> tuple[str, dict[int, tuple[Any, Any]]]:
        """Return the columns to return, and what converts their values."""
        connection = connections[using]
        known = self._returning.get(connection.vendor)
        if known is None:
            meta = self._row(using).model._meta
            fields = [meta.get_field(name) for name in self._fields]
            columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
            converters = _converters(connection, [field.get_col(meta.db_table) for field in fields])
            known = self._returning[connection.vendor] = (columns, converters)
        return known


def merges_parameters(connection: BaseDatabaseWrapper) -> bool:
    """Return whether several statements with parameters can be one message."""
    return connection.vendor == "postgresql" and not getattr(
        connection.features, "uses_server_side_binding", False
    )


def returns_all_results(connection: Any) -> bool:
    """Return whether the driver returns the results of all statements of a message: psycopg 3."""
    return merges_parameters(connection) and connection.Database.__name__ == "psycopg"


def _returns_updated(connection: BaseDatabaseWrapper) -> bool:
    # MariaDB returns inserted rows, but not updated ones. SQLite does both since 3.35.
    features = connection.features
    return connection.vendor in ("postgresql", "sqlite") and bool(
        features.can_return_columns_from_insert
    )


def _converters(connection: Any, columns: Sequence[Any]) -> dict[int, tuple[Any, Any]]:
    found = {}
    for position, column in enumerate(columns):
        functions = [
            *connection.ops.get_db_converters(column), *column.get_db_converters(connection)
        ]  # fmt: skip
        if functions:
            found[position] = (functions, column)
    return found
