"""The webhook views: decide, record, answer."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.translation import gettext as _

from .audit import pruning, writing
from .audit.fitting import UNAVAILABLE
from .audit.nodes import Sender, close_what_is_open, time_to_close
from .audit.reported import record
from .bans.rules import Subject
from .batches import confirming
from .batches.answering import Answer, Answering
from .conf import settings
from .decisions.decide import Decision, decide, refused
from .decisions.many import decide_many
from .decisions.rechecks import recheck as recheck_channels
from .doctor import echo
from .models import Publication, SubscriptionLog
from .outbox import answering, heads, retention
from .outbox.submissions import Submission, submit
from .parsing import (
    Received,
    events_of,
    json_of,
    payload_of,
    publisher_of,
    wanted_of,
)
from .policy.rules import Operation
from .receiving import BATCHABLE, answer, malformed, webhook
from .receiving import VIEWS as VIEWS
from .signals import signals as signals  # where code of 2011 imports it from
from .users.accounts import User, username
from .users.identity import EXPIRED, IdentityError, by_name, identify, verify
from .wire import records, webhooks
from .wire.fields import FieldProblem
from .wire.options import LATER
from .wire.replies import (
    ConnectReply,
    CreateReply,
    Decided,
    EmptyReply,
    EventsReply,
    MessageReply,
    MoreReply,
    PublishReply,
    RecheckReply,
    Refused,
    SubscribeManyReply,
    SubscribeReply,
    UnsubscribeReply,
)
from .wire.webhooks import AnyWebhook

logger = logging.getLogger("djhookbox.webhook")

R = TypeVar("R")

_batches = Answering(BATCHABLE, malformed)


def _reply(
    received: Received[AnyWebhook], kind: type[R], decision: Decision, **more: object
) -> R | Refused:
    """Return the reply with a decision.

    Args:
        received: The webhook.
        kind: The class of the reply if the decision is a permission.
        decision: The decision.
        **more: Fields of the reply in addition to the decision's options.

    """
    decider = decision.decided_by if received.explain else ""
    if not decision.allowed:
        return Refused(decision.reason, decision.code, decider)
    if decider and kind is not EmptyReply:
        more["decided_by"] = decider
    unusable: list[FieldProblem] = []
    reply = records.read(kind, {**decision.options, **more}, tolerated=unusable)
    for problem in unusable:
        logger.error("%s returned an unusable option: %s.", decision.decided_by, problem)
    return reply


def _expired() -> Decision:
    return refused(_("session expired"), "identity", EXPIRED)


def _decide(
    request: HttpRequest,
    received: Received[AnyWebhook],
    operation: Operation,
    channel: str,
    user_name: str,
    payload: object = None,
) -> tuple[Decision, str]:
    """Decide for the connection's user; an ended session is refused, not made anonymous."""
    user = verify(request, received.caller.identity, user_name)
    if user is None:
        return _expired(), user_name
    name = user_name or username(user)
    subject = Subject(name, received.caller.identity)
    return decide(operation, user, channel, payload=payload, subject=subject), name


def _leaving_user(request: HttpRequest, received: Received[AnyWebhook], name: str) -> User:
    """Return the user who leaves, even if the session has ended by now."""
    return verify(request, received.caller.identity, name) or by_name(name)


@webhook(webhooks.Connect)
def connect(request: HttpRequest, received: Received[webhooks.Connect]) -> Answer:
    """Name the user of a new connection."""
    webhook = received.webhook
    payload = json_of("payload", webhook.payload)
    try:
        visitor = identify(request, webhook.token, webhook.expected_user, received.caller.conn_id)
    except IdentityError as error:
        decision = refused(str(error), "identity", error.code)
        writing.write_connection(received, webhook.expected_user, decision)
        return answer(_reply(received, ConnectReply, decision))
    subject = Subject(visitor.name, visitor.identity, webhook.remote_addr)
    decision = decide(Operation.CONNECT, visitor.user, payload=payload, subject=subject)
    writing.write_connection(received, visitor.name, decision)
    more: dict[str, object] = {"name": visitor.name}
    if received.embedded:
        more["identity"] = visitor.identity
        if visitor.single_use:
            more["single_use"] = settings.token_max_age
        if visitor.expires is not None:
            more["expires"] = round(visitor.expires, 3)
    if (seen := echo.answer(payload, request.COOKIES)) is not None:
        more["override_payload"] = seen
    return answer(_reply(received, ConnectReply, decision, **more))


@webhook(webhooks.Disconnect)
def disconnect(request: HttpRequest, received: Received[webhooks.Disconnect]) -> Answer:
    """Record that a user's last connection has closed."""
    user = _leaving_user(request, received, received.webhook.user_name)
    decision = decide(Operation.DISCONNECT, user)
    # The bundled server reports each connection as an event, with more details.
    if not received.embedded:
        writing.write_disconnection(received)
    return answer(_reply(received, EmptyReply, decision))


@webhook(webhooks.CreateChannel)
def create_channel(request: HttpRequest, received: Received[webhooks.CreateChannel]) -> Answer:
    """Return a channel's options, or refuse to create it."""
    channel = received.webhook.channel_name
    decision, name = _decide(request, received, Operation.CREATE, channel, received.caller.user)
    kinds = SubscriptionLog.Event
    writing.write_subscription(
        received, channel, name, decision, kinds.CREATE, kinds.CREATE_REFUSED
    )
    # 0.3.3 refuses channels with unknown options; those set explicitly are sent anyway.
    left_out = frozenset() if received.embedded else LATER - decision.explicit
    options = {key: value for key, value in decision.options.items() if key not in left_out}
    return answer(_reply(received, CreateReply, replace(decision, options=options)))


@webhook(webhooks.DestroyChannel)
def destroy_channel(request: HttpRequest, received: Received[webhooks.DestroyChannel]) -> Answer:
    """Allow a channel without subscribers to be destroyed."""
    channel = received.webhook.channel_name
    decision = decide(Operation.DESTROY, AnonymousUser(), channel)
    if decision.allowed:
        event = SubscriptionLog.Event.DESTROY
        writing.write_subscription(received, channel, received.caller.user, decision, event, event)
    return answer(_reply(received, EmptyReply, decision))


@webhook(webhooks.Subscribe)
def subscribe(request: HttpRequest, received: Received[webhooks.Subscribe]) -> Answer:
    """Decide whether a user may subscribe to a channel."""
    webhook, kinds = received.webhook, SubscriptionLog.Event
    channel = webhook.channel_name
    decision, name = _decide(request, received, Operation.SUBSCRIBE, channel, webhook.user)
    writing.write_subscription(received, channel, name, decision, kinds.SUBSCRIBE, kinds.REFUSED)
    return answer(_reply(received, SubscribeReply, decision))


@webhook(webhooks.SubscribeMany)
def subscribe_many(request: HttpRequest, received: Received[webhooks.SubscribeMany]) -> Answer:
    """Decide about many channels of one connection, each as if it were requested alone."""
    wanted, name = wanted_of(received), received.webhook.user
    user = verify(request, received.caller.identity, name)
    if user is None:
        decision = _expired()
        first = {True: Operation.CREATE, False: Operation.SUBSCRIBE}
        refusals = [(each.channel_name, first[each.create], decision) for each in wanted]
        writing.write_subscriptions(received, name, refusals)
        return answer(_reply(received, EmptyReply, decision))
    decided = decide_many(user, wanted, Subject(name, received.caller.identity))
    writing.write_subscriptions(received, name, decided)
    answers: dict[str, Decided] = {}
    for channel, operation, decision in decided:
        if operation is Operation.CREATE:
            answers[channel] = Decided(create=_reply(received, CreateReply, decision))
        else:
            earlier = answers.get(channel, Decided())
            answers[channel] = replace(
                earlier, subscribe=_reply(received, SubscribeReply, decision)
            )
    return answer(SubscribeManyReply(answers))


@webhook(webhooks.Unsubscribe)
def unsubscribe(request: HttpRequest, received: Received[webhooks.Unsubscribe]) -> Answer:
    """Record that a user leaves a channel."""
    channel, name = received.webhook.channel_name, received.webhook.user
    decision = decide(Operation.UNSUBSCRIBE, _leaving_user(request, received, name), channel)
    kinds = SubscriptionLog.Event
    writing.write_subscription(received, channel, name, decision, kinds.UNSUBSCRIBE, kinds.REFUSED)
    return answer(_reply(received, UnsubscribeReply, decision))


@webhook(webhooks.Publish)
def publish(request: HttpRequest, received: Received[webhooks.Publish]) -> Answer:
    """Decide whether a browser may publish."""
    channel, payload = received.webhook.channel_name, payload_of(received)
    if received.webhook.key:
        return _publish_durably(request, received, payload)
    decision, name = _decide(
        request, received, Operation.PUBLISH, channel, publisher_of(received), payload
    )
    publication = writing.write_publication(received, payload, name, decision)
    # For the event with the number of receivers.
    more = {"publication": publication} if received.embedded and publication is not None else {}
    return answer(_reply(received, PublishReply, decision, **more))


def _publish_durably(
    request: HttpRequest, received: Received[webhooks.Publish], payload: object
) -> Answer:
    """Decide, and store what may be published; the publish history gets its row with its number."""
    channel = received.webhook.channel_name
    if received.caller.conn_id:
        name = publisher_of(received)
        user = verify(request, received.caller.identity, name)
    else:  # a REST call, whose caller has proved the secret
        name = received.webhook.user
        user = by_name(name)
    more: dict[str, object] = {}
    if user is None:
        decision = _expired()
    else:
        name = name or username(user)
        browser = received.caller.conn_id
        source = Publication.Source.CLIENT if browser else Publication.Source.REST
        key, identity = received.webhook.key, received.caller.identity
        submission = Submission(channel, payload, name, key, browser, source, identity)
        try:
            decision, more = submit(submission, user)
        except DatabaseError:
            logger.exception("A publication to %s could not be stored.", channel)
            return answer(Refused(_("The database is busy."), "unavailable"), status=503)
    if not more:
        publication = writing.write_publication(received, payload, name, decision)
        more = {} if publication is None else {"publication": publication}
    return answer(_reply(received, PublishReply, decision, **more))


@webhook(webhooks.Message)
def message(request: HttpRequest, received: Received[webhooks.Message]) -> Answer:
    """Decide whether a user may send a message to another user."""
    webhook = received.webhook
    payload = json_of("payload", webhook.payload)
    decision, _name = _decide(
        request, received, Operation.MESSAGE, webhook.recipient, webhook.sender, payload
    )
    return answer(_reply(received, MessageReply, decision))


@webhook(webhooks.Events)
def events(request: HttpRequest, received: Received[webhooks.Events]) -> Answer:
    """Record events that no webhook has decided; close what dead processes left open."""
    reported = events_of(received)
    sender = Sender(received.node, received.webhook.node) if received.node else None
    try:
        recorded = record(reported, sender, seconds=settings.webhook_timeout / 3)
    except UNAVAILABLE:
        logger.exception("%d events could not be written now.", len(reported))
        return answer(Refused(_("The database is busy."), "unavailable"), status=503)
    if recorded is not None:  # the receivers of signals have taken all the time
        return answer(EventsReply(True, recorded))
    more = sender is not None and close_what_is_open(sender, time_to_close())
    return answer(EventsReply(more))


@webhook(webhooks.Batch)
def batch(request: HttpRequest, received: Received[webhooks.Batch]) -> Answer:
    """Answer many webhooks, each as if it had been made alone, or ask for that."""
    return Answer(200, _batches.answer(request, received))


@webhook(webhooks.Recheck)
def recheck(request: HttpRequest, received: Received[webhooks.Recheck]) -> Answer:
    """Return which subscriptions an edit has ended, and which options it has changed."""
    return answer(RecheckReply(recheck_channels(received.webhook.channels)))


@webhook(webhooks.Confirm)
def confirm(request: HttpRequest, received: Received[webhooks.Confirm]) -> Answer:
    """Return which connections must end, as their sessions or accounts have ended."""
    seconds = settings.webhook_timeout / 3
    try:
        return answer(confirming.confirm(request, received.webhook.connections, seconds))
    except DatabaseError as error:
        logger.warning("Identities could not be confirmed now: %s", error)
        return answer(Refused(_("The database is busy."), "unavailable"), status=503)


@webhook(webhooks.Outbox)
def outbox(request: HttpRequest, received: Received[webhooks.Outbox]) -> Answer:
    """Number what was committed to the outbox, and return what the process lacks."""
    try:
        pulled = answering.answer(received.webhook)
    except DatabaseError as error:
        logger.warning("The outbox could not be read now: %s", error)
        return answer(Refused(_("The database is busy."), "unavailable"), status=503)
    return answer(pulled)


@webhook(webhooks.Prune)
def prune(request: HttpRequest, received: Received[webhooks.Prune]) -> Answer:
    """Delete old audit log entries within the server's timeout; report whether there are more."""
    days = settings.log_days
    if not days:
        return answer(MoreReply())
    try:
        done = pruning.prune(days, seconds=settings.webhook_timeout / 3)
        retention.forget(heads.database(), days)
    except DatabaseError:
        logger.exception("Could not prune the audit log.")
        return answer(Refused(_("The database is busy."), "unavailable"), status=503)
    return answer(MoreReply(more=not done.complete))
