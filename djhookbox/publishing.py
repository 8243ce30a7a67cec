"""Publish: to the process at once, or to the outbox of a durable channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from asgiref.sync import sync_to_async

from . import client, debugging, tracing
from .audit.writing import fit
from .client.payloads import to_json
from .conf import settings
from .decisions.decide import Decision
from .exceptions import HookboxDatabaseError, HookboxError, HookboxRefused, PayloadError
from .guards import database_errors, recovering, synchronous
from .models import Publication
from .outbox import inserting
from .outbox.rows import Draft
from .recording import Message, is_reported, record
from .vouching import (
    decided,
    name_of,
    require,
    validate_channel,
    validate_key,
    warn_of_rounding,
)
from .wire.answers import Published
from .wire.rest import Origin, Publishing

if TYPE_CHECKING:
    from .vouching import User

logger = logging.getLogger("djhookbox")

#: The answer of the process to a message, or why it was not sent.
_Outcome: TypeAlias = HookboxError | Published


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

    The publish history contains every attempt, even if the transaction around it is rolled back:
    the process reports within a second what it has sent, and another thread records what failed in
    a transaction after its end.

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
            channel. It must be the one that the database router names for writing `Outbox`; pass
            it to make sure of that.
        fail_silently: Whether to return None, with a warning in the log, if the process cannot be
            reached or refuses; the publish history records the failure. Invalid arguments and
            failures of the database raise an exception all the same.

    Raises:
        PayloadError: The payload is not JSON, or larger than `HOOKBOX_MAX_PAYLOAD_SIZE`; on a
            durable channel, larger than 1 MiB. Nothing was sent or recorded.
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
        sent = _send(message, decision)
    except HookboxError as error:
        record(message, decision, error=error)
        if fail_silently and _is_forgivable(error):
            _warn_of_failure(channel, error)
            return None
        raise
    _record_sent(message, decision, sent)
    debugging.tell_unheard(channel, sent.delivered)
    return sent.delivered


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
    decision = None
    try:
        decision = await sync_to_async(decided)(channel, user)
        if _is_durable(decision):
            await sync_to_async(_insert)(message, decision, using)
            return None
        sent = await asyncio.to_thread(_send, message, decision)
    except HookboxError as error:
        await sync_to_async(record)(message, decision, error=error)
        if fail_silently and _is_forgivable(error):
            _warn_of_failure(channel, error)
            return None
        raise
    if not sent.reported:
        await sync_to_async(_record_sent)(message, decision, sent)
    debugging.tell_unheard(channel, sent.delivered)
    return sent.delivered


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
    stored in one transaction instead, and None is returned for them.

    Args:
        publications: Channels and payloads, as for `publish`.
        user: The sender of all messages, a Django user or a name; subscribers see the name.
        source: The source to record in the publish history.
        sender: The user to record in the publish history, if not `user`.

    Raises:
        PayloadError: A payload is not JSON or too large for its durable channel, or all of them
            together are larger than `HOOKBOX_MAX_PAYLOAD_SIZE`. Nothing was sent.
        ChannelNameError: A channel's name is invalid. Nothing was sent or recorded.
        HookboxRefused: No policy or handler opens one of the channels, and nothing was sent; or the
            server refused a message, and the others were sent. The publish history contains all.
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
) -> list[Message]:
    messages = []
    for publication in publications:
        try:
            channel, payload = publication
        except (TypeError, ValueError):
            raise TypeError(
                "publish_many() takes pairs of a channel and a payload; this is not a pair: "
                f"{publication!r}"
            ) from None
        messages.append(_message(channel, payload, user, source, sender, ""))
    return messages


def _decisions(messages: Sequence[Message], user: User | None) -> list[Decision]:
    """Return the decision for each message; if one is refused, record that none was sent."""
    of_channel: dict[str, Decision] = {}
    try:
        for message in messages:
            if message.channel not in of_channel:
                of_channel[message.channel] = decided(message.channel, user)
        for decision in of_channel.values():
            require(decision)
        for message in messages:
            if _is_durable(of_channel[message.channel]):
                inserting.check_size(message.text)
    except PayloadError:
        raise  # which is not recorded
    except HookboxError as error:
        for message in messages:
            record(message, of_channel.get(message.channel), error=error)
        raise
    return [of_channel[message.channel] for message in messages]


def _send_all(messages: Sequence[Message], decisions: Sequence[Decision]) -> list[_Outcome]:
    """Send the messages that are not durable; return the answer to each, or its error."""
    outcomes: list[_Outcome] = [Published()] * len(messages)
    numbers = [number for number, each in enumerate(decisions) if not _is_durable(each)]
    chosen = [(messages[number], decisions[number]) for number in numbers]
    if settings.executable:  # another program does not know this call
        found = [_outcome(*each) for each in chosen]
    else:
        found = _send_together(chosen)
    for number, outcome in zip(numbers, found, strict=True):
        outcomes[number] = outcome
    return outcomes


def _outcome(message: Message, decision: Decision) -> _Outcome:
    try:
        return _send(message, decision)
    except HookboxError as error:
        return error


def _send_together(chosen: Sequence[tuple[Message, Decision]]) -> list[_Outcome]:
    if not chosen:
        return []
    publications = [
        Publishing(
            message.channel, message.text, message.originator or None, decision.options,
            _origin(message, decision),
        )
        for message, decision in chosen
    ]  # fmt: skip
    try:
        with tracing.publishing("", len(publications)) as trace:
            outcomes = client.publish_many(publications, made=chosen[0][0].made, trace=trace)
    except HookboxError as error:
        return [error] * len(chosen)
    return [
        HookboxRefused(each.msg, code=each.code)
        if each.msg
        else Published(each.delivered, reported=each.reported)
        for each in outcomes
    ]


def _recorded_all(
    messages: Sequence[Message],
    decisions: Sequence[Decision],
    outcomes: Sequence[_Outcome],
) -> list[int | None]:
    """Record what has become of the messages, store durable ones, and return the receivers.

    Raises:
        HookboxError: The first error.

    """
    failed: HookboxError | None = None
    delivered: list[int | None] = []
    durable: list[tuple[Message, Decision]] = []
    for message, decision, outcome in zip(messages, decisions, outcomes, strict=True):
        if isinstance(outcome, HookboxError):
            failed = failed or outcome
            record(message, decision, error=outcome)
        elif _is_durable(decision):
            durable.append((message, decision))
            delivered.append(None)
        else:
            delivered.append(outcome.delivered)
            _record_sent(message, decision, outcome)
            debugging.tell_unheard(message.channel, outcome.delivered)
    if durable:
        with database_errors(), tracing.publishing("", len(durable)) as trace:
            inserting.insert_many([_draft(*each, trace) for each in durable])
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
) -> Message:
    validate_channel(channel)
    validate_key(key)
    text = to_json(payload)
    warn_of_rounding(channel, text)
    return Message(
        channel=channel,
        text=text,
        originator=name_of(user),
        sender=name_of(user if sender is None else sender),
        source=source,
        key=key,
    )


def _is_durable(decision: Decision) -> bool:
    return decision.allowed and bool(decision.options.get("durable"))


def _insert(message: Message, decision: Decision, using: str | None) -> None:
    with database_errors(), tracing.publishing(message.channel) as trace:
        inserting.insert(_draft(message, decision, trace), using=using)


def _draft(message: Message, decision: Decision, trace: str) -> Draft:
    return Draft(
        decision,
        message.channel,
        message.text,
        message.originator,
        message.sender,
        message.source,
        message.key,
        trace=trace,
    )


def _send(message: Message, decision: Decision) -> Published:
    require(decision)
    with tracing.publishing(message.channel) as trace:
        return client.publish(
            message.channel,
            message.text,
            options=decision.options,
            originator=message.originator or None,
            origin=_origin(message, decision),
            key=message.key,
            made=message.made,
            trace=trace,
        )


def _origin(message: Message, decision: Decision) -> Origin | None:
    """Return what the process reports about a message, or None if it is recorded here."""
    if not is_reported(message):
        return None
    return Origin(
        message.source, fit(message.sender), fit(decision.decided_by), fit(decision.reason)
    )


def _record_sent(message: Message, decision: Decision, sent: Published) -> None:
    if not sent.reported:
        record(message, decision, delivered=sent.delivered)
