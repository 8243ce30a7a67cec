"""Record in the publish history what code has tried to publish.

The process reports what it has published as an event, so that publishing costs the caller no
INSERT. Attempts that failed, and what no process reports, are recorded here.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial

from django.db import Error, router, transaction
from django.utils import timezone

from . import isolation
from .audit import payloads
from .audit.fitting import save_fitting
from .audit.outside import call_outside
from .audit.writing import fit
from .conf import settings
from .decisions.decide import Decision
from .exceptions import HookboxError, HookboxRefused
from .guards import HeldConnections
from .models import Publication
from .wire import values

logger = logging.getLogger("djhookbox")

#: Bytes of JSON above which the process is not asked to report a message, but only to send it:
#: reports have a limit, and wait in its memory.
LARGEST_REPORTED = 65_536


@dataclass(frozen=True, slots=True)
class Message:
    """A publication before it is sent."""

    channel: str
    text: str
    originator: str
    sender: str
    source: str
    key: str
    #: When it was made, in seconds since the epoch.
    made: float = field(default_factory=time.time)


def is_reported(message: Message) -> bool:
    """Return whether the process is asked to report a message.

    The admin shows its own messages at once, and a test expects the rows of what it has published.
    """
    return not (
        settings.executable
        or isolation.is_isolated()
        or message.source == Publication.Source.ADMIN
        or len(message.text) > LARGEST_REPORTED
    )


def record(
    message: Message,
    decision: Decision | None,
    *,
    delivered: int | None = None,
    error: HookboxError | None = None,
) -> None:
    """Record an attempt to publish, even if the caller's transaction is rolled back."""
    status = Publication.Status.SENT
    if error is not None:
        refused = isinstance(error, HookboxRefused)
        status = Publication.Status.REFUSED if refused else Publication.Status.FAILED
    row = Publication(
        created=timezone.now(),
        channel=message.channel,
        user_name=fit(message.sender),
        source=message.source,
        status=status,
        error="" if error is None else str(error),
        delivered=delivered,
        decided_by="" if decision is None else decision.decided_by[:255],
        reason="" if decision is None else decision.reason[:255],
        **payloads.kept(values.loads(message.text), is_copy=True),
    )
    using = router.db_for_write(Publication)
    try:
        call_outside(using, partial(_save, row, using))
    except (Error, ValueError):
        # A message cannot be recalled; after an exception, callers would send it again.
        logger.exception("Could not record a publication to %s.", row.channel)


def _save(row: Publication, using: str) -> None:
    inserted = False
    held = HeldConnections()

    def insert() -> None:
        nonlocal inserted
        # A savepoint, in case this is in the transaction of a test.
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
            inserted = True

    try:
        save_fitting(row, insert)
    except Error:
        # If the connection was cut during the commit, the row may exist.
        if inserted or not held.were_cut():
            raise
        insert()
