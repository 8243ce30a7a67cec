"""What waits for the commit of a transaction, and transactions that write at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections, models, router, transaction

Waiter = TypeVar("Waiter")

#: The marks of the current transaction of each connection.
_marks: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


@contextmanager
def writing(model: type[models.Model]) -> Iterator[None]:
    """Open a transaction that reads before it writes to a model's table.

    SQLite refuses at once to let a transaction write that has only read, if another has begun to
    write by then ("database is locked"). A transaction that begins with a write waits for its turn.
    """
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        if connections[using].vendor == "sqlite":
            nothing = model._base_manager.using(using).filter(pk=0)
            nothing.update(**{model._meta.pk.attname: 0})
        yield


def waiting(using: str | None, kind: type[Waiter]) -> Waiter | None:
    """Return the function that waits for the commit of the current transaction or savepoint.

    Args:
        using: The alias of the database, or None for the default one.
        kind: The class of the function that was passed to `after_commit_once`.

    """
    connection = transaction.get_connection(using)
    # None is a block without a savepoint, which is rolled back with the enclosing one.
    savepoints = set(connection.savepoint_ids) - {None}
    for known, func, *_rest in reversed(connection.run_on_commit):
        # Not one from another savepoint, which could still be rolled back without this one.
        if isinstance(func, kind) and set(known) - {None} == savepoints:
            return func
    return None


def after_commit_once(using: str | None, func: Callable[[], None]) -> None:
    """Call a function once after the commit, or immediately outside of a transaction."""
    booked = transaction.get_connection(using).run_on_commit
    if not any(known is func for _savepoints, known, *_rest in booked):
        transaction.on_commit(func, using=using, robust=True)


def mark(using: str | None, name: str) -> None:
    """Set a mark for the rest of the current transaction; outside of one, do nothing."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        _marks.setdefault(connection, set()).add(name)


def unmark(using: str | None, name: str) -> None:
    """Remove a mark that `mark` has set."""
    _marks.get(transaction.get_connection(using), set()).discard(name)


def is_marked(using: str | None, name: str) -> bool:
    """Return whether a mark was set in the current transaction."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        return name in _marks.get(connection, ())
    unmark(using, name)  # left by a transaction that was rolled back
    return False
