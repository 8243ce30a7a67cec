"""What makes the tests cheaper without changing what they see."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management.color import no_style
from django.db import connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from . import tries  # noqa: F401 - it sets the profile of Hypothesis

#: Filled by Django after the migrations; no test changes them.
KEPT = {"auth_permission", "django_content_type"}

#: After how many new objects garbage is collected, and how rarely all of it (see `gc`).
COLLECTED = (20_000, 20, 100)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Collect no garbage while pytest imports the tests: almost nothing of it is any."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exempt the modules and the list of tests from garbage collection, because they all stay.

    Otherwise each collection walks through some hundred thousand objects. Later ones are rarer than
    usual: after each module there is one anyway.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Collect garbage after each module, so that what it left open fails there.

    Otherwise a forgotten database connection or socket fails whichever test happens to run when
    Python finds it. What is left after that is imported or cached, and stays.
    """
    yield
    gc.collect()
    gc.freeze()


def _empty(self: TransactionTestCase) -> None:
    """Delete all rows as Django does after a test that commits, except those of `KEPT`.

    Django creates each permission anew, and PostgreSQL's TRUNCATE a file for each table and index.
    """
    for alias in self._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        connection = connections[alias]
        found = connection.introspection.django_table_names(only_existing=True, include_views=False)
        tables = sorted(set(found) - KEPT)
        statements = connection.ops.sql_flush(no_style(), tables)
        if connection.vendor == "postgresql":
            # In one transaction, at whose end the foreign keys are checked.
            statements = [f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables]
        connection.ops.execute_sql_flush(statements)


def _unsafe(connection: Any, **_: object) -> None:
    """Do not wait for the disk: a test database need not survive a power cut."""
    if connection.vendor == "sqlite":
        connection.connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="session", autouse=True)
def _cheaper_databases() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty)
        connection_created.connect(_unsafe)
        yield
        connection_created.disconnect(_unsafe)
