"""Store revocations in the transaction that ends the rights."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import DatabaseError, connections, router, transaction
from django.db.models.functions import Now

from ..conf import settings
from ..wire import records
from ..wire.revocations import Revocation as Record
from ..wire.values import dumps
from . import pruning
from .models import Revocation

logger = logging.getLogger("djhookbox")

#: Seconds between two looks of a web process at rows that no Hookbox process pulls.
TIDY_SECONDS = 3600.0

_next_tidying = 0.0


def database() -> str:
    """Return the alias of the database that revocations are stored in."""
    return router.db_for_write(Revocation)


def new_key() -> str:
    """Return the key of a revocation that was never used before."""
    return secrets.token_hex(16)


def are_stored() -> bool:
    """Return whether revocations are stored: only the bundled server pulls them."""
    return not settings.executable


def store(revocations: Sequence[Record]) -> None:
    """Insert revocations in the current transaction of their database.

    Raises:
        DatabaseError: They could not be stored, so that nothing may be changed either.

    """
    rows = [Revocation(key=each.key, text=to_text(each), created=Now()) for each in revocations]
    Revocation.objects.using(database()).bulk_create(rows)


@contextmanager
def with_change(using: str) -> Iterator[None]:
    """Open a transaction for a change and its revocations, if none is open.

    Outside of a transaction, Django commits a row before it sends `post_save`.

    Args:
        using: The database of the change.

    """
    if using != database() or not are_stored() or connections[using].in_atomic_block:
        yield  # there is one, or they cannot be stored in it
        return
    with transaction.atomic(using=using, savepoint=False):
        if connections[using].vendor == "sqlite":
            # A transaction that begins with a write waits for its turn. One that has read before it
            # writes is refused at once if another one writes ("database is locked").
            Revocation.objects.using(using).filter(pk=0).update(number=None)
        yield


def to_text(revocation: Record) -> str:
    """Return a revocation as JSON text without its key, which has its own column."""
    fields = records.write(revocation, defaults=False)
    del fields["key"]
    return dumps(fields)


def from_text(key: str, text: str) -> Record:
    """Return the revocation that `to_text` has written.

    Raises:
        ValueError: It is not what this version writes.

    """
    fields = json.loads(text)
    return records.read(Record, {**fields, "key": key} if isinstance(fields, dict) else fields)


def tidy_sometimes() -> None:
    """Delete old rows if it is time to: on a site without a Hookbox process, nothing pulls them.

    Called after a commit. Whatever fails here must not fail the request.
    """
    global _next_tidying
    now = time.monotonic()
    if now < _next_tidying:
        return
    _next_tidying = now + TIDY_SECONDS
    using = database()
    if connections[using].in_atomic_block:
        return
    try:
        pruning.forget_unnumbered(using)
    except DatabaseError as error:
        logger.warning("Old revocations could not be deleted: %s", error)
