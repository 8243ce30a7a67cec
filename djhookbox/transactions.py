"""Everything that depends on the private state of Django's transactions.

`after_transaction` calls a function when the caller's transaction has ended, whether it was
committed or rolled back.

A message that was sent stays sent if the caller rolls back, so its history row must not be rolled
back either; Django's `on_commit()` only covers commits. Therefore, while something is waiting, this
module wraps the method that Django calls last when the outermost atomic block ends:
`set_autocommit(True)`, after the commit or the rollback. (If the connection was closed inside the
block, Django calls it when it next connects.)

In a `TestCase`, the outermost block belongs to the test and only ends with it. The end of the
project's outermost block is then the release of that block's savepoint, which also follows a
rollback to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections, models, router, transaction

logger = logging.getLogger("djhookbox")

Waiter = TypeVar("Waiter")


def after_transaction(using: str | None, func: Callable[[], object]) -> None:
    """Call a function when no transaction is open: immediately, or after the outermost one ends.

    Exceptions raised by the function after a transaction are logged, because they have nothing to
    do with the block in which they would surface. If the project has switched autocommit off, the
    end of its transactions cannot be detected, and the function is called immediately.
    """
    connection = transaction.get_connection(using)
    blocks = connection.atomic_blocks
    own = sum(getattr(block, "_from_testcase", False) for block in blocks)
    if len(blocks) == own or (not own and not connection.commit_on_exit):
        func()
    elif not own:
        _Waiting.on(connection, "set_autocommit", True).append(func)
    else:
        # The test case's own block has no savepoint, so the list is shorter by one.
        savepoint = connection.savepoint_ids[own - 1]
        if savepoint is None:
            func()  # atomic(savepoint=False): no savepoint to roll back to
        else:
            _Waiting.on(connection, "savepoint_commit", savepoint).append(func)


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
        vars(connection).setdefault("hookbox_marks", set()).add(name)


def unmark(using: str | None, name: str) -> None:
    """Remove a mark that `mark` has set."""
    vars(transaction.get_connection(using)).get("hookbox_marks", set()).discard(name)


def is_marked(using: str | None, name: str) -> bool:
    """Return whether a mark was set in the current transaction."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        return name in vars(connection).get("hookbox_marks", ())
    unmark(using, name)  # left by a transaction that was rolled back
    return False


class _Waiting:
    """Replaces a method of a connection until it is called with the expected argument."""

    def __init__(self, connection: Any, method: str, argument: object) -> None:
        self._connection = connection
        self._method = method
        self._argument = argument
        self._functions: list[Callable[[], object]] = []
        #: The method, or what other code has replaced it with.
        self._original = getattr(connection, method)
        self._replaced = vars(connection).get(method)
        setattr(connection, method, self)

    @classmethod
    def on(cls, connection: Any, method: str, argument: object) -> _Waiting:
        """Return the existing replacement, or a new one."""
        current = vars(connection).get(method)
        if isinstance(current, cls) and current._argument == argument:
            return current
        return cls(connection, method, argument)

    def append(self, func: Callable[[], object]) -> None:
        self._functions.append(func)

    def __call__(self, argument: object, *args: object, **kwargs: object) -> object:
        if argument != self._argument:
            return self._original(argument, *args, **kwargs)
        self._remove()
        try:
            return self._original(argument, *args, **kwargs)
        finally:
            functions, self._functions = self._functions, []
            for func in functions:
                try:
                    func()
                except Exception:
                    logger.exception(
                        "A callback that was deferred to the end of a transaction failed."
                    )

    def _remove(self) -> None:
        if vars(self._connection).get(self._method) is not self:
            return  # other code has wrapped this method and keeps it: just pass calls on
        if self._replaced is None:
            delattr(self._connection, self._method)
        else:
            setattr(self._connection, self._method, self._replaced)
