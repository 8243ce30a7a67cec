"""Record the events that the server reports in batches."""

from __future__ import annotations

import datetime
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from django.db import router, transaction
from django.db.models import Case, F, IntegerField, Value, When

from .. import debugging
from ..conf import settings
from ..measurements.recording import moment as check_time
from ..measurements.recording import record as record_measured
from ..models import ConnectionLog, Measurement, Node, Publication, SubscriptionLog
from ..wire import events
from ..wire.events import Event
from . import payloads
from .addresses import stored
from .leaving import tell
from .nodes import Sender, heard, written
from .writing import fit, moment, write_all

logger = logging.getLogger("djhookbox.webhook")

#: Seconds after which a transaction ends that sends signals.
TRANSACTION_SECONDS = 0.25

#: The models that events are recorded as.
MODELS = (ConnectionLog, SubscriptionLog, Publication, Measurement)

#: The largest numbers that every database can store in a count and a key.
_LARGEST_COUNT, _LARGEST_KEY = 2**31 - 1, 2**63 - 1


def record(
    reported: Sequence[object],
    sender: Sender | None = None,
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> int | None:
    """Write a batch of events and send their signals; malformed ones are skipped and logged.

    Args:
        reported: What happened, in order.
        sender: Which process reports; what it has reported before is not written again.
        seconds: The time limit for the receivers of signals.
        clock: Returns the time.

    Returns:
        The number of the last event that was recorded, if the time was not sufficient for all.

    Raises:
        DatabaseError: One of `UNAVAILABLE`: nothing can be written at the moment. The batch
            should be sent again; what was written will not be written again.

    """
    end = clock() + seconds
    done = _record_some(reported, sender, clock)
    while done < len(reported):
        number = _event_number(reported[done - 1])
        if number is not None and clock() >= end:
            return number
        done += _record_some(reported[done:], sender, clock)
    return None


def _record_some(
    reported: Sequence[object], sender: Sender | None, clock: Callable[[], float]
) -> int:
    """Record events in one transaction; return how many.

    Their signals are sent in it as well: what receivers write is written once, even if the events
    are sent again. It ends early if they take long, because it may lock the whole database.
    """
    # All or nothing: a batch that is sent again must not be recorded twice.
    with ExitStack() as transactions:
        for using in {router.db_for_write(model) for model in (Node, *MODELS)}:
            transactions.enter_context(transaction.atomic(using=using))
        last = heard(sender) if sender is not None else 0
        batch = Batch()
        numbers = [last]
        end = clock() + TRANSACTION_SECONDS
        done = 0
        for event in reported:
            done += 1
            number = _event_number(event)
            if number is not None:
                if sender is not None and number <= last:
                    continue
                numbers.append(number)
            if batch.add(event, sender) and clock() >= end:
                break
        batch.write(sender)
        if sender is not None and (len(numbers) > 1 or not reported):
            written(sender, max(numbers), stopped=batch.stopped)
        return done


def _event_number(event: object) -> int | None:
    number = event.get("id") if isinstance(event, dict) else None
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return number if 0 < number <= _LARGEST_KEY else None


class Batch:
    """The rows of a batch of events.

    Attributes:
        stopped: Whether one of them ends the process.

    """

    def __init__(self) -> None:
        self.stopped = False
        self._connections: list[ConnectionLog] = []
        self._subscriptions: list[SubscriptionLog] = []
        self._publications: list[Publication] = []
        self._measured: list[events.Measured] = []
        self._delivered: dict[int, int] = {}
        self._delivered_by_number: dict[int, int] = {}

    def add(self, data: object, sender: Sender | None) -> bool:
        """Convert an event to a row, or skip it if it is malformed; return whether it was told."""
        try:
            event = events.read(data)
            self._add(event, _moment(data), sender.boot if sender is not None else "")
            return tell(event)
        except (ValueError, RecursionError) as error:
            # One invalid event must not lose the other 499, nor be sent again forever.
            kind = data.get("event") if isinstance(data, dict) else None
            logger.warning("An event of kind %.40r was skipped: %s.", kind, error)
            return False

    def _add(self, event: Event, at: datetime.datetime, node: str) -> None:
        if isinstance(event, events.Disconnected):
            self._connections.append(_disconnect(event, at, node))
        elif isinstance(event, events.Subscribed | events.Unsubscribed | events.Destroyed):
            self._subscriptions.append(_subscription(event, at, node))
        elif isinstance(event, events.Published):
            row = _publication(event, at)
            self._publications.append(row)
            if row.source != Publication.Source.POLL:
                debugging.tell_unheard(row.channel, row.delivered)
        elif isinstance(event, events.Delivered):
            count = _bounded("delivered", event.delivered)
            if event.number is not None:
                number = _bounded("number", event.number, _LARGEST_KEY)
                self._delivered_by_number[number] = self._delivered_by_number.get(number, 0) + count
            elif event.publication is not None:
                publication = _bounded("publication", event.publication, _LARGEST_KEY)
                self._delivered[publication] = count
            else:
                raise ValueError("neither publication nor number")
        elif isinstance(event, events.Measured):
            check_time(event.begin)
            self._measured.append(event)
        else:
            self.stopped = True

    def write(self, sender: Sender | None) -> None:
        """Write the rows."""
        if sender is not None:
            for measured in self._measured:
                record_measured(sender.address, measured)
        if settings.log_connections:
            write_all(ConnectionLog, self._connections)
        if settings.log_subscriptions:
            write_all(SubscriptionLog, self._subscriptions)
        write_all(Publication, self._publications)
        if self._delivered:
            _count(self._delivered)
            _tell_unheard([pk for pk, count in self._delivered.items() if not count])
        if self._delivered_by_number:
            _add(self._delivered_by_number)


def _count(delivered: Mapping[int, int]) -> None:
    """Save how many connections publications reached, in one query."""
    by_count: dict[int, list[int]] = {}
    for pk, count in delivered.items():
        by_count.setdefault(count, []).append(pk)
    cases = [When(pk__in=pks, then=Value(count)) for count, pks in by_count.items()]
    Publication.objects.filter(pk__in=list(delivered)).update(
        delivered=Case(*cases, output_field=IntegerField())
    )


def _tell_unheard(unheard: Sequence[int]) -> None:
    """While DEBUG is on, name the channels of publications that reached nobody."""
    if unheard and settings.debug:
        for row in Publication.objects.filter(pk__in=unheard).only("channel"):
            debugging.tell_unheard(row.channel, 0)


def _add(delivered: Mapping[int, int]) -> None:
    """Add how many connections durable publications reached; each process reports its own."""
    by_count: dict[int, list[int]] = {}
    for number, count in delivered.items():
        by_count.setdefault(count, []).append(number)
    cases = [
        When(number__in=numbers, then=F("delivered") + count) for count, numbers in by_count.items()
    ]
    Publication.objects.filter(number__in=list(delivered)).update(
        delivered=Case(*cases, output_field=IntegerField())
    )


def _moment(data: object) -> datetime.datetime:
    return moment(data.get("at") if isinstance(data, dict) else None)


def _disconnect(event: events.Disconnected, at: datetime.datetime, node: str) -> ConnectionLog:
    transport = event.transport
    return ConnectionLog(
        event=ConnectionLog.Event.DISCONNECT,
        created=at,
        user_name=fit(event.user),
        connection_id=fit(event.conn_id, 64),
        transport=transport if transport in ConnectionLog.Transport.values else "",
        ip=stored(event.remote_addr),
        code=None if event.code is None else _bounded("code", event.code),
        reason=fit(event.reason),
        duration=_duration(event.duration),
        node=node,
    )


def _subscription(
    event: events.Subscribed | events.Unsubscribed | events.Destroyed,
    at: datetime.datetime,
    node: str,
) -> SubscriptionLog:
    kinds = SubscriptionLog.Event
    if isinstance(event, events.Destroyed):
        channel = _channel(event.channel_name)
        return SubscriptionLog(event=kinds.DESTROY, created=at, channel=channel, node=node)
    return SubscriptionLog(
        event=kinds.SUBSCRIBE if isinstance(event, events.Subscribed) else kinds.UNSUBSCRIBE,
        created=at,
        channel=_channel(event.channel_name),
        user_name=fit(event.user),
        connection_id=fit(event.conn_id, 64),
        decided_by=fit(event.by),
        reason=fit(event.reason),
        node=node,
    )


def _publication(event: events.Published, at: datetime.datetime) -> Publication:
    if event.source not in Publication.Source.values:
        raise ValueError("unknown source")
    if event.payload_size is None:
        payload = payloads.kept(event.payload)
    else:  # it was too large to be reported
        payload = payloads.left_out(_bounded("payload_size", event.payload_size))
    return Publication(
        created=at,
        channel=_channel(event.channel_name),
        user_name=fit(event.user),
        connection_id=fit(event.conn_id, 64),
        source=event.source,
        status=Publication.Status.SENT,
        decided_by=fit(event.decided_by or ""),
        reason=fit(event.reason or ""),
        delivered=None if event.delivered is None else _bounded("delivered", event.delivered),
        **payload,
    )


def _channel(name: str) -> str:
    if not name:
        raise ValueError("no channel_name")
    return fit(name)


def _bounded(field: str, value: int, largest: int = _LARGEST_COUNT) -> int:
    if not 0 <= value <= largest:
        raise ValueError(f"{field} is not a number that can be kept")
    return value


def _duration(seconds: object) -> datetime.timedelta | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return max(datetime.timedelta(seconds=seconds), datetime.timedelta())
    except (OverflowError, ValueError):
        return None
