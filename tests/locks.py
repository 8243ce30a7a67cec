"""A process that holds the lock of the outbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from djhookbox.outbox import heads


@contextmanager
def held_elsewhere() -> Iterator[None]:
    """Hold the lock in another thread."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with heads.locked("default"):
                taken.set()
                over.wait(30)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        over.set()
        holder.join()
