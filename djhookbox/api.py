"""Publish, subscribe, disconnect: what a site's code asks of Hookbox.

Audiences do not restrict code, but a channel that no policy or handler opens is refused. Django
decides before it calls the server and sends the decided options along, so that the server never
has to call back while the caller waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import Error, router, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from . import client
from .audit import payloads
from .audit.fitting import save_fitting
from .audit.writing import fit
from .client.http import to_json
from .conf import settings
from .decisions.decide import Decision, decide_for_code
from .exceptions import ChannelNameError, HookboxError, HookboxRefused, UserNameError
from .guards import HeldConnections, recovering, synchronous
from .models import Publication
from .strict_json import find_unsafe_integer
from .transactions import after_transaction
from .users.accounts import username
from .wire import names, records, values
from .wire.closing import BY_SITE

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

    #: A Django user, or the name of a user's connections.
    User = AbstractBaseUser | AnonymousUser | str

logger = logging.getLogger("djhookbox")

#: Options that make Hookbox ask Django. Code cannot turn off those that a decision requires.
MODERATION = ("moderated", "moderated_subscribe", "moderated_publish", "moderated_unsubscribe")


# ---- publish ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Message:
    """A publication before it is sent."""

    channel: str
    text: str
    originator: str
    sender: str
    source: str


@synchronous(instead="apublish")
def publish(
    channel: str,
    payload: object,
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
) -> int | None:
    """Send a message to a channel and return how many connections it reached.

    None means that the number is unknown: the genuine Hookbox 0.3.3 does not count.

    Every attempt is recorded in the publish history, even if the transaction around it is rolled
    back: inside a transaction, the row is written after the transaction has ended.

    Args:
        channel: The channel's name.
        payload: Any JSON value, as well as dates, decimals, UUIDs and lazy strings as in Django.
        user: The sender, a Django user or a name; subscribers see the name.
        source: The source to record in the publish history.
        sender: The user to record in the publish history, if not `user`.

    Raises:
        PayloadError: The payload is not JSON, or larger than `HOOKBOX_MAX_PAYLOAD_SIZE`. Nothing
            was sent, nothing recorded.
        ChannelNameError: The channel's name is invalid. Nothing was sent or recorded.
        HookboxRefused: No policy or handler opens the channel, or the server refused.
        HookboxUnreachable: The process cannot be reached within `HOOKBOX_TIMEOUT`.
        HookboxMisconfigured: The settings of Django and the process do not match.
        HookboxDatabaseError: The database failed, or a transaction is broken. Nothing was sent.
        HookboxSynchronousOnly: Called from asynchronous code. Nothing was sent or recorded.

    """
    message = _message(channel, payload, user, source, sender)
    decision = None
    try:
        decision = _decide(channel, user)
        delivered = _send(message, decision)
    except HookboxError as error:
        _record(message, decision, error=error)
        raise
    _record(message, decision, delivered=delivered)
    return delivered


async def apublish(
    channel: str,
    payload: object,
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
) -> int | None:
    """Publish like `publish`, without blocking the event loop.

    Only the HTTP call runs in another thread; database access happens where Django's asynchronous
    code puts it.
    """
    message = await sync_to_async(_message)(channel, payload, user, source, sender)
    record = sync_to_async(_record)
    decision = None
    try:
        decision = await sync_to_async(_decide)(channel, user)
        delivered = await asyncio.to_thread(_send, message, decision)
    except HookboxError as error:
        await record(message, decision, error=error)
        raise
    await record(message, decision, delivered=delivered)
    return delivered


@recovering
def _message(
    channel: str, payload: object, user: User | None, source: str, sender: User | None
) -> _Message:
    validate_channel(channel)
    text = to_json(payload)
    _warn_of_rounding(channel, text)
    return _Message(
        channel=channel,
        text=text,
        originator=name_of(user),
        sender=name_of(user if sender is None else sender),
        source=source,
    )


def _send(message: _Message, decision: Decision) -> int | None:
    _require(decision)
    return client.publish(
        message.channel,
        message.text,
        options=decision.options,
        originator=message.originator or None,
        recorded=True,
    )


def _record(
    message: _Message,
    decision: Decision | None,
    *,
    delivered: int | None = None,
    error: HookboxError | None = None,
) -> None:
    status = Publication.Status.SENT
    if error is not None:
        refused = isinstance(error, HookboxRefused)
        status = Publication.Status.REFUSED if refused else Publication.Status.FAILED
    row = Publication(
        created=timezone.now(),
        channel=message.channel,
        user_name=fit(message.sender),
        source=message.source,
        status=status,
        error="" if error is None else str(error),
        delivered=delivered,
        decided_by="" if decision is None else decision.decided_by[:255],
        reason="" if decision is None else decision.reason[:255],
        **payloads.kept(values.loads(message.text)),
    )
    using = router.db_for_write(Publication)
    after_transaction(using, partial(_save, row, using))


def _save(row: Publication, using: str) -> None:
    inserted = False
    held = HeldConnections()

    def insert() -> None:
        nonlocal inserted
        # A savepoint, in case the caller's block continues (see `after_transaction`).
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
            inserted = True

    try:
        try:
            save_fitting(row, insert)
        except Error:
            # If the connection was cut during the commit, the row may exist.
            if inserted or not held.were_cut():
                raise
            insert()
    except (Error, ValueError):
        # A message cannot be recalled; after an exception, callers would send it again.
        logger.exception("Could not record a publication to %s.", row.channel)


# ---- channels --------------------------------------------------------------------------------


@synchronous()
def create(channel: str, options: Mapping[str, object] | None = None) -> None:
    """Create a channel with the options decided for it, overridden by the given ones."""
    decision = vouch(channel)
    chosen = _permitted(decision, channel, options or {})
    client.create_channel(channel, {**decision.options, **chosen})


@synchronous()
def channel_info(channel: str) -> dict[str, Any]:
    """Return a live channel's `name`, `subscribers` and `options`."""
    validate_channel(channel)
    return client.get_channel_info(channel)


@synchronous()
def set_channel_options(channel: str, **options: object) -> None:
    """Change options of a live channel, such as `history_size=20`."""
    client.set_channel_options(channel, _permitted(vouch(channel), channel, options))


@synchronous()
def state_set(channel: str, key: str, value: object) -> None:
    """Set a key of a live channel's state and notify all subscribers."""
    validate_channel(channel)
    _warn_of_rounding(channel, to_json(value))
    client.state_set_key(channel, key, value)


@synchronous()
def state_delete(channel: str, key: str) -> None:
    """Delete a key of a live channel's state and notify all subscribers."""
    validate_channel(channel)
    client.state_delete_key(channel, key)


# ---- users -----------------------------------------------------------------------------------


@synchronous()
def subscribe(channel: str, user: User) -> None:
    """Subscribe all connections of a user, a Django user or a name, without asking policies."""
    decision = vouch(channel, user)
    client.subscribe(channel, name_of(user), options=decision.options)


@synchronous()
def unsubscribe(channel: str, user: User, *, reason: str = "") -> None:
    """Unsubscribe all connections of a user; their pages receive the reason."""
    validate_channel(channel)
    client.unsubscribe(channel, name_of(user), reason=reason)


@synchronous()
def disconnect(
    user: User | None = None,
    *,
    connection: str | None = None,
    reason: str = "",
    code: int = BY_SITE.code,
) -> int:
    """Close all connections of a user, or one connection by its id, and return the number.

    Args:
        user: The user whose connections to close, a Django user or a name.
        connection: The id of one connection, as in the audit log.
        reason: The reason sent to the page, at most 120 bytes.
        code: 4000 to 4499 lets the page reconnect, 4500 to 4999 does not.

    """
    if user is None and connection is None:
        raise TypeError("disconnect() requires a user or a connection.")
    if user is not None and not name_of(user):
        raise UserNameError(
            _(
                "An anonymous user has no account name. Pass the name of the connections, or "
                "the id of one."
            ),
            code="malformed",
        )
    return client.disconnect(
        user=None if user is None else name_of(user),
        connection=connection,
        reason=reason,
        code=code,
    )


@synchronous()
def server_info() -> dict[str, Any]:
    """Return the process's `version`, `uptime`, `connections`, `channels` and other counts."""
    return records.write(client.get_server_info())


# ---- common ----------------------------------------------------------------------------------


def name_of(user: User | None) -> str:
    """Return the name of a user's connections; "" for None and anonymous users."""
    if user is None or isinstance(user, str):
        return user or ""
    return username(user)


def _warn_of_rounding(channel: str, text: str) -> None:
    """Warn developers about an integer that browsers round."""
    if settings.debug and (number := find_unsafe_integer(text)) is not None:
        logger.warning(
            "Sent the integer %d to the channel %s. Browsers round integers above 2**53; "
            "send it as a string. (Shown because DEBUG is on.)",
            number,
            channel,
        )


def validate_channel(channel: object) -> None:
    """Reject an invalid channel name.

    Raises:
        ChannelNameError: It is not a string, is empty or too long, or has invalid characters.

    """
    limit = settings.max_name_length
    fault = names.find_fault(channel, limit)
    if fault is None:
        return
    if fault is names.Fault.TYPE:
        problem = _("The channel name must be a string, not %(type)s.") % {
            "type": type(channel).__name__
        }
    elif fault is names.Fault.CHARACTERS:
        problem = _("The channel name must not contain control characters.")
    else:
        problem = _("The channel name must have 1 to %(limit)d characters.") % {"limit": limit}
    raise ChannelNameError(problem, code="malformed")


def vouch(channel: str, user: User | None = None) -> Decision:
    """Return the decision that opens a channel, with the options to create it with.

    Raises:
        HookboxRefused: No policy or handler opens it.

    """
    validate_channel(channel)
    decision = _decide(channel, user)
    _require(decision)
    return decision


@recovering
def _decide(channel: str, user: User | None) -> Decision:
    who = AnonymousUser() if user is None or isinstance(user, str) else user
    return decide_for_code(channel, who)


def _require(decision: Decision) -> None:
    if not decision.allowed:
        raise HookboxRefused(decision.reason, code=decision.code or "refused")


def _permitted(
    decision: Decision, channel: str, options: Mapping[str, object]
) -> Mapping[str, object]:
    """Return the options unless they would weaken an audience.

    Raises:
        HookboxRefused: They turn off moderation that the decision requires.

    """
    for name in MODERATION:
        if decision.options.get(name) and not options.get(name, True):
            raise HookboxRefused(
                _("“%(option)s” cannot be turned off: %(who)s decides who may use “%(channel)s”.")
                % {"option": name, "who": decision.decided_by, "channel": channel},
                code="refused",
            )
    return options
