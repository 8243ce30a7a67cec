"""Write rows that must survive the rollback of the caller's transaction.

What is written in a transaction is rolled back with it, and Django does not report rollbacks. A
thread with its own connection therefore writes such rows once the transaction has ended: another
connection cannot write to SQLite before, and must not wait for locks that the caller holds.

Rows that wait are lost with the process; their number is limited. In tests, everything is written
at once: no other connection sees the transaction of a `TestCase`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import isolation
from ..commits import is_test_case

logger = logging.getLogger("djhookbox")

#: Maximum number of functions that wait.
MOST = 1000
#: Seconds between looks at transactions, and until one is no longer waited for.
LOOK_SECONDS = 0.05
LONGEST_SECONDS = 60.0
#: Attempts to call a function while the database fails, and seconds between them.
ATTEMPTS = 5
RETRY_SECONDS = 1.0
#: Seconds that the end of the process may be delayed.
EXIT_SECONDS = 2.0
#: Seconds without work after which the thread ends.
IDLE_SECONDS = 10.0


@dataclass(slots=True)
class _Waiting:
    """A function that waits for the end of a transaction.

    Attributes:
        connection: The connection of the transaction.
        due: When it is called at the earliest.
        until: Until when the transaction is waited for.

    """

    func: Callable[[], object]
    connection: weakref.ref[Any]
    due: float
    until: float
    attempts: int = 0

    def is_due(self, now: float) -> bool:
        """Return whether the function can be called."""
        if now < self.due:
            return False
        connection = self.connection()
        return connection is None or now >= self.until or not _is_open(connection)


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.in_atomic_block or not connection.autocommit)


def call_outside(using: str, func: Callable[[], object]) -> None:
    """Call a function that writes to a database, outside of the caller's transaction.

    Without a transaction it is called at once, and its exceptions are raised; otherwise later, in
    another thread. It may be called again after a database error.
    """
    connection = transaction.get_connection(using)
    if not _is_open(connection) or isolation.is_isolated() or is_test_case(connection):
        func()
    else:
        _writer.add(func, connection)


def finish(seconds: float) -> bool:
    """Wait until nothing waits any more; return whether that is so."""
    return _writer.finish(seconds)


class _Writer:
    """Calls the functions in a thread, which is started when needed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._lost = 0

    def add(self, func: Callable[[], object], connection: BaseDatabaseWrapper) -> None:
        now = time.monotonic()
        with self._condition:
            if len(self._waiting) >= MOST:
                self._lost += 1
                logger.warning(
                    "An entry of the audit log was lost (%d so far), because %d others wait for "
                    "transactions to end.", self._lost, MOST,
                )  # fmt: skip
                return
            entry = _Waiting(func, weakref.ref(connection), now, now + LONGEST_SECONDS)
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="hookbox-audit-log", daemon=True
                )
                self._thread.start()
            self._condition.notify_all()

    def finish(self, seconds: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting, seconds)

    def _run(self) -> None:
        while entry := self._next():
            self._call(entry)
            if not self._waiting:
                connections.close_all()  # those of this thread, which others may need from a pool

    def _next(self) -> _Waiting | None:
        """Return the next function to call; None when the thread has been idle for long."""
        with self._condition:
            idle_until = time.monotonic() + IDLE_SECONDS
            while True:
                now = time.monotonic()
                for entry in self._waiting:
                    if entry.is_due(now):
                        return entry
                if self._waiting:
                    self._condition.wait(LOOK_SECONDS)
                elif now >= idle_until:
                    self._thread = None
                    return None
                else:
                    self._condition.wait(idle_until - now)

    def _call(self, entry: _Waiting) -> None:
        entry.attempts += 1
        try:
            entry.func()
        except Error as error:
            connections.close_all()  # it may be cut
            if entry.attempts < ATTEMPTS:
                entry.due = time.monotonic() + RETRY_SECONDS
                return
            logger.error("An entry of the audit log could not be written: %s", error)
        except Exception:
            logger.exception("An entry of the audit log could not be written.")
        with self._condition:
            self._waiting.remove(entry)
            self._condition.notify_all()


_writer = _Writer()


def _forked() -> None:
    """Start anew in a child process: what waits is written by its parent."""
    global _writer
    _writer = _Writer()


os.register_at_fork(after_in_child=_forked)
atexit.register(lambda: finish(EXIT_SECONDS))
