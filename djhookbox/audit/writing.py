"""Write audit log rows: browser input is cut to fit, and failures never affect the site."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings as django_settings
from django.db import DatabaseError, models, router, transaction
from django.utils import timezone

from ..conf import settings
from ..decisions.decide import Decision
from ..models import ConnectionLog, Publication, SubscriptionLog
from ..policy.rules import Operation
from ..wire import names
from . import payloads
from .addresses import stored
from .fitting import UNAVAILABLE, is_at_fault, save_fitting

if TYPE_CHECKING:
    from ..parsing import Received
    from ..wire import webhooks
    from ..wire.webhooks import AnyWebhook

logger = logging.getLogger("djhookbox.webhook")

Row = TypeVar("Row", bound=models.Model)


def fit(text: str, limit: int = 255) -> str:
    """Return a text cut to fit a column."""
    text = names.without_forbidden_characters(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def moment(at: object) -> datetime.datetime:
    """Return the time of an event from Unix seconds; now if it is missing or in the future."""
    now = timezone.now()
    if isinstance(at, bool) or not isinstance(at, int | float):
        return now
    try:
        then = datetime.datetime.fromtimestamp(at, tz=datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return now
    if not django_settings.USE_TZ:
        then = timezone.make_naive(then, timezone.get_default_timezone())
    return min(then, now)


#: The rows that wait for the end of a batch of webhooks, if one is being answered.
_waiting: ContextVar[list[models.Model] | None] = ContextVar("_waiting", default=None)


@contextmanager
def together() -> Iterator[list[models.Model]]:
    """Insert the rows about connections and subscriptions at the end of the block, all at once.

    Yields the list of waiting rows, from which the block may remove some.
    """
    rows: list[models.Model] = []
    token = _waiting.set(rows)
    try:
        yield rows
    finally:
        _waiting.reset(token)
        for model in (ConnectionLog, SubscriptionLog):
            of_model = [row for row in rows if type(row) is model]
            try:
                write_all(model, of_model)
            except UNAVAILABLE:
                logger.exception("Could not record %d entries of the audit log.", len(of_model))


def _write_later(row: models.Model) -> None:
    """Insert a row, at the end of the batch if one is being answered."""
    waiting = _waiting.get()
    if waiting is None:
        write(row)
    else:
        waiting.append(row)


def write(row: Row) -> Row | None:
    """Insert a row; None if that failed, which is logged: no log may take the site down."""
    using = router.db_for_write(type(row), instance=row)
    inside = transaction.get_connection(using).in_atomic_block

    def save() -> None:
        with transaction.atomic(using=using) if inside else nullcontext():
            row.save(using=using, force_insert=True)

    try:
        save_fitting(row, save)
    except (DatabaseError, ValueError):
        logger.exception("Could not write a %s.", row._meta.verbose_name)
        return None
    return row


def write_all(model: type[Row], rows: Sequence[Row]) -> None:
    """Insert rows at once; rows that the database rejects are skipped and logged.

    Raises:
        DatabaseError: One of `UNAVAILABLE`: nothing can be written at the moment, and nothing was.

    """
    if not rows:
        return
    using = router.db_for_write(model)
    try:
        with transaction.atomic(using=using):
            model._default_manager.using(using).bulk_create(rows)
    except (DatabaseError, ValueError) as error:
        if not is_at_fault(error):
            raise
        logger.warning("Some of %d events do not fit the database: %s", len(rows), error)
        with transaction.atomic(using=using):
            for row in rows:
                row.pk = None
                write(row)


def write_connection(received: Received[webhooks.Connect], name: str, decision: Decision) -> None:
    """Record that a user connected or was refused."""
    if not settings.log_connections:
        return
    known = received.webhook.transport
    transport = known if known in ConnectionLog.Transport.values else ""
    event = ConnectionLog.Event
    _write_later(
        ConnectionLog(
            event=event.CONNECT if decision.allowed else event.REFUSED,
            user_name=fit(name),
            connection_id=received.caller.conn_id,
            decided_by=fit(decision.decided_by),
            reason=fit(decision.reason),
            transport=transport,
            ip=stored(received.webhook.remote_addr),
            user_agent=fit(received.webhook.user_agent),
            origin=fit(received.webhook.origin),
            node=received.node,
        )
    )


def write_disconnection(received: Received[webhooks.Disconnect]) -> None:
    """Record that a user's last connection closed; used for the genuine server only."""
    if not settings.log_connections:
        return
    _write_later(
        ConnectionLog(
            event=ConnectionLog.Event.DISCONNECT,
            user_name=received.webhook.user_name,
            connection_id=received.caller.conn_id,
        )
    )


def write_subscription(
    received: Received[AnyWebhook],
    channel: str,
    name: str,
    decision: Decision,
    allowed: str,
    refused: str,
) -> None:
    """Record the outcome for a channel or a subscription."""
    if settings.log_subscriptions:
        event = allowed if decision.allowed else refused
        _write_later(_subscription(received, channel, name, decision, event))


def write_subscriptions(
    received: Received[webhooks.SubscribeMany],
    name: str,
    decided: Iterable[tuple[str, Operation, Decision]],
) -> None:
    """Record the outcome for many channels and subscriptions with one query.

    Args:
        received: The webhook.
        name: The user's name.
        decided: Channel, operation (create or subscribe) and decision.

    """
    if not settings.log_subscriptions:
        return
    kinds = SubscriptionLog.Event
    events = {
        (Operation.CREATE, True): kinds.CREATE,
        (Operation.CREATE, False): kinds.CREATE_REFUSED,
        (Operation.SUBSCRIBE, True): kinds.SUBSCRIBE,
        (Operation.SUBSCRIBE, False): kinds.REFUSED,
    }
    rows = [
        _subscription(received, channel, name, decision, events[operation, decision.allowed])
        for channel, operation, decision in decided
    ]
    waiting = _waiting.get()
    if waiting is not None:
        waiting.extend(rows)
        return
    try:
        write_all(SubscriptionLog, rows)
    except UNAVAILABLE:
        logger.exception("Could not record %d entries of the audit log.", len(rows))


def _subscription(
    received: Received[AnyWebhook], channel: str, name: str, decision: Decision, event: str
) -> SubscriptionLog:
    return SubscriptionLog(
        event=event,
        channel=channel,
        user_name=fit(name),
        connection_id=received.caller.conn_id,
        decided_by=fit(decision.decided_by),
        reason=fit(decision.reason),
        node=received.node,
    )


def write_publication(
    received: Received[webhooks.Publish], payload: object, name: str, decision: Decision
) -> int | None:
    """Record a browser's publication; return its primary key."""
    status = Publication.Status.SENT if decision.allowed else Publication.Status.REFUSED
    row = write(
        Publication(
            channel=received.webhook.channel_name,
            source=Publication.Source.CLIENT,
            status=status,
            error="" if decision.allowed else decision.reason,
            user_name=fit(name),
            connection_id=received.caller.conn_id,
            decided_by=fit(decision.decided_by),
            reason=fit(decision.reason),
            **payloads.kept(decision.options.get("override_payload", payload)),
        )
    )
    return None if row is None else int(row.pk)
