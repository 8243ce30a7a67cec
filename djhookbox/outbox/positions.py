"""The position of a durable channel, in one query."""

from __future__ import annotations

from django.db import connections
from django.db.models import Subquery

from ..wire.streams import before
from . import heads
from .models import StreamChannel, StreamHead
from .numbering import digest


def cursor(channel: str, using: str) -> str:
    """Return a channel's cursor; "" if nothing was ever published or pulled, in a transaction.

    Raises:
        DatabaseError: The database failed.

    """
    rows = StreamChannel.objects.using(using).filter(digest=digest(channel))
    # The head first in the result, and in one statement: both are of the same moment.
    position = (
        StreamHead.objects.using(using)
        .filter(pk=StreamHead.KEY)
        .annotate(epoch=Subquery(rows.values("epoch")), offset=Subquery(rows.values("offset")))
        .values_list("incarnation", "number", "epoch", "offset")
    )
    found = position.first()
    if found is None and not connections[using].in_atomic_block:
        heads.look(heads.database())  # creates the head
        found = position.first()
    if found is None:
        return ""
    incarnation, number, epoch, offset = found
    if epoch is None:
        return f"{before(incarnation, number)}:0"
    return f"{epoch}:{offset}"
