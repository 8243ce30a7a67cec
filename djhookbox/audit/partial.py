"""Indexes of some rows, and how migrations add them.

Django would create an index of all rows on MySQL and MariaDB, which have no partial ones, and warn
about it in each check. Here, such databases do not have the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import migrations, models
from django.db.migrations.state import ProjectState

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor


class PartialIndex(models.Index):
    """An index of the rows in which a column has one of some values.

    The column must be the first of the index if there are several values, and must not be in it if
    there is one: PostgreSQL does not compare again what the condition of the index says.

    Args:
        column: The column.
        values: Its values.
        options: The arguments of an index.

    """

    def __init__(self, *, column: str, values: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.column = column
        self.values = tuple(values)

    @property
    def compared(self) -> list[str]:
        """The columns that must have one value each, so that the index has the rows in order."""
        names: list[str] = [*self.fields[:-2]]  # without the time and the key
        return names if self.column in names else [self.column, *names]

    def deconstruct(self) -> Any:
        """Return how a migration writes it."""
        path, arguments, options = super().deconstruct()
        return path, arguments, {**options, "column": self.column, "values": self.values}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: object) -> Any:
        """Return the statement that creates it, as that of an index with a condition."""
        condition: models.Q | None = None
        # Where tables are made without migrations, as in some tests, it may have all rows.
        if schema_editor.connection.features.supports_partial_indexes:
            condition = models.Q()
            for value in self.values:  # one or another, as SQLite recognizes it in a query
                condition |= models.Q(**{self.column: value})
        index = models.Index(fields=self.fields, name=self.name, condition=condition)
        return index.create_sql(model, schema_editor, using, **options)


class AddPartialIndex(migrations.AddIndex):
    """Add a partial index where the database has such indexes."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Create the index."""
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_backwards(app_label, schema_editor, from_state, to_state)
