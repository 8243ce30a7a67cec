"""All that touches the private state of Django's transactions.

`after_transaction` does something when the caller's transaction has ended, however it ended.

A message that was sent stays sent when the caller rolls back, so its history row must not be
rolled back with the rest; Django's `on_commit()` only knows about commits. Here the method is
wrapped that Django calls last when the outermost atomic block ends, for as long as something
waits for it: `set_autocommit(True)`, after the commit or the rollback. (If the connection was
closed inside the block, Django calls it when it connects the next time.)

In a `TestCase` the outermost block is the test's own and ends only with the test. What comes
before it, the end of the outermost block that is the project's, is the release of that
block's savepoint, which follows a rollback to it too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import transaction

logger = logging.getLogger("djhookbox")

Waiter = TypeVar("Waiter")


def after_transaction(using: str | None, func: Callable[[], object]) -> None:
    """Call a function when no transaction is open: at once, or after the outermost one ended.

    What the function raises after a transaction is logged, since the block it would surface in
    has nothing to do with it. Where the project itself has switched autocommit off, its
    transactions have no end that could be waited for; the function is called at once.
    """
    connection = transaction.get_connection(using)
    blocks = connection.atomic_blocks
    own = sum(getattr(block, "_from_testcase", False) for block in blocks)
    if len(blocks) == own or (not own and not connection.commit_on_exit):
        func()
    elif not own:
        _Waiting.on(connection, "set_autocommit", True).append(func)
    else:
        # The block of the test case itself has no savepoint, hence the list is one shorter.
        savepoint = connection.savepoint_ids[own - 1]
        if savepoint is None:
            func()  # atomic(savepoint=False): nothing can be rolled back to before it
        else:
            _Waiting.on(connection, "savepoint_commit", savepoint).append(func)


def waiting(using: str | None, kind: type[Waiter]) -> Waiter | None:
    """Return what waits for the commit of the transaction, or of the savepoint, open now.

    Args:
        using: The alias of the database, None for the default one.
        kind: The class of what was given to `after_commit_once`.

    """
    connection = transaction.get_connection(using)
    # None stands for a block without a savepoint, which is rolled back with the one around it.
    savepoints = set(connection.savepoint_ids) - {None}
    for known, func, *_rest in reversed(connection.run_on_commit):
        # Not one of another savepoint, which may yet be rolled back without this one.
        if isinstance(func, kind) and set(known) - {None} == savepoints:
            return func
    return None


def after_commit_once(using: str | None, func: Callable[[], None]) -> None:
    """Call a function after the commit, however often this was asked; at once outside of one."""
    booked = transaction.get_connection(using).run_on_commit
    if not any(known is func for _savepoints, known, *_rest in booked):
        transaction.on_commit(func, using=using, robust=True)


def mark(using: str | None, name: str) -> None:
    """Note something for the rest of the transaction that is open now; outside of one, nothing."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        vars(connection).setdefault("hookbox_marks", set()).add(name)


def unmark(using: str | None, name: str) -> None:
    """Take back what `mark` has noted."""
    vars(transaction.get_connection(using)).get("hookbox_marks", set()).discard(name)


def is_marked(using: str | None, name: str) -> bool:
    """Tell whether something was noted in the transaction that is open now."""
    connection = transaction.get_connection(using)
    if connection.in_atomic_block:
        return name in vars(connection).get("hookbox_marks", ())
    unmark(using, name)  # of a transaction that was rolled back
    return False


class _Waiting:
    """Stands in for a method of a connection until it is called with the argument awaited."""

    def __init__(self, connection: Any, method: str, argument: object) -> None:
        self._connection = connection
        self._method = method
        self._argument = argument
        self._functions: list[Callable[[], object]] = []
        #: The method, or what somebody else has put in its place.
        self._original = getattr(connection, method)
        self._replaced = vars(connection).get(method)
        setattr(connection, method, self)

    @classmethod
    def on(cls, connection: Any, method: str, argument: object) -> _Waiting:
        """Return the one that waits already, else a new one."""
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
            return  # somebody has wrapped us, and keeps us: then we only pass calls on
        if self._replaced is None:
            delattr(self._connection, self._method)
        else:
            setattr(self._connection, self._method, self._replaced)
