"""Publish: to the process at once, or to the outbox of a durable channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.db import Error, router, transaction
from django.utils import timezone

from . import client, debugging
from .audit import payloads
from .audit.fitting import save_fitting
from .audit.writing import fit
from .client.http import to_json
from .conf import settings
from .decisions.decide import Decision
from .exceptions import HookboxDatabaseError, HookboxError, HookboxRefused, PayloadError
from .guards import HeldConnections, database_errors, recovering, synchronous
from .models import Publication
from .outbox import inserting
from .transactions import after_transaction
from .vouching import (
    decided,
    name_of,
    require,
    validate_channel,
    validate_key,
    warn_of_rounding,
)
from .wire import values
from .wire.rest import Publishing

if TYPE_CHECKING:
    from .vouching import User

logger = logging.getLogger("djhookbox")


@dataclass(frozen=True, slots=True)
class _Message:
    """A publication before it is sent."""

    channel: str
    text: str
    originator: str
    sender: str
    source: str
    key: str


@synchronous(instead="apublish")
def publish(
    channel: str,
    payload: object,
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
    key: str = "",
    using: str | None = None,
    fail_silently: bool = False,
) -> int | None:
    """Send a message to a channel and return how many connections it reached.

    None means that the number is unknown: the genuine Hookbox 0.3.3 does not count, and a
    publication to a durable channel is sent after the commit.

    On a durable channel, the message is stored in the site's database as part of the caller's
    transaction: if that is rolled back, nobody sees it; once it is committed, every subscriber
    receives it once and in order.

    Every other attempt is recorded in the publish history, even if the transaction around it is
    rolled back: inside a transaction, the row is written after the transaction has ended.

    Args:
        channel: The channel's name.
        payload: Any JSON value, as well as dates, decimals, UUIDs and lazy strings as in Django.
        user: The sender, a Django user or a name; subscribers see the name.
        source: The source to record in the publish history.
        sender: The user to record in the publish history, if not `user`.
        key: Identifies the message: one with the same key is not published to the channel again.
            The process remembers keys for five minutes and forgets them when it restarts; on a
            durable channel, they are kept as long as the messages are.
        using: The alias of the database whose transaction the message belongs to, on a durable
            channel. It must be the one that the database router names for writing `Outbox`; naming
            it makes sure of that.
        fail_silently: Whether to return None, with a warning in the log, if the process cannot be
            reached or refuses; the publish history records the failure. What is wrong with the
            call itself is raised all the same, and so is a failure of the database.

    Raises:
        PayloadError: The payload is not JSON, or larger than `HOOKBOX_MAX_PAYLOAD_SIZE`; on a
            durable channel, larger than 1 MiB. Nothing was sent, nothing recorded.
        ChannelNameError: The channel's name is invalid. Nothing was sent or recorded.
        HookboxRefused: No policy or handler opens the channel, or the server refused.
        HookboxUnreachable: The process cannot be reached within `HOOKBOX_TIMEOUT`.
        HookboxMisconfigured: The settings of Django and the process do not match.
        HookboxDatabaseError: The database failed, or a transaction is broken. Nothing was sent.
        HookboxSynchronousOnly: Called from asynchronous code. Nothing was sent or recorded.

    """
    message = _message(channel, payload, user, source, sender, key)
    decision = None
    try:
        decision = decided(channel, user)
        if _is_durable(decision):
            _insert(message, decision, using)
            return None
        delivered = _send(message, decision)
    except HookboxError as error:
        _record(message, decision, error=error)
        if fail_silently and _is_forgivable(error):
            _warn_of_failure(channel, error)
            return None
        raise
    _record(message, decision, delivered=delivered)
    debugging.tell_unheard(channel, delivered)
    return delivered


async def apublish(
    channel: str,
    payload: object,
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
    key: str = "",
    using: str | None = None,
    fail_silently: bool = False,
) -> int | None:
    """Publish like `publish`, without blocking the event loop.

    Only the HTTP call runs in another thread; database access happens where Django's asynchronous
    code puts it.
    """
    message = await sync_to_async(_message)(channel, payload, user, source, sender, key)
    record = sync_to_async(_record)
    decision = None
    try:
        decision = await sync_to_async(decided)(channel, user)
        if _is_durable(decision):
            await sync_to_async(_insert)(message, decision, using)
            return None
        delivered = await asyncio.to_thread(_send, message, decision)
    except HookboxError as error:
        await record(message, decision, error=error)
        if fail_silently and _is_forgivable(error):
            _warn_of_failure(channel, error)
            return None
        raise
    await record(message, decision, delivered=delivered)
    debugging.tell_unheard(channel, delivered)
    return delivered


@synchronous(instead="apublish_many")
def publish_many(
    publications: Iterable[tuple[str, object]],
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
) -> list[int | None]:
    """Send many messages with one call, and return how many connections each of them reached.

    This is like calling `publish` for each, in order, but faster. Messages to durable channels are
    stored instead, and None is returned for them.

    Args:
        publications: Channels and payloads, as for `publish`.
        user: The sender of all messages, a Django user or a name; subscribers see the name.
        source: The source to record in the publish history.
        sender: The user to record in the publish history, if not `user`.

    Raises:
        PayloadError: A payload is not JSON, or all of them together are larger than
            `HOOKBOX_MAX_PAYLOAD_SIZE`. Nothing was sent.
        ChannelNameError: A channel's name is invalid. Nothing was sent or recorded.
        HookboxRefused: No policy or handler opens one of the channels, and nothing was sent; or the
            server refused a message, and the others were sent. The publish history has them all.
        HookboxError: As for `publish`; nothing was sent to channels that are not durable.

    """
    messages = _messages(publications, user, source, sender)
    decisions = _decisions(messages, user)
    return _recorded_all(messages, decisions, _send_all(messages, decisions))


async def apublish_many(
    publications: Iterable[tuple[str, object]],
    *,
    user: User | None = None,
    source: str = Publication.Source.CODE,
    sender: User | None = None,
) -> list[int | None]:
    """Publish like `publish_many`, without blocking the event loop."""
    messages = await sync_to_async(_messages)(publications, user, source, sender)
    decisions = await sync_to_async(_decisions)(messages, user)
    outcomes = await asyncio.to_thread(_send_all, messages, decisions)
    return await sync_to_async(_recorded_all)(messages, decisions, outcomes)


def _messages(
    publications: Iterable[tuple[str, object]],
    user: User | None,
    source: str,
    sender: User | None,
) -> list[_Message]:
    return [
        _message(channel, payload, user, source, sender, "") for channel, payload in publications
    ]


def _decisions(messages: Sequence[_Message], user: User | None) -> list[Decision]:
    """Return the decision for each message; if one is refused, record that none was sent."""
    of_channel: dict[str, Decision] = {}
    try:
        for message in messages:
            if message.channel not in of_channel:
                of_channel[message.channel] = decided(message.channel, user)
        for decision in of_channel.values():
            require(decision)
    except HookboxError as error:
        for message in messages:
            _record(message, of_channel.get(message.channel), error=error)
        raise
    return [of_channel[message.channel] for message in messages]


def _send_all(
    messages: Sequence[_Message], decisions: Sequence[Decision]
) -> list[HookboxError | int | None]:
    """Send the messages that are not durable; return for each its receivers or its error."""
    outcomes: list[HookboxError | int | None] = [None] * len(messages)
    numbers = [number for number, each in enumerate(decisions) if not _is_durable(each)]
    chosen = [(messages[number], decisions[number]) for number in numbers]
    if settings.executable:  # another program does not know this call
        found = [_outcome(*each) for each in chosen]
    else:
        found = _send_together(chosen)
    for number, outcome in zip(numbers, found, strict=True):
        outcomes[number] = outcome
    return outcomes


def _outcome(message: _Message, decision: Decision) -> HookboxError | int | None:
    try:
        return _send(message, decision)
    except HookboxError as error:
        return error


def _send_together(
    chosen: Sequence[tuple[_Message, Decision]],
) -> list[HookboxError | int | None]:
    if not chosen:
        return []
    try:
        outcomes = client.publish_many([
            Publishing(message.channel, message.text, message.originator or None, decision.options)
            for message, decision in chosen
        ])  # fmt: skip
    except HookboxError as error:
        return [error] * len(chosen)
    return [
        HookboxRefused(each.msg, code=each.code) if each.msg else each.delivered
        for each in outcomes
    ]


def _recorded_all(
    messages: Sequence[_Message],
    decisions: Sequence[Decision],
    outcomes: Sequence[HookboxError | int | None],
) -> list[int | None]:
    """Record what has become of the messages, store durable ones, and return the receivers.

    Raises:
        HookboxError: The first error.

    """
    failed: HookboxError | None = None
    delivered: list[int | None] = []
    for message, decision, outcome in zip(messages, decisions, outcomes, strict=True):
        if isinstance(outcome, HookboxError):
            failed = failed or outcome
            _record(message, decision, error=outcome)
        elif _is_durable(decision):
            _insert(message, decision, None)
            delivered.append(None)
        else:
            delivered.append(outcome)
            _record(message, decision, delivered=outcome)
            debugging.tell_unheard(message.channel, outcome)
    if failed is not None:
        raise failed
    return delivered


def _is_forgivable(error: HookboxError) -> bool:
    """Return whether an error is about the process, not about the call or the database."""
    return not isinstance(error, PayloadError | HookboxDatabaseError)


def _warn_of_failure(channel: str, error: HookboxError) -> None:
    logger.warning("A message to %s was not sent: %s", channel, error)


@recovering
def _message(
    channel: str,
    payload: object,
    user: User | None,
    source: str,
    sender: User | None,
    key: str,
) -> _Message:
    validate_channel(channel)
    validate_key(key)
    text = to_json(payload)
    warn_of_rounding(channel, text)
    return _Message(
        channel=channel,
        text=text,
        originator=name_of(user),
        sender=name_of(user if sender is None else sender),
        source=source,
        key=key,
    )


def _is_durable(decision: Decision) -> bool:
    return decision.allowed and bool(decision.options.get("durable"))


def _insert(message: _Message, decision: Decision, using: str | None) -> None:
    with database_errors():
        inserting.insert(
            decision,
            message.channel,
            message.text,
            user=message.originator,
            sender=message.sender,
            source=message.source,
            key=message.key,
            using=using,
        )


def _send(message: _Message, decision: Decision) -> int | None:
    require(decision)
    return client.publish(
        message.channel,
        message.text,
        options=decision.options,
        originator=message.originator or None,
        recorded=True,
        key=message.key,
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
        **payloads.kept(values.loads(message.text), is_copy=True),
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
