"""Rows that each process keeps for a moment, because every webhook needs them.

An edit drops the cache of its own process on commit; other processes notice within `TTL` seconds.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import Error, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from . import commits, isolation

#: Seconds for which a process uses what it has loaded.
TTL = 1.0

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True, eq=False)
class _Own(commits.Callback, Generic[Held]):
    """What a transaction has loaded for itself; loads it again for all after the commit.

    Attributes:
        place: Where this waits among the callbacks of the transaction, as long as it lasts.

    """

    cache: RowCache[Held]
    held: Held
    at: float
    generation: int
    place: int

    def __call__(self) -> None:
        with suppress(Error):  # the next one that needs it loads it again
            self.cache.get()


class RowCache(Generic[Held]):
    """What a process has made of the rows of a model.

    Args:
        model: The model.
        load: Reads the rows, from the database to which they are written.
        clock: Returns the time in seconds.

    """

    def __init__(
        self,
        model: type[models.Model],
        load: Callable[[], Held],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._held: tuple[float, Held] | None = None
        #: What the current transaction of each connection has loaded for itself.
        self._own: weakref.WeakKeyDictionary[object, _Own[Held]] = weakref.WeakKeyDictionary()
        #: Marks a transaction that has changed rows.
        self._mark = f"{model._meta.label} changed"

    def get(self, *, fresh: bool = False) -> Held:
        """Return what is held; with `fresh`, always from the database."""
        # Not a replica, which may not have an edit of a moment ago.
        connection = transaction.get_connection(router.db_for_write(self._model))
        if commits.is_marked(connection, self._mark):
            # Only the transaction that has made an edit sees it until it is committed.
            return self._load()
        generation, held, now = self._generation, self._held, self._clock()
        if not fresh:
            if held is not None and now - held[0] < TTL:
                return held[1]
            own = self._own.get(connection)
            if own is not None and self._is_valid(own, connection, now):
                return own.held
        loaded = self._load()
        if connection.in_atomic_block:
            # It may see outdated rows that others must not use.
            self._keep(
                connection, _Own(self, loaded, now, generation, commits.count_waiting(connection))
            )
            return loaded
        with self._lock:
            if generation == self._generation:  # else dropped while loading
                self._held = (now, loaded)
        return loaded

    def _is_valid(self, own: _Own[Held], connection: BaseDatabaseWrapper, now: float) -> bool:
        """Return whether this was loaded a moment ago, in the transaction that is still open."""
        return (
            own.generation == self._generation
            and now - own.at < TTL
            and commits.is_waiting_at(connection, own.place, own)
        )

    def _keep(self, connection: BaseDatabaseWrapper, own: _Own[Held]) -> None:
        """Keep what a transaction has loaded until it ends.

        A process may load rows only in transactions, for example if it publishes in each of them.
        """
        if isolation.is_isolated():
            return  # tests of the site look at these callbacks
        # With autocommit off, nobody knows when the commit comes.
        with suppress(TransactionManagementError):
            transaction.on_commit(own, using=connection.alias, robust=True)
            self._own[connection] = own

    def drop(self) -> None:
        """Drop what is held."""
        with self._lock:
            self._generation += 1
            self._held = None

    def changed(self, using: str | None) -> None:
        """Register an edit, and drop what is held when it is committed."""
        commits.mark(using, self._mark)

        def committed() -> None:
            commits.unmark(using, self._mark)
            self.drop()

        transaction.on_commit(committed, using=using)
