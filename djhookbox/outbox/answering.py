"""Answer the webhook `outbox`: revocations first, then publications.

Each of the two is answered even if the other one cannot be read.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from django.db import DatabaseError

from ..revocations import pulling as revoking
from ..wire import webhooks
from ..wire.revocations import Revocations
from ..wire.streams import Pulled
from . import pulling

logger = logging.getLogger("djhookbox.webhook")


def answer(webhook: webhooks.Outbox) -> Pulled:
    """Return what a process lacks.

    Raises:
        DatabaseError: The database failed, and there is nothing to return.

    """
    revocations, failure = _revocations(webhook)
    known = Pulled(webhook.incarnation, webhook.number, webhook.token, revocations=revocations)
    if webhook.only_revocations:
        if failure is not None:
            raise failure
        return known
    try:
        return replace(pulling.pull(webhook), revocations=revocations)
    except DatabaseError as error:
        if revocations is None:
            raise
        logger.warning("The outbox could not be read now: %s", error)
        return replace(known, unavailable=True)


def _revocations(
    webhook: webhooks.Outbox,
) -> tuple[Revocations | None, DatabaseError | None]:
    if webhook.revoked is None:
        return None, None
    try:
        return revoking.pull(webhook.revoked), None
    except DatabaseError as error:
        logger.warning("Revocations could not be read now: %s", error)
        return None, error
