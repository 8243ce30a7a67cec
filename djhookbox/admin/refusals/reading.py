"""Read the refusals of three logs as one list, never more rows than a page needs.

The newest refusals of each kind are found through an index that begins with the event, those of a
user and those for a reason through partial indexes. Where the database has none, and for other
pairs of filters, a limited number of entries is looked through, and the page says where it has
stopped. Nothing is counted beyond such a limit.
"""

from __future__ import annotations

import datetime
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ...models import ConnectionLog, Log, Publication, SubscriptionLog
from ...querysets import has_text
from ..logs.exports import CHUNK, FIRST, Batch, fetched
from ..logs.leading import Counts, lead, search_end, within

#: Deciders whose refusals for a reason are looked for one by one.
DECIDERS = 8

#: Refusals of each kind whose reasons are counted.
COUNTED = 3_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What was refused.

    Attributes:
        name: Its name in URLs and exports.
        label: What was refused, in words.
        model: The log that it is recorded in.
        column: The column that tells of refusals.
        value: The value of this column.
        rank: The order of rows of the same time.

    """

    name: str
    label: str | Promise
    model: type[Log]
    column: str
    value: str
    rank: int


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("connect", gettext_lazy("Connection"), ConnectionLog, "event", "refused", 4),
        Kind("create", gettext_lazy("Channel creation"), SubscriptionLog, "event",
             "create_refused", 3),
        Kind("subscribe", gettext_lazy("Subscription"), SubscriptionLog, "event", "refused", 2),
        Kind("publish", gettext_lazy("Publication"), Publication, "status", "refused", 1),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The place of a refusal in the list."""

    created: datetime.datetime
    rank: int
    key: int

    @classmethod
    def of(cls, kind: Kind, row: Any) -> Place:
        """Return the place of a row."""
        return cls(row.created, kind.rank, row.pk)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that a link contains.

        Raises:
            IncorrectLookupParameters: It contains none.

        """
        when, _first, rest = text.partition("_")
        rank, _second, key = rest.partition("_")
        try:
            created = parse_datetime(when)
            if created is None:
                raise ValueError(f"“{text}” is not the position of an entry.")
            return cls(created, int(rank), int(key))
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters(ValidationError(str(error))) from error

    def __str__(self) -> str:
        return f"{self.created.isoformat()}_{self.rank}_{self.key}"

    def older(self, kind: Kind) -> Q:
        """Return the condition of the rows that follow in the list."""
        first = Q(created__lt=self.created)
        if kind.rank < self.rank:
            first = Q(created__lte=self.created)
        elif kind.rank == self.rank:
            first |= Q(created=self.created, pk__lt=self.key)
        # The first condition is a range of the index, which the second alone would not be.
        return Q(created__lte=self.created) & first

    def newer(self, kind: Kind) -> Q:
        """Return the condition of the rows that precede in the list."""
        first = Q(created__gt=self.created)
        if kind.rank > self.rank:
            first = Q(created__gte=self.created)
        elif kind.rank == self.rank:
            first |= Q(created=self.created, pk__gt=self.key)
        return Q(created__gte=self.created) & first


@dataclass(frozen=True, slots=True)
class Source:
    """The refusals of one kind that the filters allow; `rows` are not filtered by reason."""

    kind: Kind
    rows: QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Refusals of one kind, by one decider, for one reason.

    Attributes:
        kind: What was refused.
        decided_by: Who refused.
        reason: Why.
        count: How many there are among the newest.
        newest: The newest of them, of which only a few columns are known.

    """

    kind: Kind
    decided_by: str
    reason: str
    count: int
    newest: Any


@dataclass(frozen=True, slots=True)
class Page:
    """Some refusals.

    Attributes:
        rows: Refusals with their kinds, newest first.
        older: Where the next page begins, if there is one.
        newer: Where the page before this one ends, if there is one.
        stopped: Whether older refusals have not been looked through.

    """

    rows: Sequence[tuple[Kind, Any]]
    older: Place | None = None
    newer: Place | None = None
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Why:
    """The reason by which refusals are filtered; None stands for any."""

    decided_by: str | None = None
    reason: str | None = None
    conditions: Sequence[Q] = field(init=False)

    def __post_init__(self) -> None:
        given = {"decided_by": self.decided_by, "reason": self.reason}
        found = tuple(has_text(name, text) for name, text in given.items() if text is not None)
        object.__setattr__(self, "conditions", found)


def groups(sources: Sequence[Source], counts: Counts) -> tuple[list[Group], bool]:
    """Return the reasons, most frequent first, and whether their numbers are only of the newest.

    Args:
        sources: The refusals of each kind.
        counts: What has been counted for the page.

    """
    found: list[Group] = []
    cut = False
    for source in sources:
        names = ["decided_by", "reason", "user_name"]
        names += ["channel"] if source.kind.model is not ConnectionLog else []
        names += ["source"] if source.kind.model is Publication else []
        place = search_end(source.rows, counts)
        near = lead(within(source.rows, place), counts)
        rows = list(near.values_list(*names)[: COUNTED + 1])
        cut |= len(rows) > COUNTED or place is not None
        rows = rows[:COUNTED]
        whys = [*map(itemgetter(0, 1), rows)]
        newest = dict(zip(reversed(whys), reversed(rows), strict=True))  # the last one of each
        for (decided_by, reason), count in Counter(whys).items():
            values = dict(zip(names, newest[decided_by, reason], strict=True))
            values[source.kind.column] = source.kind.value
            entry = source.kind.model(**values)
            found.append(Group(source.kind, decided_by, reason, count, entry))
    return sorted(found, key=lambda group: -group.count), cut


def page(
    sources: Sequence[Source],
    why: Why,
    size: int,
    counts: Counts,
    *,
    older: str = "",
    newer: str = "",
) -> Page:
    """Return a page of refusals.

    Args:
        sources: The refusals of each kind.
        why: The reason, if only those with one are wanted.
        size: How many are wanted.
        counts: What has been counted for the page, to which more is added.
        older: The place that the page begins after.
        newer: The place that it ends before.

    Raises:
        IncorrectLookupParameters: A place is invalid.

    """
    if newer:
        return _newer(sources, why, size, counts, Place.parse(newer))
    place = Place.parse(older) if older else None
    parts = []
    floor: Place | None = None
    for source in sources:
        for rows in _given(source, why):
            rest = rows.filter(place.older(source.kind)) if place else rows
            reached = search_end(rest, counts)
            if reached is not None:
                bound = Place(reached[0], source.kind.rank, reached[1])
                floor = max(filter(None, (floor, bound)), default=None)
            found = lead(within(rest, reached), counts)[: size + 1]
            parts.append(_placed(source.kind, found))
    merged = list(islice(heapq.merge(*parts, key=_first, reverse=True), size + 1))
    if floor is not None:
        merged = [one for one in merged if one[0] > floor]
    end = merged[size - 1][0] if len(merged) > size else None
    stopped = end is None and floor is not None
    if floor is not None and stopped:
        end = Place(floor.created, floor.rank, floor.key + 1)  # it is the first of the next
    begin = merged[0][0] if merged and place else place
    return Page([one[1:] for one in merged[:size]], end, begin, stopped)


def _newer(sources: Sequence[Source], why: Why, size: int, counts: Counts, place: Place) -> Page:
    parts = []
    for source in sources:
        for rows in _given(source, why):
            rest = rows.filter(place.newer(source.kind)).reverse()
            parts.append(_placed(source.kind, lead(rest, counts)[: size + 1]))
    found = list(islice(heapq.merge(*parts, key=_first), size + 1))
    shown = found[:size][::-1]
    return Page(
        [one[1:] for one in shown],
        shown[-1][0] if shown else None,
        shown[0][0] if len(found) > size else None,
    )


def export(
    sources: Sequence[Source], why: Why, columns: Mapping[type[Log], Sequence[str]], limit: int
) -> Iterator[Batch]:
    """Yield some refusals at a time, newest first: name of the kind, time, key, named columns."""

    def of(
        kind: Kind, rows: QuerySet[Any]
    ) -> Iterator[tuple[datetime.datetime, int, int, Sequence[object]]]:
        # In the order of `Place`, but as tuples, which are compared much faster.
        rank = kind.rank
        for batch in fetched(rows, columns[kind.model], limit):
            for row in batch:
                yield row[0], rank, row[1], (kind, *row)

    parts = [of(source.kind, rows) for source in sources for rows in _given(source, why)]
    rows = islice(map(itemgetter(3), heapq.merge(*parts, reverse=True)), limit)
    size = FIRST
    while batch := list(islice(rows, size)):
        yield batch
        size = CHUNK


def _given(source: Source, why: Why) -> list[QuerySet[Any]]:
    """Return the refusals for a reason, in parts each of which an index finds, if there are few."""
    rows = source.rows.filter(*why.conditions)
    if why.reason is None or why.decided_by is not None:
        return [rows]
    names = _deciders(source)
    return [rows] if names is None else [rows.filter(decided_by=name) for name in names]


def _deciders(source: Source) -> list[str] | None:
    """Return who has refused, or None if that is many or not found by one step in an index each.

    SQLite would follow the index of the event instead, and sort.
    """
    kind, alias = source.kind, source.rows.db
    if connections[alias].vendor != "postgresql":
        return None
    everything = kind.model._default_manager.using(alias).filter(**{kind.column: kind.value})
    names = everything.order_by("decided_by").values_list("decided_by", flat=True)
    found: list[str] = []
    following = names.first()
    while following is not None and len(found) < DECIDERS:
        found.append(following)
        following = names.filter(decided_by__gt=following).first()
    return found if following is None else None


def _placed(kind: Kind, rows: QuerySet[Model]) -> list[tuple[Place, Kind, Any]]:
    return [(Place.of(kind, row), kind, row) for row in rows]


def _first(one: Any) -> Any:
    return one[0]
