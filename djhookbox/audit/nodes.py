"""Runs of Hookbox processes: which events are new, and what a dead process has left open.

A process that is killed cannot report anything more. When the next process reports, usually its
successor at the same address, the site records the missing ends. The rows are marked as assumed,
and the signals are sent for users who have not come back.

A process that is stopped reports all ends itself, but sends no webhooks for them, because nearly
everybody comes back. Here too, users who are not back after a while are considered gone.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import Case, Exists, F, Max, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from ..conf import settings
from ..decisions.decide import decide
from ..models import ConnectionLog, Node, SubscriptionLog
from ..policy.rules import Operation
from ..querysets import Exactly
from ..users.identity import by_name
from ..wire.closing import RESTART
from .writing import write_all

logger = logging.getLogger("djhookbox.webhook")

#: A process reports at least once a minute. After a longer gap it must report for as long as
#: others must be silent to be considered dead: if the site was down, all of them were silent.
BREAK = datetime.timedelta(seconds=150)
#: Seconds of silence after which a process without a successor is considered dead.
LEASE = datetime.timedelta(seconds=300)
#: Webhooks of a dead process may still be running for this many seconds.
SETTLED = datetime.timedelta(seconds=60)
#: Time to come back after a process was stopped, once there is another.
RETURN = datetime.timedelta(seconds=60)
#: Connections closed in one transaction, which also sends their signals.
CHUNK = 100
#: The close code of connections that end without a close frame (RFC 6455, section 7.1.5).
ABNORMAL = 1006
REASON = "The Hookbox process ended unexpectedly"
#: Code and reason of connections that a process closes when it is stopped.
_STOPPED = (RESTART.code, RESTART.reason)


@dataclass(frozen=True, slots=True)
class Sender:
    """The process that reports.

    Attributes:
        boot: The id of its run.
        address: Its machine and port.

    """

    boot: str
    address: str


def _nodes() -> QuerySet[Node]:
    return Node.objects.using(router.db_for_write(Node))


def heard(sender: Sender) -> int:
    """Record that a process is alive; return the number of its last event that was recorded.

    Until the transaction ends, concurrent reports of the same process wait: if two contain the
    same event, the second finds it recorded.
    """
    now = timezone.now()
    if not _touch(sender, now):
        try:
            with transaction.atomic(using=router.db_for_write(Node)):
                _nodes().create(boot=sender.boot, address=sender.address, seen=now, steady=now)
        except IntegrityError:  # a concurrent report of the same process was faster
            _touch(sender, now)
    return _nodes().values_list("last_event", flat=True).get(boot=sender.boot)


def _touch(sender: Sender, now: datetime.datetime) -> int:
    # The first statement writes, which locks the row on every database. `steady` comes first:
    # MySQL evaluates assignments from left to right.
    steady = Case(When(seen__lt=now - BREAK, then=Value(now)), default=F("steady"))
    row = _nodes().filter(boot=sender.boot)
    return row.update(steady=steady, seen=now, address=sender.address)


def written(sender: Sender, last: int, *, stopped: bool) -> None:
    """Save which event was recorded last, and whether it ends the process."""
    # A process that reports is not dead, even if it was considered dead.
    ended = timezone.now() if stopped else None
    _nodes().filter(boot=sender.boot).update(last_event=last, ended=ended, closed=False)


# ---- what was left open ------------------------------------------------------


def close_what_is_open(
    sender: Sender, seconds: float, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Close what dead processes have left open; return whether there is more to do.

    Args:
        sender: The process that is reporting.
        seconds: The time limit; the next report continues.
        clock: Returns the time.

    """
    end = clock() + seconds
    try:
        _take_for_dead(sender)
        for node in _to_close(sender).order_by("pk"):
            while _close_some(node):
                if clock() >= end:
                    return True
    except DatabaseError:
        logger.exception("Could not close what an ended Hookbox process left open.")
    return False


def _take_for_dead(sender: Sender) -> None:
    """End the runs of processes that have a successor or have been silent for too long."""
    me = _nodes().get(boot=sender.boot)
    others = _nodes().filter(ended__isnull=True).exclude(pk=me.pk)
    if me.address:
        others.filter(address=me.address, pk__lt=me.pk).update(ended=F("seen"))
    silent_since = timezone.now() - LEASE
    if me.steady < silent_since:
        others.filter(seen__lt=silent_since).update(ended=F("seen"))


def _to_close(sender: Sender) -> QuerySet[Node]:
    """Return the processes that have ended and have left something to do now."""
    ended = _nodes().filter(ended__isnull=False, closed=False)
    # A stopped process ends after its last report, which announces it; a process that is considered
    # dead ends with its last report.
    stopped = Q(ended__gt=F("seen"))
    lately = timezone.now() - RETURN
    if _nodes().get(boot=sender.boot).steady > lately:
        return ended.exclude(stopped)
    return ended.exclude(stopped, ended__gt=lately)


def _close_some(node: Node) -> bool:
    """Close some connections of a process that has ended; return whether there are more."""
    using = router.db_for_write(ConnectionLog)
    with transaction.atomic(using=router.db_for_write(Node)), transaction.atomic(using=using):
        # Locks the row; a concurrent request finds that the position has moved.
        mine = _nodes().filter(pk=node.pk, closed_to=node.closed_to, ended__isnull=False)
        if not mine.update(closed_to=node.closed_to):
            return False
        opened = ConnectionLog.objects.using(using).filter(
            node=node.boot, event=ConnectionLog.Event.CONNECT, pk__gt=node.closed_to
        )
        some = list(opened.order_by("pk")[:CHUNK])
        if not some:
            if node.ended is not None and timezone.now() - node.ended > SETTLED:
                mine.update(closed=True)
            return False
        _close(node, some)
        node.closed_to = some[-1].pk
        _nodes().filter(pk=node.pk).update(closed_to=node.closed_to)
        return True


def _close(node: Node, opened: Sequence[ConnectionLog]) -> None:
    when = node.ended or timezone.now()
    rows = ConnectionLog.objects.using(router.db_for_write(ConnectionLog))
    ids = [row.connection_id for row in opened]
    ends = rows.filter(event=ConnectionLog.Event.DISCONNECT, connection_id__in=ids)
    gone = {end.connection_id: (end.code, end.reason) for end in ends}
    left = [row for row in opened if row.connection_id not in gone]
    # The process has reported these only to the log.
    stopped = [row for row in opened if gone.get(row.connection_id) == _STOPPED]
    write_all(ConnectionLog, [_end_of(row, when) for row in left])
    names = {row.user_name for row in (*left, *stopped)}
    if not names:
        return
    living = [*_nodes().filter(closed=False).values_list("boot", flat=True)]
    names -= _connected(names, [node.boot])  # their other connections come later
    back = _connected(names, living)
    ids = [row.connection_id for row in stopped]
    for channel, name in _close_subscriptions(node, names, living, when, ids):
        decide(Operation.UNSUBSCRIBE, by_name(name), channel)
    for name in sorted(names - back):
        decide(Operation.DISCONNECT, by_name(name))


def _end_of(row: ConnectionLog, when: datetime.datetime) -> ConnectionLog:
    when = max(when, row.created)
    return ConnectionLog(
        event=ConnectionLog.Event.DISCONNECT,
        created=when,
        user_name=row.user_name,
        connection_id=row.connection_id,
        transport=row.transport,
        ip=row.ip,
        code=ABNORMAL,
        reason=REASON,
        duration=when - row.created,
        node=row.node,
        assumed=True,
    )


def _connected(names: Collection[str], boots: Sequence[str]) -> set[str]:
    """Return the users who have an open connection in one of these runs."""
    rows = ConnectionLog.objects.using(router.db_for_write(ConnectionLog))
    ends = rows.filter(
        connection_id=OuterRef("connection_id"), event=ConnectionLog.Event.DISCONNECT
    )
    opened = rows.filter(
        ~Exists(ends), user_name__in=names, node__in=boots, event=ConnectionLog.Event.CONNECT
    )
    return set(opened.values_list("user_name", flat=True))


def _close_subscriptions(
    node: Node,
    names: Collection[str],
    living: Sequence[str],
    when: datetime.datetime,
    stopped: Sequence[str],
) -> list[tuple[str, str]]:
    """Close the subscriptions of users; return channel and user where the user is not back.

    Args:
        node: The process.
        names: The users.
        living: The boot ids of processes to which they may have come back.
        when: When the subscriptions ended.
        stopped: Connections whose subscriptions ended when the process was stopped.

    """
    kinds = SubscriptionLog.Event
    rows = SubscriptionLog.objects.using(router.db_for_write(SubscriptionLog)).filter(
        node__in={*living, node.boot}, user_name__in=names
    )
    # A user's connections share subscriptions, so the last entry of all of them counts.
    last = (
        rows.filter(event__in=(kinds.SUBSCRIBE, kinds.UNSUBSCRIBE))
        .values("node", user=Exactly("user_name"), where=Exactly("channel"))
        .annotate(last=Max("pk"))
        .values("last")
    )
    opened = _of(names, rows.filter(pk__in=last, event=kinds.SUBSCRIBE))
    back = {(row.channel, row.user_name) for row in opened if row.node != node.boot}
    left = [row for row in opened if row.node == node.boot]
    ends = [
        SubscriptionLog(
            event=kinds.UNSUBSCRIBE,
            created=max(when, row.created),
            channel=row.channel,
            user_name=row.user_name,
            connection_id=row.connection_id,
            decided_by="disconnect",
            reason=REASON,
            node=row.node,
            assumed=True,
        )
        for row in left
    ]
    write_all(SubscriptionLog, ends)
    reported = rows.filter(
        node=node.boot, event=kinds.UNSUBSCRIBE, connection_id__in=stopped,
        decided_by="disconnect", reason=RESTART.reason,
    )  # fmt: skip
    found = [(row.channel, row.user_name) for row in (*left, *_of(names, reported))]
    return [pair for pair in found if pair not in back]


def _of(names: Collection[str], rows: QuerySet[SubscriptionLog]) -> list[SubscriptionLog]:
    """Return the rows of exactly these users: for some databases, “Bob” is “bob”."""
    return [row for row in rows.order_by("pk") if row.user_name in names]


def forget_old(before: datetime.datetime) -> None:
    """Delete runs that ended long ago and have left nothing open."""
    _nodes().filter(closed=True, seen__lt=before).delete()


def time_to_close() -> float:
    """Return the seconds that a report may spend on closing."""
    return settings.webhook_timeout / 3
