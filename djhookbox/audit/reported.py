"""What no webhook decides: the server reports it in batches, and it is written at once."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router, transaction
from django.db.models import Case, IntegerField, Value, When

from ..conf import settings
from ..models import ConnectionLog, Publication, SubscriptionLog
from ..parsing import ip_address
from . import payloads
from .writing import fit, moment, write_all

logger = logging.getLogger("djhookbox.webhook")

#: The largest numbers that every database keeps in a count and in a key.
_LARGEST_COUNT, _LARGEST_KEY = 2**31 - 1, 2**63 - 1


def record(events: Iterable[object]) -> None:
    """Write a batch of events; malformed ones are skipped and logged.

    Raises:
        OperationalError: The database cannot be written to now; the batch should come again.

    """
    connections: list[ConnectionLog] = []
    subscriptions: list[SubscriptionLog] = []
    publications: list[Publication] = []
    delivered: dict[int, int] = {}
    for event in events:
        try:
            if not isinstance(event, dict):
                raise ValueError("not an object")
            kind = event.get("event")
            if kind == "disconnect":
                connections.append(_disconnect(event))
            elif kind in ("subscribe", "unsubscribe"):
                subscriptions.append(_subscription(event))
            elif kind == "publish":
                publications.append(_publication(event))
            elif kind == "delivered":
                delivered[_number(event, "publication", _LARGEST_KEY)] = _number(event, "delivered")
            else:
                raise ValueError("unknown kind")
        except (ValueError, RecursionError) as error:
            # One odd event must not cost the other 499, nor be sent again for ever.
            kind = event.get("event") if isinstance(event, dict) else None
            logger.warning("An event of kind %.40r was skipped: %s.", kind, error)
    # All or nothing: what comes again must not be there already.
    with transaction.atomic(using=router.db_for_write(Publication)):
        if settings.log_connections:
            write_all(ConnectionLog, connections)
        if settings.log_subscriptions:
            write_all(SubscriptionLog, subscriptions)
        write_all(Publication, publications)
        if delivered:
            _count(delivered)


def _count(delivered: Mapping[int, int]) -> None:
    """Say how many connections publications reached, in one query."""
    by_count: dict[int, list[int]] = {}
    for pk, count in delivered.items():
        by_count.setdefault(count, []).append(pk)
    cases = [When(pk__in=pks, then=Value(count)) for count, pks in by_count.items()]
    Publication.objects.filter(pk__in=list(delivered)).update(
        delivered=Case(*cases, output_field=IntegerField())
    )


def _disconnect(event: Mapping[str, object]) -> ConnectionLog:
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
    )


def _subscription(event: Mapping[str, object]) -> SubscriptionLog:
    kinds = SubscriptionLog.Event
    return SubscriptionLog(
        event=kinds.SUBSCRIBE if event["event"] == "subscribe" else kinds.UNSUBSCRIBE,
        created=moment(event.get("at")),
        channel=_channel(event),
        user_name=_text(event, "user"),
        connection_id=_text(event, "conn_id", 64),
        decided_by=_text(event, "by"),
        reason=_text(event, "reason"),
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
