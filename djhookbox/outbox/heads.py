"""The head of all streams: the last number, its token, the incarnation, and the lock."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connections, router, transaction
from django.db.models import Exists, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from .models import TOKEN_LENGTH, Outbox, StreamChannel, StreamEntry, StreamHead
from .statements import Lock, Read, Select, Update
from .writing import Writes

#: Seconds to wait for the lock.
LOCK_SECONDS = 1
#: Incarnations to remember, so that each node starts over once and not the whole site.
_MOST_FORMER = 50


@dataclass(frozen=True, slots=True)
class Head:
    """The head as it was read.

    Attributes:
        now: The database's clock.
        began: The last number before this incarnation.
        first_token: The token that belongs to that number now.
        pending: Whether rows wait to be numbered.

    """

    number: int
    token: str
    incarnation: str
    former: str
    now: datetime.datetime
    began: int
    first_token: str
    pending: bool = False


def database() -> str:
    """Return the alias of the database that publications are written to by default."""
    return router.db_for_write(Outbox)


def new_token() -> str:
    """Return a token or an incarnation that was never used before."""
    return secrets.token_hex(TOKEN_LENGTH // 2)


def look(using: str) -> Head:
    """Return the head without locking it; one query, unless its row is missing."""
    found = _LOOK.rows(using)
    if not found:
        with locked(using):
            pass  # which has created it
        found = _LOOK.rows(using)
    number, token, incarnation, former, now, began, first_token, pending = found[0]
    return Head(number, token, incarnation, former, now, began, first_token, bool(pending))


def head_row(using: str) -> QuerySet[StreamHead]:
    """Return the row of the head, as a query."""
    return StreamHead.objects.using(using).filter(pk=StreamHead.KEY)


_POSITION = ("number", "token", "incarnation", "former")


def looked_at(using: str) -> tuple[Any, ...]:
    """Return what `look` reads: the attributes of `Head` in order."""
    pending = Exists(Outbox.objects.using(using).waiting())
    return (*_POSITION, Now(), "began", "first_token", pending)


_LOOK = Select(lambda using: head_row(using).values_list(*looked_at(using)))
_LOCK = Lock(head_row, (*_POSITION, "locked", "began", "first_token"), locked=Now())
_ADVANCE = Update(head_row, number=1, token="")


def advance(using: str, writes: Writes, number: int, token: str) -> None:
    """Save the last number and its token with other writes, under the lock."""
    sql, _params = _ADVANCE.compiled(using)
    writes.add(sql, (number, token, StreamHead.KEY))


@contextmanager
def locked(using: str) -> Iterator[Head]:
    """Hold the lock in a separate transaction, and yield the head.

    The lock is the first statement, and it writes; everything is read after it, in statements of
    their own. Otherwise two holders could number the same rows.

    Raises:
        DatabaseError: The lock could not be acquired within `LOCK_SECONDS`.

    """
    with locked_with(using) as (head, _):
        yield head


@contextmanager
def locked_with(
    using: str, *reads: Read, seconds: float = LOCK_SECONDS
) -> Iterator[tuple[Head, list[list[tuple[Any, ...]]]]]:
    """Hold the lock as `locked` does, and yield what was read after it was taken, too.

    Args:
        using: The alias of the database.
        reads: What to read.
        seconds: Maximum time to wait for the lock; at least a second on MySQL and MariaDB.

    Raises:
        DatabaseError: The lock could not be acquired in time.

    """
    with short_transaction(using, _LOCK, *reads, seconds=seconds) as (found, results):
        if not found:
            _create(using)
            found, results = _LOCK.take(using, *reads)
        yield Head(*found[0]), results


def _create(using: str) -> None:
    """Create the head, which was never there or has been deleted: its number is not known."""
    incarnation, token = new_token(), new_token()
    try:
        with transaction.atomic(using=using):
            StreamHead.objects.using(using).create(
                pk=StreamHead.KEY,
                token=token,
                first_token=token,
                incarnation=incarnation,
                locked=Now(),
            )
    except IntegrityError:  # another process has created it at the same time
        StreamHead.objects.using(using).filter(pk=StreamHead.KEY).update(locked=Now())
        return
    last = _last_number(using)
    StreamHead.objects.using(using).filter(pk=StreamHead.KEY).update(number=last, began=last)
    _restart_channels(using, incarnation, last)


def _last_number(using: str) -> int:
    found = StreamEntry.objects.using(using).order_by("-number").values_list("number", flat=True)
    return found.first() or 0


def renew(using: str, *, unknown: str = "") -> Head:
    """Start a new incarnation: all epochs change, and clients receive a gap.

    Args:
        using: The alias of the database.
        unknown: The incarnation that a node has, if that is the reason.

    """
    with locked(using) as head:
        if unknown and unknown in head.former.split():
            return head  # another call was first
        former = [*head.former.split(), head.incarnation, *([unknown] if unknown else [])]
        former = list(dict.fromkeys(former))[-_MOST_FORMER:]
        incarnation, token = new_token(), new_token()
        StreamHead.objects.using(using).filter(pk=StreamHead.KEY).update(
            incarnation=incarnation,
            former=" ".join(former),
            token=token,
            began=head.number,
            first_token=token,
        )
        _restart_channels(using, incarnation, head.number)
        return Head(*_LOCK.take(using)[0][0])


def end_epochs(using: str, opened_by: str) -> None:
    """End the epochs of the channels that a policy made durable.

    Args:
        using: The alias of the database.
        opened_by: The policy, as decisions name it.

    """
    last = StreamHead.objects.using(using).filter(pk=StreamHead.KEY).values("number")[:1]
    StreamChannel.objects.using(using).filter(opened_by=opened_by).update(
        epoch=new_token(), offset=0, began=Coalesce(Subquery(last), 0), renewed=True, opened_by=""
    )


def rename_opener(using: str, before: str, after: str) -> None:
    """Keep the epochs of the channels that a policy made durable whose name has changed.

    Args:
        using: The alias of the database.
        before: The policy, as decisions named it.
        after: What they call it from now on.

    """
    StreamChannel.objects.using(using).filter(opened_by=before).update(opened_by=after)


def _restart_channels(using: str, epoch: str, number: int) -> None:
    StreamChannel.objects.using(using).update(epoch=epoch, offset=0, began=number, renewed=True)


# ---- what databases need for it ------------------------------------------------------------------


@contextmanager
def short_transaction(
    using: str, lock: Lock, *reads: Read, seconds: float = LOCK_SECONDS
) -> Iterator[tuple[list[tuple[Any, ...]], list[list[tuple[Any, ...]]]]]:
    """Open a separate transaction that takes a lock with its first statement.

    Each of its statements sees what was committed before it, and none waits for longer than the
    given time for a lock. Yields what `Lock.take` returns.
    """
    connection = connections[using]
    nested = connection.in_atomic_block  # in a test, which has read already
    first = ""
    if connection.vendor == "postgresql" and not nested:
        first = (
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "
            f"SET LOCAL lock_timeout = '{round(1000 * seconds)}ms'"
        )
    with ExitStack() as stack:
        if not nested:
            stack.enter_context(_short_waits(using, seconds))
        stack.enter_context(transaction.atomic(using=using, durable=True))
        # MySQL: see `_short_waits`. SQLite: the update takes the only write lock.
        yield lock.take(using, *reads, first=first)


@contextmanager
def _short_waits(using: str, seconds: float) -> Iterator[None]:
    """Limit how long a lock is waited for where that is a property of the connection."""
    connection = connections[using]
    if connection.vendor == "sqlite":
        ask, limit = "PRAGMA busy_timeout", f"PRAGMA busy_timeout = {round(1000 * seconds)}"
        back = "PRAGMA busy_timeout = {}"
    elif connection.vendor == "mysql":
        ask = "SELECT @@SESSION.innodb_lock_wait_timeout"
        limit = f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds))}"
        back = "SET SESSION innodb_lock_wait_timeout = {}"
    else:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(ask)
        usual = int(cursor.fetchone()[0])
        cursor.execute(limit)
        if connection.vendor == "mysql":
            # Applies to the next transaction only; not allowed once that has begun.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    try:
        yield
    finally:
        if connection.connection is not None and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute(back.format(usual))
