"""Who is online, as querysets of the user model.

    from djhookbox import online

    online.users()                          # everybody who is connected
    online.users("/rooms/7/")               # everybody who is subscribed to a channel
    online.online_count()
    for user in online.annotate(User.objects.all()): print(user.is_online, user.last_seen)

Each function makes one call to the Hookbox process for any number of users. The process holds the
connections, so its answer is correct even after a crash: if it is not running, nobody is online.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    Model,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Cast

from . import client
from .exceptions import HookboxNotRunning
from .guards import synchronous
from .models import ConnectionLog
from .users.accounts import named, username
from .users.identity import ANONYMOUS_PREFIX
from .vouching import validate_channel

if TYPE_CHECKING:
    from .users.accounts import User


@synchronous()
def names(channel: str | None = None, *, visitors: bool = False) -> frozenset[str]:
    """Return the names of the users who are connected, or subscribed to a channel.

    Args:
        channel: The channel's name.
        visitors: Whether to include anonymous visitors, whose names no account can have.

    Raises:
        ChannelNameError: The channel's name is invalid.
        HookboxUnreachable: The process did not answer in time. If it is not running, no exception
            is raised, because nobody is connected.
        HookboxMisconfigured: The settings of Django and the process do not match.

    """
    if channel is not None:
        validate_channel(channel)
    try:
        found = client.list_users(channel or "")
    except HookboxNotRunning:
        return frozenset()
    return frozenset(name for name in found if visitors or not name.startswith(ANONYMOUS_PREFIX))


def users(channel: str | None = None) -> QuerySet[Any]:
    """Return the accounts that are online, or subscribed to a channel, as a queryset.

    The process is asked now, not when the queryset is evaluated.

    Raises:
        HookboxError: As `names()`.

    """
    return named(names(channel))


def online_count(channel: str | None = None, *, visitors: bool = False) -> int:
    """Return how many users are online, or subscribed to a channel; no query is made.

    Args:
        channel: The channel's name.
        visitors: Whether to count anonymous visitors.

    Raises:
        HookboxError: As `names()`.

    """
    return len(names(channel, visitors=visitors))


def is_online(user: User, channel: str | None = None) -> bool:
    """Return whether one user is online; for lists, use `annotate()`.

    Raises:
        HookboxError: As `names()`.

    """
    return username(user) in names(channel)


def annotate(rows: QuerySet[Model], channel: str | None = None) -> QuerySet[Any]:
    """Add `is_online` and `last_seen` to a queryset of accounts, with one call and no extra query.

    `last_seen` is the time of the last entry of the connection log: of the last disconnect, or of
    the last connect while the user is online. It is None for users without an entry. It is not
    updated while the connection log is off; entries older than `HOOKBOX_LOG_DAYS` are deleted.

    Args:
        rows: The accounts.
        channel: If given, `is_online` means subscribed to this channel.

    Raises:
        HookboxError: As `names()`.

    """
    return with_last_seen(with_online(rows, names(channel)))


def with_online(rows: QuerySet[Model], online: frozenset[str]) -> QuerySet[Any]:
    """Add `is_online` to a queryset of accounts for names that are known."""
    found: QuerySet[Any]
    if not online:
        found = rows.annotate(is_online=Value(False, BooleanField()))
        return found
    chosen = named(online, rows.model._default_manager.using(rows.db)).values("pk")
    found = rows.annotate(
        is_online=Case(
            When(pk__in=chosen, then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
    )
    return found


def with_last_seen(rows: QuerySet[Model]) -> QuerySet[Any]:
    """Add `last_seen` to a queryset of accounts in the database of the audit log."""
    model = get_user_model()
    name: Any = OuterRef(model.USERNAME_FIELD)
    if not isinstance(model._meta.get_field(model.USERNAME_FIELD), CharField):
        name = Cast(name, CharField(max_length=255))
    log = ConnectionLog.objects.filter(user_name=name).order_by("-created", "-pk")
    latest = log.exclude(event=ConnectionLog.Event.REFUSED).values("created")[:1]
    found: QuerySet[Any] = rows.annotate(last_seen=Subquery(latest, output_field=DateTimeField()))
    return found
