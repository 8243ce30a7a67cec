"""Number what was committed: move rows from the outbox to the streams, under the lock."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from django.db import DatabaseError, router, transaction
from django.db.models import QuerySet

from ..audit import payloads
from ..audit.fitting import is_at_fault
from ..audit.writing import write_all
from ..decisions.store import cache, load
from ..models import Publication
from ..policy.rules import Rule
from ..wire.streams import MOST_ENTRIES, MOST_TEXT
from . import heads
from .allowing import Allowing
from .heads import Head
from .models import Outbox, StreamChannel, StreamEntry
from .rows import ENTRY, PUBLICATION, Fresh, Recorded, Row, recorded
from .statements import Read, Select
from .writing import Writes

logger = logging.getLogger("djhookbox")

#: The fields of a channel that a publication changes, and its key.
_POSITION = (
    "epoch", "offset", "began", "renewed", "history_size", "history_duration", "opened_by",
    "published", "id",
)  # fmt: skip
_position = attrgetter(*_POSITION)

_CHANNEL_FIELDS = tuple(field.attname for field in StreamChannel._meta.concrete_fields)
_ROWS = Select(lambda using: waiting(using, MOST_ENTRIES + 1))
_CHANNEL = Select(
    lambda using: StreamChannel.objects.using(using).filter(digest="").values_list(*_CHANNEL_FIELDS)
)


def waiting(using: str, most: int) -> QuerySet[Any, Any]:
    """Return the first rows that wait, in order, as a query."""
    rows = Outbox.objects.using(using).waiting().order_by("pk")
    return rows.values_list(*Row.__match_args__)[:most]


@dataclass(slots=True)
class Numbered:
    """What a call has numbered.

    Attributes:
        head: The head afterwards.
        entries: The new entries in order.
        more: Whether rows may be left.

    """

    head: Head
    entries: list[Fresh] = field(default_factory=list)
    more: bool = False


def digest(name: str) -> str:
    """Return what a channel's row is found by: databases may compare names without case."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def number(using: str) -> Numbered:
    """Number the rows that were committed, at most `MOST_ENTRIES` of them.

    Raises:
        DatabaseError: The lock could not be acquired in time, or the database failed.

    """
    # Before the lock is taken: nothing may be slow while it is held.
    rules = cache.get()
    if router.db_for_write(Publication) == using:
        try:
            return _number(using, rules, together=True)
        except (DatabaseError, ValueError) as error:
            if not is_at_fault(error):
                raise
            # Probably a value that the publish history cannot store. Nothing was written.
    return _number(using, rules, together=False)


def _number(using: str, rules: Sequence[Rule], *, together: bool) -> Numbered:
    with heads.locked_with(using, Read(_ROWS)) as (head, (rows,)):
        work = _Work(using, head, rules, together=together)
        work.run(rows)
        return work.done


def number_rows(
    using: str,
    head: Head,
    rules: Sequence[Rule],
    rows: Sequence[tuple[Any, ...]],
    channels: Mapping[str, Sequence[tuple[object, ...]]],
) -> Numbered:
    """Number rows that were read under the lock, which nothing may follow.

    Args:
        using: The alias of the database, which has the publish history, too.
        head: The locked head.
        rules: The policies.
        rows: What the query `waiting` has returned.
        channels: What `read_channel` has returned for channels that were read already, by digest.

    Raises:
        DatabaseError: The database failed, or the publish history cannot store a value.

    """
    work = _Work(using, head, rules, together=True)
    work.known = channels
    work.run(rows)
    return work.done


def read_channel(digest: str) -> Read:
    """Return the query for the row of a channel."""
    return Read(_CHANNEL, (digest,))


class _Work:
    """The work of one call, which holds the lock.

    Args:
        using: The alias of the database.
        head: The locked head.
        rules: The policies.
        together: Whether to write the publish history with the streams, without a savepoint.

    """

    def __init__(self, using: str, head: Head, rules: Sequence[Rule], *, together: bool) -> None:
        self._using = using
        self._head = head
        self._allowing = Allowing(rules)
        self._latest: Allowing | None = None
        self._together = together
        self._writes = Writes(using)
        self._keeping = payloads.rules()
        self._digests: dict[str, str] = {}
        self._channels: dict[str, StreamChannel] = {}
        self._changed: dict[str, StreamChannel] = {}
        self._history: list[Recorded] = []
        self.known: Mapping[str, Sequence[tuple[object, ...]]] = {}
        self.done = Numbered(head)

    def run(self, found: Sequence[tuple[Any, ...]]) -> None:
        """Number rows of the outbox."""
        rows = self._fitting(found)
        if not rows:
            return
        valid: list[Row] = []
        for row in rows:
            problem = self._allowing.check(row)
            if problem:
                self._fail(row, problem)
            else:
                valid.append(row)
        self._load({row.channel for row in valid})
        known = self._keys(valid)
        for row in valid:
            self._enter(row, known)
        self._write([row.id for row in valid])
        if self._together:
            self._add_history(self._writes)
        self._writes.execute(last=self._together)
        if not self._together:
            self._record()

    def _fitting(self, rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        found = [Row(*row) for row in rows]
        size, count = 0, 0
        for row in found[:MOST_ENTRIES]:
            size += len(row.payload)
            if count and size > MOST_TEXT:
                break
            count += 1
        self.done.more = count < len(found)
        return found[:count]

    def _fail(self, row: Row, problem: str) -> None:
        Outbox.objects.using(self._using).filter(pk=row.id).update(failed=True, error=problem)
        self._history.append(recorded(row, self._keeping, error=problem))
        logger.warning("A publication to %s failed: %s", row.channel, problem)

    # ---- numbers ---------------------------------------------------------

    def _load(self, names: Iterable[str]) -> None:
        self._digests = {name: digest(name) for name in names}
        digests = list(self._digests.values())
        rows: Iterable[StreamChannel]
        if len(digests) == 1:
            found = self.known.get(digests[0])
            if found is None:
                found = _CHANNEL.rows(self._using, digests[0])
            rows = [StreamChannel.from_db(self._using, _CHANNEL_FIELDS, row) for row in found]
        else:
            rows = StreamChannel.objects.using(self._using).filter(digest__in=digests)
        self._channels = {row.digest: row for row in rows}

    def _keys(self, rows: Iterable[Row]) -> set[tuple[int, str]]:
        """Return which of the keys of these rows are known, with their channels."""
        keys = {row.key for row in rows if row.key}
        channels = [row.pk for row in self._channels.values()]
        if not keys or not channels:
            return set()
        entries = StreamEntry.objects.using(self._using).filter(
            channel__in=channels, key__in=list(keys)
        )
        return set(entries.values_list("channel_id", "key"))

    def _enter(self, row: Row, known: set[tuple[int, str]]) -> None:
        channel = self._channel(row)
        if row.key and (channel.pk, row.key) in known:
            return  # deleted with the others, but not stored again
        last = self.done.entries[-1].number if self.done.entries else self._head.number
        channel.offset += 1
        channel.published = self._head.now
        entry = Fresh(
            number=last + 1,
            token=heads.new_token(),
            channel=channel,
            epoch=channel.epoch,
            offset=channel.offset,
            payload=row.payload,
            user_name=row.user_name,
            connection_id=row.connection_id,
            key=row.key,
            trace=row.trace,
            created=row.created,
            numbered=self._head.now,
        )
        self.done.entries.append(entry)
        self._history.append(recorded(row, self._keeping, number=entry.number))
        if row.key:
            known.add((channel.pk, row.key))

    def _channel(self, row: Row) -> StreamChannel:
        """Return the row of a channel; a new one, or another policy, begins an epoch."""
        key = self._digests[row.channel]
        channel = self._channels.get(key)
        last = self.done.entries[-1].number if self.done.entries else self._head.number
        if channel is None:
            channel = StreamChannel.objects.using(self._using).create(
                name=row.channel,
                digest=key,
                epoch=secrets.token_hex(8),
                began=last,
                published=self._head.now,
                opened_by=row.opened_by,
            )
            self._channels[key] = channel
        elif channel.opened_by and not self._is_opener(row, channel.opened_by):
            channel.epoch, channel.offset = secrets.token_hex(8), 0
            channel.began, channel.renewed = last, True
        channel.opened_by = row.opened_by  # empty after `heads.end_epochs`
        channel.history_size = row.history_size
        channel.history_duration = row.history_duration
        self._changed[key] = channel
        return channel

    def _is_opener(self, row: Row, opener: str) -> bool:
        """Return whether a row is published under the policy that has opened its channel."""
        if row.opened_by != opener:
            # Rare. It may have been renamed less than a second ago, which caches do not know yet.
            self._latest = self._latest or Allowing(load())
            self._latest.check(row)
        return row.opened_by == opener

    def _write(self, keys: list[int]) -> None:
        entries = self.done.entries
        self._writes.insert(StreamEntry, ENTRY, [entry.values() for entry in entries])
        channels = self._changed.values()
        self._writes.update(StreamChannel, _POSITION, [*map(_position, channels)])
        self._writes.delete(Outbox, keys)
        if entries:
            last = entries[-1]
            heads.advance(self._using, self._writes, last.number, last.token)
            self.done.head = replace(self._head, number=last.number, token=last.token)

    # ---- the audit log ---------------------------------------------------

    def _add_history(self, writes: Writes) -> None:
        writes.insert(Publication, PUBLICATION, [each.values() for each in self._history])

    def _record(self) -> None:
        """Enter the publications in the publish history, without what does not fit."""
        database = router.db_for_write(Publication)
        try:
            with transaction.atomic(using=database):
                writes = Writes(database)
                self._add_history(writes)
                writes.execute()
        except (DatabaseError, ValueError) as error:
            if not is_at_fault(error):
                raise
            write_all(Publication, [Publication(**each.fields) for each in self._history])
