"""What waits for the commit of a transaction, and transactions that write at once.

Everything that relies on private state of Django's transactions is in this module.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

Waiter = TypeVar("Waiter")

#: The marks of the current transaction of each connection.
_marks: weakref.WeakKeyDictionary[object, set[str]] = weakref.WeakKeyDictionary()


@contextmanager
def writing(model: type[models.Model]) -> Iterator[None]:
    """Open a transaction that reads before it writes to a model's table.

    In SQLite, a transaction that begins with a read cannot write once another one has begun to
    write; it fails at once ("database is locked"). One that begins with a write waits for its turn.
    """
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        if connections[using].vendor == "sqlite":
            nothing = model._base_manager.using(using).filter(pk=0)
            nothing.update(**{model._meta.pk.attname: 0})
        yield


class Callback:
    """A function with a state that is called after a commit.

    Django names functions that fail in its log, and would fail itself without a name.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> str:
        if name == "__qualname__":
            return type(self).__qualname__
        raise AttributeError(name)


def waiting(
    connection: BaseDatabaseWrapper, kind: type[Waiter], *, everywhere: bool = False
) -> Waiter | None:
    """Return the latest function that waits for the commit of the current transaction.

    Args:
        connection: The connection of the database.
        kind: The class of the function that was passed to `on_commit`.
        everywhere: Whether it may be that of another savepoint.

    """
    # None is a block without a savepoint, which is rolled back with the enclosing one.
    savepoints = set() if everywhere else set(connection.savepoint_ids) - {None}
    for booked in reversed(connection.run_on_commit):
        known, func = booked[:2]
        # Not one from another savepoint, which could still be rolled back without this one.
        if isinstance(func, kind) and (everywhere or set(known) - {None} == savepoints):
            return func
    return None


def after_commit_once(using: str | None, func: Callable[[], None]) -> None:
    """Call a function once after the commit, or immediately outside of a transaction."""
    booked = transaction.get_connection(using).run_on_commit
    if not any(known is func for _savepoints, known, *_rest in booked):
        transaction.on_commit(func, using=using, robust=True)


def count_waiting(connection: BaseDatabaseWrapper) -> int:
    """Return how many functions wait for the commit of the current transaction."""
    return len(connection.run_on_commit)


def is_waiting_at(connection: BaseDatabaseWrapper, place: int, func: object) -> bool:
    """Return whether a function still waits where it was registered."""
    booked = connection.run_on_commit
    return place < len(booked) and booked[place][1] is func


def run_waiting(connection: BaseDatabaseWrapper) -> None:
    """Call all functions that wait for a commit which never comes, as in a `TestCase`."""
    while connection.run_on_commit:
        booked, connection.run_on_commit = connection.run_on_commit, []
        for entry in booked:
            entry[1]()


def has_savepoint(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a block is open within the transaction."""
    return bool(connection.savepoint_ids)


def is_test_case(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a `TestCase` has opened the transaction, and will roll it back."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def mark(using: str | None, name: str) -> None:
    """Set a mark for the rest of the current transaction; outside of one, do nothing."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        _marks.setdefault(connection, set()).add(name)


def unmark(using: str | None, name: str) -> None:
    """Remove a mark that `mark` has set."""
    _marks.get(transaction.get_connection(using), set()).discard(name)


def is_marked(connection: BaseDatabaseWrapper, name: str) -> bool:
    """Return whether a mark was set in the current transaction of a connection."""
    marks = _marks.get(connection)
    if marks and not connection.in_atomic_block:
        marks.discard(name)  # left by a transaction that was rolled back
    return marks is not None and name in marks
