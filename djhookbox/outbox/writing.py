"""The writes of a pull: rows as tuples, many of them with one statement.

Django's models and their `bulk_create()` would take most of the time for which the lock is held.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from ..commits import has_savepoint
from .statements import merges_parameters, returns_all_results

if TYPE_CHECKING:
    from django.db.models.options import Options

#: Up to this number of rows, PostgreSQL gets their values as parameters.
_FEW = 4

#: Types whose values every database driver takes as they are, besides texts.
_PLAIN = (
    models.AutoField, models.BigAutoField, models.BooleanField, models.ForeignKey,
    models.PositiveBigIntegerField, models.PositiveIntegerField,
)  # fmt: skip


class _Column(NamedTuple):
    """A column that is written.

    Attributes:
        prepares: The field, if its values must be prepared for the driver.
        kind: Its type among the columns of `json_to_recordset()`.
        cast: What converts it from that type.

    """

    name: str
    prepares: Any
    kind: str
    cast: str = ""


class Writes:
    """Statements that write, executed in sequence.

    PostgreSQL gets them in one message where parameters are merged by the client, as is usual. The
    values of many rows are one JSON text there: psycopg takes long to merge thousands of them.

    Attributes:
        statements: SQL and its parameters; or, with True, the parameters of each of many
            executions.

    """

    def __init__(self, using: str) -> None:
        self._using = using
        self.statements: list[tuple[str, Sequence[Any], bool]] = []

    def add(self, sql: str, params: Sequence[object]) -> None:
        """Add a statement."""
        self.statements.append((sql, params, False))

    def insert(
        self, model: type[models.Model], names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows of a model; keys that the database assigns are not read back.

        Args:
            model: The model.
            names: The attributes of all columns, except for a key that the database assigns.
            rows: The values of each row, in this order; those of JSON fields as JSON texts.

        """
        if not rows:
            return
        vendor, quote = self._vendor, self._quote
        columns = _columns(vendor, self._using, model, names)
        _require_all(model, columns)
        into = f"{quote(model._meta.db_table)} ({', '.join(quote(each.name) for each in columns)})"
        if vendor == "postgresql" and len(rows) > _FEW:
            values = ", ".join(f"x.{quote(each.name)}{each.cast}" for each in columns)
            self.add(
                f"INSERT INTO {into} SELECT {values} FROM {self._recordset(columns)}",  # noqa: S608
                [_as_json(columns, rows)],
            )
            return
        group = f"({', '.join(['%s'] * len(columns))})"
        self._many(f"INSERT INTO {into} VALUES {group}", self._prepared(columns, rows))  # noqa: S608

    def update(
        self, model: type[models.Model], names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Update rows of a model.

        Args:
            model: The model.
            names: The attributes that change, and that of the primary key at the end.
            rows: Their values for each row, in this order.

        """
        if not rows:
            return
        vendor, quote = self._vendor, self._quote
        *changes, key = columns = _columns(vendor, self._using, model, names)
        table = quote(model._meta.db_table)
        if vendor == "postgresql" and len(rows) > _FEW:
            values = ", ".join(
                f"{quote(each.name)} = x.{quote(each.name)}{each.cast}" for each in changes
            )
            self.add(
                f"UPDATE {table} SET {values} FROM {self._recordset(columns)} "  # noqa: S608
                f"WHERE {table}.{quote(key.name)} = x.{quote(key.name)}",
                [_as_json(columns, rows)],
            )
            return
        values = ", ".join(f"{quote(each.name)} = %s" for each in changes)
        self._many(
            f"UPDATE {table} SET {values} WHERE {quote(key.name)} = %s",  # noqa: S608
            self._prepared(columns, rows),
        )

    def delete(self, model: type[models.Model], keys: Sequence[int]) -> None:
        """Delete rows to which nothing refers."""
        if not keys:
            return
        meta: Any = model._meta
        # Integers that the database has given; as parameters they would take longer.
        chosen = ", ".join(str(int(key)) for key in keys)
        self.add(
            f"DELETE FROM {self._quote(meta.db_table)} "  # noqa: S608
            f"WHERE {self._quote(meta.pk.column)} IN ({chosen})",
            (),
        )

    def execute(self, *, last: bool = False) -> None:
        """Execute what was added.

        Args:
            last: Whether nothing else follows in the outermost transaction. It may then be
                committed in the same message; Django's commit afterwards does nothing.

        Raises:
            DatabaseError: One of them failed; the others must be rolled back.

        """
        statements, self.statements = self.statements, []
        connection = connections[self._using]
        if not statements:
            return
        with connection.cursor() as cursor:
            if merges_parameters(connection) and not any(many for *_, many in statements):
                params = [value for _sql, values, _many in statements for value in values]
                texts = [sql for sql, *_ in statements]
                # psycopg knows from the server whether a transaction is open; psycopg2 does not.
                if last and returns_all_results(connection) and not has_savepoint(connection):
                    texts.append("COMMIT")
                cursor.execute("; ".join(texts), params)
                return
            for sql, values, many in statements:
                if many:
                    cursor.executemany(sql, values)
                else:
                    cursor.execute(sql, values)

    # ---- parts -----------------------------------------------------------

    @property
    def _vendor(self) -> str:
        return connections[self._using].vendor

    @property
    def _quote(self) -> Callable[[str], str]:
        return connections[self._using].ops.quote_name

    def _prepared(
        self, columns: Sequence[_Column], rows: Sequence[Sequence[Any]]
    ) -> Sequence[Sequence[object]]:
        """Return rows as the driver takes them."""
        changed = [(place, each.prepares) for place, each in enumerate(columns) if each.prepares]
        connection = connections[self._using]
        prepared = [list(row) for row in rows]
        for values in prepared:
            for place, field in changed:
                values[place] = field.get_db_prep_save(values[place], connection)
        return prepared

    def _many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add a statement that is executed for each row."""
        if len(rows) > 1 and self._vendor != "postgresql":
            self.statements.append((sql, rows, True))
            return
        for row in rows:
            self.add(sql, row)

    def _recordset(self, columns: Sequence[_Column]) -> str:
        """Return the rows that a parameter contains as JSON, as a table called x."""
        kinds = ", ".join(f"{self._quote(each.name)} {each.kind}" for each in columns)
        return f"json_to_recordset(%s) AS x({kinds})"


class Insert:
    """The insertion of one row, which is always the same, apart from the values of its columns.

    Args:
        model: The model.
        names: The attributes of the columns that get values, in order.
        others: What all other columns get, as SQL; except for a key that the database assigns.

    """

    def __init__(self, model: type[models.Model], names: tuple[str, ...], **others: str) -> None:
        self._model = model
        self._names = names
        self._others = others
        self._compiled: dict[str, tuple[str, tuple[tuple[int, Any], ...]]] = {}

    def execute(self, connection: BaseDatabaseWrapper, values: Sequence[Any]) -> int:
        """Insert a row, and return the key that the database has assigned."""
        sql, prepared = self._compiled.get(connection.vendor) or self._compile(connection)
        params = list(values)
        for place, field in prepared:
            params[place] = field.get_db_prep_save(params[place], connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            if connection.features.can_return_columns_from_insert:
                return int(cursor.fetchone()[0])
            meta: Any = self._model._meta
            return int(connection.ops.last_insert_id(cursor, meta.db_table, meta.pk.column))

    def _compile(self, connection: BaseDatabaseWrapper) -> tuple[str, tuple[tuple[int, Any], ...]]:
        quote = connection.ops.quote_name
        meta: Any = self._model._meta
        names = (*self._names, *self._others)
        columns = _columns(connection.vendor, connection.alias, self._model, names)
        _require_all(self._model, columns)
        given = ["%s"] * len(self._names) + list(self._others.values())
        into = f"{quote(meta.db_table)} ({', '.join(quote(each.name) for each in columns)})"
        sql = f"INSERT INTO {into} VALUES ({', '.join(given)})"  # noqa: S608
        if connection.features.can_return_columns_from_insert:
            sql += f" RETURNING {quote(meta.pk.column)}"
        fields = enumerate(columns[: len(self._names)])
        prepared = tuple((place, each.prepares) for place, each in fields if each.prepares)
        return self._compiled.setdefault(connection.vendor, (sql, prepared))


@cache
def _columns(
    vendor: str, using: str, model: type[models.Model], names: tuple[str, ...]
) -> tuple[_Column, ...]:
    meta: Options[models.Model] = model._meta
    by_name = {field.attname: field for field in meta.concrete_fields}
    return tuple(_column(using, by_name[name]) for name in names)


@cache
def _require_all(model: type[models.Model], columns: tuple[_Column, ...]) -> None:
    """Raise an error unless the columns are those of a new row: Django's defaults are not used."""
    given = {each.name for each in columns}
    for field in model._meta.concrete_fields:
        if field.column not in given and not isinstance(field, models.AutoField):
            raise TypeError(f"{model.__name__}.{field.attname} is missing")


def _column(using: str, field: Any) -> _Column:
    name = str(field.column)
    if isinstance(field, models.JSONField):
        return _Column(name, None, "text", "::jsonb")
    if isinstance(field, models.CharField | models.TextField):
        # With its length, a text that is too long would be cut instead of refused.
        return _Column(name, None, "text")
    automatic = isinstance(field, models.AutoField)
    kind = (field.rel_db_type if automatic else field.db_type)(connections[using])
    return _Column(name, None if type(field) in _PLAIN else field, kind)


def _as_json(columns: Sequence[_Column], rows: Sequence[Sequence[Any]]) -> str:
    names = [each.name for each in columns]
    return json.dumps(
        [dict(zip(names, row, strict=True)) for row in rows],
        default=_isoformat,
        separators=(",", ":"),
    )


def _isoformat(value: object) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot be written to a JSON column")
