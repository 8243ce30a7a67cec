"""The places where the database names people, and how a person is erased from each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, router, transaction
from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ..bans.rules import Kind
from ..exceptions import PatternError
from ..models import (
    Ban,
    ChannelPolicy,
    ConnectionLog,
    Log,
    Outbox,
    Publication,
    StreamChannel,
    StreamEntry,
    SubscriptionLog,
)
from ..outbox import heads
from ..policy.patterns import Pattern, compile_pattern
from ..querysets import has_text

#: Rows changed per statement.
BATCH = 2_000

#: The payload of a durable publication that was erased, as JSON: its number must remain.
NOTHING = "null"


class Person:
    """A person to erase.

    Args:
        name: The name that the site gave to the user's connections; the account need not exist.
        pseudonym: What replaces it.

    """

    def __init__(self, name: str, pseudonym: str) -> None:
        self.name = name
        self.pseudonym = pseudonym
        spellings = sorted({name, quote(name), quote(name, safe=""), quote_plus(name)}, key=len)
        words = "|".join(re.escape(one) for one in reversed(spellings))
        self._word = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
        self.patterns = list(_naming_users())

    def replaced(self, text: str) -> str:
        """Return a text with the pseudonym in place of the name, where this is a word."""
        return self._word.sub(lambda found: self.pseudonym, text)

    def is_named_by(self, channel: str) -> bool:
        """Return whether a channel is that of this person, according to the policies."""
        return any(pattern.user_name(channel) == self.name for pattern in self.patterns)


def _naming_users() -> Iterator[Pattern]:
    for text in ChannelPolicy.objects.values_list("pattern", flat=True):
        try:
            pattern = compile_pattern(text)
        except PatternError:
            continue
        if "username" in pattern.parameters:
            yield pattern


@dataclass(frozen=True, slots=True)
class Part:
    """One place where people are named.

    Attributes:
        label: What is changed.
        find: Returns the rows concerned, for counting.
        erase: Changes or deletes some rows at a time, and yields how many.
        quick: Whether the rows are found without reading a whole table.

    """

    label: str | Promise
    find: Callable[[Person], Iterable[Any]]
    erase: Callable[[Person], Iterator[int]]
    quick: bool = True


# ---- entries of the person -----------------------------------------------------------------------


def _own(model: type[Log], **cleared: object) -> Part:
    def find(person: Person) -> QuerySet[Any]:
        rows = model.objects.using(router.db_for_write(model)).order_by()
        return rows.filter(has_text("user_name", person.name))

    def erase_rows(person: Person) -> Iterator[int]:
        rows = find(person)
        texts = [name for name in ("reason", "error") if _has(model, name)]
        while keys := list(rows.values_list("pk", flat=True)[: _size(rows)]):
            with transaction.atomic(using=rows.db):
                found = model._default_manager.using(rows.db).filter(pk__in=keys)
                for name in texts:
                    found.filter(**{f"{name}__contains": person.name}).update(**{name: ""})
                yield found.update(user_name=person.pseudonym, note="", **cleared)

    return Part(model._meta.verbose_name_plural or "", find, erase_rows)


def _has(model: type[models.Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.concrete_fields)


def _size(rows: QuerySet[Any]) -> int:
    # Old versions of SQLite accept few parameters.
    return min(BATCH, connections[rows.db].features.max_query_params or BATCH)


# ---- channels of the person ----------------------------------------------------------------------

_NO_PAYLOAD: Mapping[str, object] = {
    "payload": None,
    "preview": "",
    "kept": Publication.Kept.NOTHING,
}


def _channels(model: type[Log], label: str | Promise, **cleared: object) -> Part:
    """Return the part of the channels that name the person, such as `/users/alice/`."""

    def batches(person: Person) -> Iterator[tuple[str, list[tuple[int, str]]]]:
        using = router.db_for_write(model)
        for beginning in dict.fromkeys(pattern.beginning for pattern in person.patterns):
            rows = model.objects.using(using).channel_begins(beginning).order_by("pk")
            rows = rows.filter(channel__contains=person.name)
            last = 0
            while found := list(
                rows.filter(pk__gt=last).values_list("pk", "channel")[: _size(rows)]
            ):
                last = found[-1][0]
                yield using, [one for one in found if person.is_named_by(one[1])]

    def find(person: Person) -> Iterator[int]:
        return iter({pk for _using, found in batches(person) for pk, _channel in found})

    def erase_rows(person: Person) -> Iterator[int]:
        for using, found in batches(person):
            by_channel: dict[str, list[int]] = {}
            for pk, channel in found:
                by_channel.setdefault(channel, []).append(pk)
            for channel, keys in by_channel.items():
                name = channel.replace(person.name, person.pseudonym)[:255]
                rows = model._default_manager.using(using).filter(pk__in=keys)
                yield rows.update(channel=name, note="", **cleared)

    return Part(label, find, erase_rows, quick=False)


# ---- texts ---------------------------------------------------------------------------------------


def _texts(
    model: type[models.Model], label: str | Promise, *names: str, of: Callable[[], Q] = Q
) -> Part:
    """Return the part of free texts that mention the person."""

    def mentioning(person: Person) -> Iterator[Any]:
        using = router.db_for_write(model)
        mentioned = Q()
        for spelling in {person.name, quote_plus(person.name)}:
            for name in names:
                mentioned |= Q(**{f"{name}__contains": spelling})
        rows = model._default_manager.using(using).filter(of()).filter(mentioned).order_by("pk")
        last = 0
        while found := list(rows.filter(pk__gt=last).only("pk", *names)[: _size(rows)]):
            last = found[-1].pk
            yield [
                row
                for row in found
                if any(getattr(row, name) != person.replaced(getattr(row, name)) for name in names)
            ]

    def find(person: Person) -> Iterator[Any]:
        return (row for found in mentioning(person) for row in found)

    def erase_rows(person: Person) -> Iterator[int]:
        for found in mentioning(person):
            for row in found:
                for name in names:
                    room = model._meta.get_field(name).max_length  # type: ignore[union-attr]
                    setattr(row, name, person.replaced(getattr(row, name))[:room])
                row.save(update_fields=names)
            yield len(found)

    return Part(label, find, erase_rows, quick=False)


def _of_our_pages() -> Q:
    found = ContentType.objects.filter(app_label=ChannelPolicy._meta.app_label)
    return Q(content_type__in=list(found.values_list("pk", flat=True)))


def _admin_history() -> dict[str, Part]:
    """Return the part for the admin's history, which a site without the admin does not have."""
    if not apps.is_installed("django.contrib.admin"):
        return {}
    from django.contrib.admin.models import LogEntry

    label = gettext_lazy("entries of the admin's history")
    return {"history": _texts(LogEntry, label, "change_message", "object_repr", of=_of_our_pages)}


# ---- bans ----------------------------------------------------------------------------------------


def _find_bans(person: Person) -> QuerySet[Any]:
    rows = Ban.objects.using(router.db_for_write(Ban)).order_by("pk")
    named = has_text("value", person.name) & Q(kind=Kind.USER)
    made = has_text("created_by", person.name)
    return rows.filter(named | has_text("about", person.name) | made)


def _erase_bans(person: Person) -> Iterator[int]:
    """Erase the person from bans, and delete those that have ended.

    A ban of a session or an address that is still active remains, without saying about whom it is.
    """
    for ban in _find_bans(person):
        is_named = ban.kind == Kind.USER and ban.value == person.name
        concerns = is_named or ban.about == person.name
        if concerns and (is_named or ban.status != Ban.Status.ACTIVE):
            ban.delete()
        else:
            ban.about = "" if concerns else ban.about
            ban.reason, ban.note = person.replaced(ban.reason), person.replaced(ban.note)
            if ban.created_by == person.name:
                ban.created_by = person.pseudonym
            ban.save()
        yield 1


# ---- durable channels ----------------------------------------------------------------------------


def _find_waiting(person: Person) -> Iterator[int]:
    rows = Outbox.objects.using(heads.database()).order_by("pk")
    for pk, channel, *names in rows.values_list("pk", "channel", "user_name", "sender").iterator():
        if person.name in names or person.is_named_by(channel):
            yield pk


def _erase_waiting(person: Person) -> Iterator[int]:
    keys = list(_find_waiting(person))
    for begin in range(0, len(keys), BATCH):
        rows = Outbox.objects.using(heads.database()).filter(pk__in=keys[begin : begin + BATCH])
        yield rows.delete()[0]


def _find_entries(person: Person) -> QuerySet[models.Model]:
    rows = StreamEntry.objects.using(heads.database()).order_by("pk")
    return rows.filter(has_text("user_name", person.name))


def _erase_entries(person: Person) -> Iterator[int]:
    rows = _find_entries(person)
    while keys := list(rows.values_list("pk", flat=True)[: _size(rows)]):
        found = StreamEntry.objects.using(rows.db).filter(pk__in=keys)
        yield found.update(user_name=person.pseudonym, payload=NOTHING)


def _find_streams(person: Person) -> Iterator[int]:
    rows = StreamChannel.objects.using(heads.database()).filter(name__contains=person.name)
    for pk, name in rows.values_list("pk", "name").iterator():
        if person.is_named_by(name):
            yield pk


def _erase_streams(person: Person) -> Iterator[int]:
    keys = list(_find_streams(person))
    if not keys:
        return
    using = heads.database()
    with heads.locked(using):  # numbering must not use a channel that is deleted
        StreamEntry.objects.using(using).filter(channel__in=keys).delete()
        StreamChannel.objects.using(using).filter(pk__in=keys).delete()
    yield len(keys)


# ---- policies ------------------------------------------------------------------------------------


def _find_policies(person: Person) -> Iterator[Any]:
    for policy in ChannelPolicy.objects.using(router.db_for_write(ChannelPolicy)):
        listed = policy.server_user_presence
        is_listed = isinstance(listed, list) and person.name in listed
        if is_listed or policy.note != person.replaced(policy.note):
            yield policy


def _erase_policies(person: Person) -> Iterator[int]:
    for policy in _find_policies(person):
        listed = policy.server_user_presence
        if isinstance(listed, list):
            policy.server_user_presence = [name for name in listed if name != person.name]
        policy.note = person.replaced(policy.note)
        policy.save()
        yield 1


#: What is erased, by the name of its count. What is found by an index comes first.
PARTS: Mapping[str, Part] = {
    "connections": _own(ConnectionLog, ip=None, user_agent=""),
    "subscriptions": _own(SubscriptionLog),
    "publications": _own(Publication, **_NO_PAYLOAD),
    "bans": Part(gettext_lazy("bans"), _find_bans, _erase_bans),
    "waiting": Part(gettext_lazy("waiting publications"), _find_waiting, _erase_waiting),
    "policies": Part(gettext_lazy("channel policies"), _find_policies, _erase_policies),
    "entries": Part(
        gettext_lazy("durable publications"), _find_entries, _erase_entries, quick=False
    ),
    "streams": Part(
        gettext_lazy("durable channels of the user"), _find_streams, _erase_streams, quick=False
    ),
    "channels": _channels(
        SubscriptionLog, gettext_lazy("entries about subscriptions to channels of the user")
    ),
    "messages": _channels(
        Publication, gettext_lazy("publications to channels of the user"), **_NO_PAYLOAD
    ),
    "connection_notes": _texts(ConnectionLog, gettext_lazy("notes on connections"), "note"),
    "subscription_notes": _texts(SubscriptionLog, gettext_lazy("notes on subscriptions"), "note"),
    "publication_notes": _texts(Publication, gettext_lazy("notes on publications"), "note"),
    **_admin_history(),
}
