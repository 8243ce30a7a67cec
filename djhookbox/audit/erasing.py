"""Erase a person: remove or replace the name, the addresses and the messages, wherever stored.

A random pseudonym takes the place of the name, so that the entries of one person still belong
together. It cannot be derived from the name. Everything is done in batches, each of which is
complete in itself: after an interruption, the same call continues.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from ..models import ConnectionLog
from .personal import PARTS, Person

#: The pseudonyms; "erased-" is followed by random digits.
PSEUDONYM = re.compile(r"erased-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of erasing.

    Attributes:
        pseudonym: What took the place of the name.
        counts: Changed or deleted rows by part, as in `PARTS`.
        complete: Whether everything was erased.

    """

    pseudonym: str
    counts: dict[str, int]
    complete: bool


def erase(
    name: str,
    *,
    pseudonym: str = "",
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Erased:
    """Erase a person, and return what was changed.

    Args:
        name: The name of the user, who need not have an account any more.
        pseudonym: What replaces the name; by default, a new one.
        seconds: When to stop even if something remains; the next call continues.
        clock: Returns the time.

    """
    end = None if seconds is None else clock() + seconds
    person = Person(name, pseudonym or new_pseudonym())
    counts = dict.fromkeys(PARTS, 0)
    for key, part in PARTS.items():
        for changed in part.erase(person):
            counts[key] += changed
            if end is not None and clock() >= end:
                return Erased(person.pseudonym, counts, complete=False)
    return Erased(person.pseudonym, counts, complete=True)


def count(name: str, *, quick: bool = False, most: int | None = None) -> dict[str, int]:
    """Return how many rows of each part `erase` would change.

    Args:
        name: The name of the user.
        quick: Whether parts are left out that need to read a whole table.
        most: Where to stop counting.

    """
    person = Person(name, new_pseudonym())
    found = {}
    for key, part in PARTS.items():
        if part.quick or not quick:
            rows = part.find(person)
            if isinstance(rows, QuerySet):
                found[key] = (rows if most is None else rows[:most]).count()
            else:
                found[key] = sum(1 for _row in rows)
    return found


def new_pseudonym() -> str:
    """Return a pseudonym that says nothing about anybody."""
    return f"erased-{secrets.token_hex(6)}"


def enter(user_id: object, erased: Erased) -> None:
    """Record in the admin's history that a person was erased, without the name."""
    from django.contrib.admin.models import CHANGE, LogEntry

    changed = ", ".join(f"{key} {number}" for key, number in erased.counts.items() if number)
    done = "Erased a person" if erased.complete else "Erased a person in part"
    LogEntry.objects.create(
        user_id=str(user_id),
        content_type=ContentType.objects.get_for_model(ConnectionLog),
        object_repr=erased.pseudonym,
        action_flag=CHANGE,
        change_message=f"{done}: {changed or 'nothing'}.",
    )
