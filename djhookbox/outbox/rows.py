"""Rows of the outbox and what becomes of them, without the cost of Django's models."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from operator import attrgetter, itemgetter

from ..audit import payloads
from ..audit.writing import fit
from ..models import Publication
from ..wire import values
from .models import StreamChannel

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
