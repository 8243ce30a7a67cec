"""Rows that each process keeps for a moment, because every webhook needs them.

An edit drops the cache of its own process on commit; other processes notice within `TTL` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import models, router, transaction

from . import commits

#: Seconds for which a process uses what it has loaded.
TTL = 1.0

Held = TypeVar("Held")


class RowCache(Generic[Held]):
    """What a process has made of the rows of a model.

    Args:
        model: The model.
        load: Reads the rows.
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
        #: Marks a transaction that has changed rows.
        self._mark = f"{model._meta.label} changed"

    def get(self, *, fresh: bool = False) -> Held:
        """Return what is held; with `fresh`, always from the database."""
        using = router.db_for_read(self._model)
        if commits.is_marked(using, self._mark):
            # Only the transaction that has made an edit sees it until it is committed.
            return self._load()
        inside = transaction.get_connection(using).in_atomic_block
        generation, held, now = self._generation, self._held, self._clock()
        if held is not None and not fresh and now - held[0] < TTL:
            return held[1]
        loaded = self._load()
        if not inside:  # a transaction may see outdated rows that others must not use
            with self._lock:
                if generation == self._generation:  # else dropped while loading
                    self._held = (now, loaded)
        return loaded

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
