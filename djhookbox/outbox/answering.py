"""Answer the webhook `outbox`: revocations first, then publications.

Each of the two is answered even if the other one cannot be read. If there is nothing of either, one
query finds that out.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from django.db import DatabaseError

from ..revocations import pulling as revoking
from ..wire import webhooks
from ..wire.revocations import Revocations
from ..wire.streams import Pulled
from . import looking, pulling

logger = logging.getLogger("djhookbox.webhook")


def answer(webhook: webhooks.Outbox) -> Pulled:
    """Return what a process lacks.

    Raises:
        DatabaseError: The database failed, and there is nothing to return.

    """
    both = webhook.revoked is not None and not webhook.only_revocations
    seen = looking.look() if both else None
    revocations, failure = _revocations(webhook, None if seen is None else seen.revocations)
    known = Pulled(webhook.incarnation, webhook.number, webhook.token, revocations=revocations)
    if webhook.only_revocations:
        if failure is not None:
            raise failure
        return known
    try:
        # What was read before revocations were numbered may be old by now.
        head = None if seen is None or seen.revocations.pending else seen.publications
        return replace(pulling.pull(webhook, head), revocations=revocations)
    except DatabaseError as error:
        if revocations is None:
            raise
        logger.warning("The outbox could not be read now: %s", error)
        return replace(known, unavailable=True)


def _revocations(
    webhook: webhooks.Outbox, head: revoking.Head | None
) -> tuple[Revocations | None, DatabaseError | None]:
    if webhook.revoked is None:
        return None, None
    try:
        return revoking.pull(webhook.revoked, head), None
    except DatabaseError as error:
        logger.warning("Revocations could not be read now: %s", error)
        return None, error
