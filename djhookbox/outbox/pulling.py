"""Answer the webhook `outbox`: what is new, and the streams that a node asks for."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..conf import settings
from ..wire.streams import (
    MOST_ENTRIES,
    MOST_STREAMS,
    MOST_TEXT,
    Entry,
    Key,
    Pulled,
    StreamPart,
    Wanted,
    before,
)
from . import heads, retention, rows
from .heads import Head
from .models import Outbox, StreamChannel, StreamEntry
from .numbering import digest, number
from .rows import Fresh

if TYPE_CHECKING:
    from ..wire import webhooks


def pull(request: webhooks.Outbox, head: Head | None = None) -> Pulled:
    """Number what waits, and return what a node lacks.

    Args:
        request: What the node has, and what it asks for.
        head: The head, if it has just been read.

    Raises:
        DatabaseError: The lock could not be acquired in time, or the database failed.

    """
    using = heads.database()
    head = heads.look(using) if head is None else head
    pending = head.pending
    over = not request.incarnation
    if not over and not _continues(request, head, using):
        over = True
        if _is_foreign(request, head, using):
            head = heads.renew(using, unknown=request.incarnation)
    more = False
    fresh: Sequence[StreamEntry | Fresh] = []
    start = head.number
    if pending:
        done = number(using)
        head, fresh, more = done.head, done.entries, done.more
    entries: list[Entry] = []
    if over:
        last, token = head.number, head.token
    elif head.number == request.number:
        last, token = request.number, request.token
    else:
        if not fresh or request.number != start or fresh[0].number != start + 1:
            fresh = _after(request.number, using)
        kept = _fitting(fresh, MOST_TEXT)
        last, token = (kept[-1].number, kept[-1].token) if kept else (head.number, head.token)
        more = more or len(kept) < len(fresh) or last < head.number
        entries = [as_entry(entry, head.now, whole=True) for entry in kept]
    as_of, streams = 0, []
    if request.streams:
        # The head first, then the streams: they have at least what was numbered up to it.
        asked = heads.look(using)
        as_of = asked.number
        streams = _streams(request.streams[:MOST_STREAMS], asked, using)
    if not more and not pending:
        retention.sweep_sometimes(using)
    keys: list[Key] = []
    for name, wanted in request.keys.items():
        keys += _outcomes(name, wanted[:MOST_ENTRIES], last if over else request.number, using)
    return Pulled(
        incarnation=head.incarnation,
        number=last,
        token=token,
        as_of=as_of,
        over=over,
        more=more,
        entries=tuple(entries),
        streams=tuple(streams),
        keys=tuple(keys),
    )


def _continues(request: webhooks.Outbox, head: Head, using: str) -> bool:
    """Return whether a node's number and token are those of a row of the table."""
    if request.incarnation != head.incarnation or request.number > head.number:
        return False
    if request.number == head.number:
        return request.token == head.token
    if request.number == head.began:
        return request.token == head.first_token  # its row has another one, or is not there
    if request.number < head.began:
        return False
    row = StreamEntry.objects.using(using).filter(number=request.number).values_list("token")
    return request.token in [token for (token,) in row]


def _is_foreign(request: webhooks.Outbox, head: Head, using: str) -> bool:
    """Return whether a node has numbers that this table never gave, as after a restored backup."""
    if request.incarnation != head.incarnation:
        return request.incarnation not in head.former.split()
    if request.number >= head.number:
        return True
    # A missing row has been deleted because of its age; the node was away for long.
    return StreamEntry.objects.using(using).filter(number=request.number).exists()


# ---- entries -------------------------------------------------------------------------------------


def _after(last: int, using: str) -> list[StreamEntry]:
    rows = StreamEntry.objects.using(using).filter(number__gt=last).select_related("channel")
    return list(rows.order_by("number")[:MOST_ENTRIES])


def _fitting(entries: Sequence[StreamEntry | Fresh], most: int) -> list[StreamEntry | Fresh]:
    """Return the first entries whose payloads have at most so many characters; at least one."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.payload)
        if count and size > most:
            return list(entries[:count])
    return list(entries)


def as_entry(row: StreamEntry | Fresh, now: datetime.datetime, *, whole: bool) -> Entry:
    """Return a row of a stream as it travels; `whole` includes what a stream has in common."""
    age = round(max(0.0, (now - row.numbered).total_seconds()), 3)
    if not whole:
        return rows.entry(row, row.number, row.offset, age=age)
    return rows.entry(
        row, row.number, row.offset, channel=row.channel.name, epoch=row.epoch, trace=row.trace,
        age=age,
    )  # fmt: skip


def _outcomes(channel: str, keys: Sequence[str], last: int, using: str) -> list[Key]:
    """Return what became of publications that a node waits for, except for what it gets now."""
    entries = StreamEntry.objects.using(using).filter(
        channel__digest=digest(channel), key__in=keys, number__lte=last
    )
    found = [
        Key(channel, entry.key, entry.epoch, entry.offset, entry.number)
        for entry in entries
        if entry.key in keys  # some databases compare without case
    ]
    failed = Outbox.objects.using(using).filter(channel=channel, key__in=keys, failed=True)
    return found + [Key(channel, row.key, error=row.error) for row in failed]


# ---- streams -------------------------------------------------------------------------------------


def _streams(wanted: Sequence[Wanted], head: Head, using: str) -> list[StreamPart]:
    found = StreamChannel.objects.using(using).filter(
        digest__in=[digest(each.channel) for each in wanted]
    )
    rows = {row.digest: row for row in found}
    room = MOST_TEXT
    streams = []
    for each in wanted:
        row = rows.get(digest(each.channel))
        if row is None:
            nothing = before(head.incarnation, head.number)
            streams.append(StreamPart(each.channel, nothing, began=head.number))
            continue
        if streams and room <= 0:
            break  # the node asks for the rest again
        entries = _latest(row, each, head, max(room, MOST_TEXT // 4), using)
        room -= sum(len(entry.payload) for entry in entries)
        streams.append(
            StreamPart(
                channel=each.channel,
                epoch=row.epoch,
                offset=row.offset,
                began=row.began,
                renewed=row.renewed,
                entries=tuple(as_entry(entry, head.now, whole=False) for entry in entries),
            )
        )
    return streams


def _latest(
    row: StreamChannel, wanted: Wanted, head: Head, most: int, using: str
) -> Iterable[StreamEntry]:
    """Return the latest publications that history or recovery needs; oldest first."""
    entries = StreamEntry.objects.using(using).filter(channel=row, epoch=row.epoch)
    top = row.offset
    if wanted.before and wanted.epoch == row.epoch:
        top = min(top, wanted.before - 1)
    entries = entries.filter(offset__lte=top).order_by("-offset")
    oldest = head.now - datetime.timedelta(seconds=settings.durable_seconds)
    found: list[StreamEntry] = []
    expected, size = top, 0
    for entry in entries[:MOST_ENTRIES]:
        size += len(entry.payload)
        if entry.offset != expected or (found and size > most):
            break
        if entry.numbered < oldest and not _in_history(entry, row, head):
            break
        found.append(entry)
        expected -= 1
    return found[::-1]


def _in_history(entry: StreamEntry, row: StreamChannel, head: Head) -> bool:
    if entry.offset <= row.offset - row.history_size:
        return False
    if not row.history_duration:
        return True
    age = (head.now - entry.numbered).total_seconds()
    return age < row.history_duration
