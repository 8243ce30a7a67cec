"""Rows of the outbox and what becomes of them, without the cost of Django's models."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from django.utils import timezone

from ..audit import payloads
from ..audit.writing import fit
from ..decisions.decide import Decision
from ..models import Publication
from ..wire import values
from ..wire.streams import Entry
from .models import StreamChannel, StreamEntry

#: The columns of an entry, in the order of `Fresh.values()`.
ENTRY = (
    "number", "token", "channel_id", "epoch", "offset", "payload", "user_name", "connection_id",
    "key", "trace", "created", "numbered",
)  # fmt: skip
#: The columns of a row of the publish history, in the order of `History.values()`.
PUBLICATION = (
    "created", "channel", "user_name", "connection_id", "source", "status", "error", "decided_by",
    "reason", "note", "number", "delivered", "payload", "preview", "size", "kept",
)  # fmt: skip


@dataclass(slots=True)
class Row:
    """A row of the outbox, with the columns of these names in this order."""

    id: int
    channel: str
    payload: str
    user_name: str
    sender: str
    connection_id: str
    source: str
    key: str
    opened_by: str
    decided_by: str
    reason: str
    history_size: int
    history_duration: int
    created: datetime.datetime
    trace: str | None

    def values(self) -> tuple[object, ...]:
        """Return the values of the columns, without the key."""
        return _row_values(self)


_row_values = attrgetter(*Row.__match_args__[1:])


@dataclass(slots=True)
class Draft:
    """A publication to be stored.

    Attributes:
        decision: The decision to publish it, for the audit log.
        channel: The channel's name.
        text: The message as JSON text.
        user: The name that subscribers see.
        sender: The name for the audit log.
        source: The source for the audit log.
        key: A publication with the same key is stored once.
        connection_id: The connection of the browser that sent it.
        opened: The decision that opens the channel, if it is another one.
        trace: The trace in which it was made, as a `traceparent`.

    """

    decision: Decision
    channel: str
    text: str
    user: str
    sender: str
    source: str
    key: str = ""
    connection_id: str = ""
    opened: Decision | None = None
    trace: str = ""

    def row(self) -> Row:
        """Return its row, whose key the database assigns."""
        decision, opened = self.decision, self.opened or self.decision
        return Row(
            0,
            self.channel,
            self.text,
            self.user,
            fit(self.sender),
            self.connection_id,
            self.source,
            self.key,
            opened.decided_by[:255],
            decision.decided_by[:255],
            decision.reason[:255],
            _count(opened, "history_size"),
            _count(opened, "history_duration"),
            timezone.now(),
            self.trace or None,
        )


def _count(decision: Decision, name: str) -> int:
    value = decision.options.get(name, 0)
    return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new entry, with the attributes of `StreamEntry`."""

    number: int
    token: str
    channel: StreamChannel
    epoch: str
    offset: int
    payload: str
    user_name: str
    connection_id: str
    key: str
    trace: str | None
    created: datetime.datetime
    numbered: datetime.datetime

    def values(self) -> tuple[object, ...]:
        """Return the values of the columns."""
        return (
            self.number, self.token, self.channel.pk, self.epoch, self.offset, self.payload,
            self.user_name, self.connection_id, self.key, self.trace, self.created, self.numbered,
        )  # fmt: skip


def entry(
    row: Row | StreamEntry | Fresh,
    number: int,
    offset: int,
    *,
    channel: str = "",
    epoch: str = "",
    trace: str | None = None,
    age: float = 0.0,
) -> Entry:
    """Return a publication as it is sent; the arguments are attributes of `Entry`."""
    return Entry(
        number,
        offset,
        row.payload,
        channel,
        epoch,
        user=row.user_name or None,
        conn_id=row.connection_id or None,
        key=row.key or None,
        at=row.created.timestamp(),
        age=age,
        trace=trace,
    )


_publication_values = itemgetter(*PUBLICATION)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the publish history.

    Attributes:
        fields: The attributes of a `Publication`.
        text: Its payload as JSON text, if it is stored.

    """

    fields: dict[str, object]
    text: str | None

    def values(self) -> tuple[object, ...]:
        """Return the values of the columns."""
        return tuple(_publication_values({**self.fields, "payload": self.text}))


def recorded(
    row: Row, rules: payloads.Rules, *, number: int | None = None, error: str = ""
) -> Recorded:
    """Return the row of the publish history for a row of the outbox.

    Args:
        row: The row.
        rules: What is kept of payloads.
        number: Its number; None if it has failed.
        error: Why it has failed.

    """
    kept, text = payloads.kept_and_text(values.loads(row.payload), rules, is_copy=True)
    status = Publication.Status.FAILED if error else Publication.Status.SENT
    fields = {
        "created": row.created,
        "channel": row.channel,
        "user_name": fit(row.sender),
        "connection_id": row.connection_id,
        "source": row.source,
        "status": status.value,
        "error": error,
        "decided_by": row.decided_by,
        "reason": row.reason,
        "note": "",
        "number": number,
        "delivered": None if number is None else 0,
    }
    return Recorded(fields | kept, text)
