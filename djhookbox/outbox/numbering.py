"""Number what was committed: move rows from the outbox to the streams, under the lock."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from django.db import DatabaseError, router, transaction
from django.utils.translation import gettext as _

from ..audit import payloads
from ..audit.fitting import is_at_fault
from ..audit.writing import fit, write_all
from ..decisions.store import cache
from ..models import Publication
from ..policy import reserved
from ..policy.rules import Audience, Rule
from ..wire import values
from ..wire.streams import MOST_ENTRIES, MOST_TEXT
from . import heads
from .heads import Head
from .models import Outbox, StreamChannel, StreamEntry
from .statements import Select, Writes

logger = logging.getLogger("djhookbox")

#: Channels up to this number are updated one by one.
_FEW = 4
#: The fields of a channel that a publication changes.
_POSITION = (
    "epoch", "offset", "began", "renewed", "history_size", "history_duration", "opened_by",
    "published",
)  # fmt: skip

_WAITING = tuple(field.attname for field in Outbox._meta.concrete_fields)
_CHANNEL_FIELDS = tuple(field.attname for field in StreamChannel._meta.concrete_fields)
_ROWS = Select(
    lambda using: (
        Outbox.objects.using(using)
        .waiting()
        .order_by("pk")
        .values_list(*_WAITING)[: MOST_ENTRIES + 1]
    )
)
_CHANNEL = Select(
    lambda using: StreamChannel.objects.using(using).filter(digest="").values_list(*_CHANNEL_FIELDS)
)


@dataclass(slots=True)
class Numbered:
    """What a call has numbered.

    Attributes:
        head: The head afterwards.
        entries: The new entries in order, with their channels loaded.
        more: Whether rows may be left.
        repeated: Rows that were not stored again, each with the entry that has its key.

    """

    head: Head
    entries: list[StreamEntry] = field(default_factory=list)
    more: bool = False
    failed: list[Outbox] = field(default_factory=list)


def digest(name: str) -> str:
    """Return what a channel's row is found by: databases may compare names without case."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def number(using: str) -> Numbered:
    """Number the rows that were committed, at most `MOST_ENTRIES` of them.

    Raises:
        DatabaseError: The lock could not be had in time, or the database failed.

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
    with heads.locked(using) as head:
        work = _Work(using, head, rules, together=together)
        work.run()
        return work.done


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
        self._rules = rules
        self._together = together
        self._writes = Writes(using)
        self._channels: dict[str, StreamChannel] = {}
        self._changed: dict[str, StreamChannel] = {}
        self._sources: dict[int, Outbox] = {}
        self.done = Numbered(head)

    def run(self) -> None:
        rows = self._rows()
        if not rows:
            return
        valid: list[Outbox] = []
        for row in rows:
            problem = self._check(row)
            if problem:
                self._fail(row, problem)
            else:
                valid.append(row)
        self._load({row.channel for row in valid})
        known = self._keys(valid)
        for row in valid:
            self._enter(row, known)
        self._write([row.pk for row in valid])
        history = [
            _publication(self._sources[entry.number], entry.number) for entry in self.done.entries
        ]
        history += [_publication(row, None) for row in self.done.failed]
        if self._together:
            self._writes.insert(history)
        self._writes.execute()
        if not self._together:
            self._record(history)

    def _rows(self) -> list[Outbox]:
        found = [Outbox.from_db(self._using, _WAITING, row) for row in _ROWS.rows(self._using)]
        size, count = 0, 0
        for row in found[:MOST_ENTRIES]:
            size += len(row.payload)
            if count and size > MOST_TEXT:
                break
            count += 1
        self.done.more = count < len(found)
        return found[:count]

    # ---- policies --------------------------------------------------------

    def _check(self, row: Outbox) -> str:
        """Return why a row can no longer be published, or ""; note under which policy it is."""
        by_handler = row.opened_by.startswith("handler:")
        for rule in chain(reserved.RULES, self._rules):
            if not rule.covers(row.channel):
                continue
            if rule.pattern is None:
                return _("The policy “%(name)s” is malformed.") % {"name": rule.name}
            if rule.create == Audience.HANDLERS and by_handler:
                return ""
            if not rule.options.get("durable"):
                return _("The policy “%(name)s” is not durable (any more).") % {"name": rule.name}
            row.opened_by = rule.decider[:255]
            row.history_size = _count(rule.options, "history_size")
            row.history_duration = _count(rule.options, "history_duration")
            return ""
        return "" if by_handler else _("No policy opens this channel any more.")

    def _fail(self, row: Outbox, problem: str) -> None:
        Outbox.objects.using(self._using).filter(pk=row.pk).update(failed=True, error=problem)
        row.failed, row.error = True, problem
        self.done.failed.append(row)
        logger.warning("A publication to %s failed: %s", row.channel, problem)

    # ---- numbers ---------------------------------------------------------

    def _load(self, names: Iterable[str]) -> None:
        digests = [digest(name) for name in names]
        rows: Iterable[StreamChannel]
        if len(digests) == 1:
            found = _CHANNEL.rows(self._using, digests[0])
            rows = [StreamChannel.from_db(self._using, _CHANNEL_FIELDS, row) for row in found]
        else:
            rows = StreamChannel.objects.using(self._using).filter(digest__in=digests)
        self._channels = {row.digest: row for row in rows}

    def _keys(self, rows: Iterable[Outbox]) -> dict[tuple[int, str], StreamEntry]:
        """Return the entries that have the keys of these rows, by channel and key."""
        keys = {row.key for row in rows if row.key}
        channels = [row.pk for row in self._channels.values()]
        if not keys or not channels:
            return {}
        entries = StreamEntry.objects.using(self._using).filter(
            channel__in=channels, key__in=list(keys)
        )
        return {(entry.channel_id, entry.key): entry for entry in entries}

    def _enter(self, row: Outbox, known: dict[tuple[int, str], StreamEntry]) -> None:
        channel = self._channel(row)
        if row.key and (channel.pk, row.key) in known:
            return  # deleted with the others, but not stored again
        last = self.done.entries[-1].number if self.done.entries else self._head.number
        channel.offset += 1
        channel.published = self._head.now
        entry = StreamEntry(
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
        self._sources[entry.number] = row
        if row.key:
            known[channel.pk, row.key] = entry

    def _channel(self, row: Outbox) -> StreamChannel:
        """Return the row of a channel; a new one, or another policy, begins an epoch."""
        key = digest(row.channel)
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
        elif channel.opened_by and channel.opened_by != row.opened_by:
            channel.epoch, channel.offset = secrets.token_hex(8), 0
            channel.began, channel.renewed = last, True
        channel.opened_by = row.opened_by  # empty after `heads.end_epochs`
        channel.history_size = row.history_size
        channel.history_duration = row.history_duration
        self._changed[key] = channel
        return channel

    def _write(self, pks: list[int]) -> None:
        entries = self.done.entries
        self._writes.insert(entries)
        self._update_channels()
        self._writes.delete(Outbox, pks)
        if entries:
            last = entries[-1]
            heads.advance(self._using, self._writes, last.number, last.token)
            self.done.head = replace(self._head, number=last.number, token=last.token)

    def _update_channels(self) -> None:
        channels = list(self._changed.values())
        if len(channels) > _FEW:
            rows = StreamChannel.objects.using(self._using)
            rows.bulk_update(channels, _POSITION, batch_size=50)
            return
        for channel in channels:  # a quarter of the time that `bulk_update` takes for one
            self._writes.save(channel, _POSITION)

    # ---- the audit log ---------------------------------------------------

    def _record(self, rows: list[Publication]) -> None:
        """Enter the publications in the publish history, without what does not fit."""
        database = router.db_for_write(Publication)
        try:
            with transaction.atomic(using=database):
                writes = Writes(database)
                writes.insert(rows)
                writes.execute()
        except (DatabaseError, ValueError) as error:
            if not is_at_fault(error):
                raise
            write_all(Publication, rows)


def _publication(row: Outbox, entry: int | None) -> Publication:
    status = Publication.Status.FAILED if row.failed else Publication.Status.SENT
    return Publication(
        created=row.created,
        channel=row.channel,
        user_name=fit(row.sender),
        connection_id=row.connection_id,
        source=row.source,
        status=status,
        error=row.error,
        decided_by=row.decided_by,
        reason=row.reason,
        number=entry,
        delivered=None if entry is None else 0,
        **payloads.kept(values.loads(row.payload), is_copy=True),
    )


def _count(options: Mapping[str, object], name: str) -> int:
    value = options.get(name)
    return value if isinstance(value, int) else 0
