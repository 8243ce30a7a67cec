"""What no webhook decides: the server reports it in batches, and it is written at once."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from django.db import router, transaction
from django.db.models import Case, IntegerField, Value, When

from ..conf import settings
from ..models import ConnectionLog, Node, Publication, SubscriptionLog
from ..parsing import ip_address
from . import payloads
from .nodes import Sender, heard, written
from .writing import fit, moment, write_all

logger = logging.getLogger("djhookbox.webhook")

#: What events become.
MODELS = (ConnectionLog, SubscriptionLog, Publication)

#: The largest numbers that every database keeps in a count and in a key.
_LARGEST_COUNT, _LARGEST_KEY = 2**31 - 1, 2**63 - 1


def record(events: Sequence[object], sender: Sender | None = None) -> None:
    """Write a batch of events; malformed ones are skipped and logged.

    Args:
        events: What happened, in order.
        sender: Which process reports; what it has reported before is not written again.

    Raises:
        DatabaseError: One of `UNAVAILABLE`: nothing can be written now, and nothing was. The
            batch should come again.

    """
    # All or nothing: what comes again must not be there already.
    with ExitStack() as transactions:
        for using in {router.db_for_write(model) for model in (Node, *MODELS)}:
            transactions.enter_context(transaction.atomic(using=using))
        last = heard(sender) if sender is not None else 0
        batch = Batch()
        numbers = [last]
        for event in events:
            number = _event_number(event)
            if number is not None:
                if sender is not None and number <= last:
                    continue
                numbers.append(number)
            batch.add(event, sender)
        batch.write()
        if sender is not None and (len(numbers) > 1 or not events):
            written(sender, max(numbers), stopped=batch.stopped)


def _event_number(event: object) -> int | None:
    number = event.get("id") if isinstance(event, dict) else None
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if 0 < number <= _LARGEST_KEY else None


class Batch:
    """The rows of a batch of events.

    Attributes:
        stopped: Whether one of them says that the process ends.

    """

    def __init__(self) -> None:
        self.stopped = False
        self._connections: list[ConnectionLog] = []
        self._subscriptions: list[SubscriptionLog] = []
        self._publications: list[Publication] = []
        self._delivered: dict[int, int] = {}

    def add(self, event: object, sender: Sender | None) -> None:
        """Make an event a row; skip one that is malformed."""
        try:
            if not isinstance(event, dict):
                raise ValueError("not an object")
            self._add(event, sender.boot if sender is not None else "")
        except (ValueError, RecursionError) as error:
            # One odd event must not cost the other 499, nor be sent again for ever.
            kind = event.get("event") if isinstance(event, dict) else None
            logger.warning("An event of kind %.40r was skipped: %s.", kind, error)

    def _add(self, event: Mapping[str, object], node: str) -> None:
        kind = event.get("event")
        if kind == "disconnect":
            self._connections.append(_disconnect(event, node))
        elif kind in ("subscribe", "unsubscribe"):
            self._subscriptions.append(_subscription(event, node))
        elif kind == "publish":
            self._publications.append(_publication(event))
        elif kind == "delivered":
            publication = _number(event, "publication", _LARGEST_KEY)
            self._delivered[publication] = _number(event, "delivered")
        elif kind == "stopped":
            self.stopped = True
        else:
            raise ValueError("unknown kind")

    def write(self) -> None:
        """Write the rows."""
        if settings.log_connections:
            write_all(ConnectionLog, self._connections)
        if settings.log_subscriptions:
            write_all(SubscriptionLog, self._subscriptions)
        write_all(Publication, self._publications)
        if self._delivered:
            _count(self._delivered)


def _count(delivered: Mapping[int, int]) -> None:
    """Say how many connections publications reached, in one query."""
    by_count: dict[int, list[int]] = {}
    for pk, count in delivered.items():
        by_count.setdefault(count, []).append(pk)
    cases = [When(pk__in=pks, then=Value(count)) for count, pks in by_count.items()]
    Publication.objects.filter(pk__in=list(delivered)).update(
        delivered=Case(*cases, output_field=IntegerField())
    )


def _disconnect(event: Mapping[str, object], node: str) -> ConnectionLog:
    transport = _text(event, "transport")
    return ConnectionLog(
        event=ConnectionLog.Event.DISCONNECT,
        created=moment(event.get("at")),
        user_name=_text(event, "user"),
        connection_id=_text(event, "conn_id", 64),
        transport=transport if transport in ConnectionLog.Transport.values else "",
        ip=ip_address(_text(event, "remote_addr")),
        code=_number(event, "code") if event.get("code") is not None else None,
        reason=_text(event, "reason"),
        duration=_duration(event.get("duration")),
        node=node,
    )


def _subscription(event: Mapping[str, object], node: str) -> SubscriptionLog:
    kinds = SubscriptionLog.Event
    return SubscriptionLog(
        event=kinds.SUBSCRIBE if event["event"] == "subscribe" else kinds.UNSUBSCRIBE,
        created=moment(event.get("at")),
        channel=_channel(event),
        user_name=_text(event, "user"),
        connection_id=_text(event, "conn_id", 64),
        decided_by=_text(event, "by"),
        reason=_text(event, "reason"),
        node=node,
    )


def _publication(event: Mapping[str, object]) -> Publication:
    source = _text(event, "source")
    if source not in Publication.Source.values:
        raise ValueError("unknown source")
    return Publication(
        created=moment(event.get("at")),
        channel=_channel(event),
        user_name=_text(event, "user"),
        connection_id=_text(event, "conn_id", 64),
        source=source,
        status=Publication.Status.SENT,
        delivered=_number(event, "delivered") if event.get("delivered") is not None else None,
        **_payload(event),
    )


def _payload(event: Mapping[str, object]) -> dict[str, Any]:
    if "payload_size" in event:  # it was too large to be reported
        return payloads.left_out(_number(event, "payload_size"))
    return payloads.kept(event.get("payload"))


def _channel(event: Mapping[str, object]) -> str:
    name = _text(event, "channel_name")
    if not name:
        raise ValueError("no channel_name")
    return name


def _text(event: Mapping[str, object], field: str, limit: int = 255) -> str:
    value = event.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{field} is not a text")
    return fit(value, limit)


def _number(event: Mapping[str, object], field: str, largest: int = _LARGEST_COUNT) -> int:
    value = event.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise ValueError(f"{field} is not a number that can be kept")
    return value


def _duration(seconds: object) -> datetime.timedelta | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return max(datetime.timedelta(seconds=seconds), datetime.timedelta())
    except (OverflowError, ValueError):
        return None
