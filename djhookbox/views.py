"""The webhook views: verify, parse, decide, log, answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from . import strict_json
from .audit import pruning, writing
from .audit.fitting import UNAVAILABLE
from .audit.nodes import Sender, close_what_is_open, time_to_close
from .audit.reported import record
from .batches import confirming
from .batches.answering import Answer, Answering
from .batches.rule import accepted
from .conf import settings
from .decisions.decide import Decision, User, decide, refused
from .decisions.many import decide_many
from .decisions.rechecks import recheck as recheck_channels
from .models import Publication, SubscriptionLog
from .outbox import heads, pulling, retention
from .outbox.submissions import Submission, submit
from .parsing import (
    Call,
    MalformedCall,
    events_of,
    json_of,
    parse,
    payload_of,
    publisher_of,
    wanted_of,
)
from .policy.rules import Operation
from .signals import signals as signals  # where code of 2011 imports it from
from .users.accounts import username
from .users.identity import EXPIRED, IdentityError, by_name, identify, verify
from .users.sessions import MARK, make_read_only
from .wire import bodies, nodes, records, replies, webhooks
from .wire.fields import FieldProblem
from .wire.options import LATER
from .wire.replies import (
    ConnectReply,
    CreateReply,
    Decided,
    EmptyReply,
    MessageReply,
    MoreReply,
    PublishReply,
    RecheckReply,
    Refused,
    SubscribeManyReply,
    SubscribeReply,
    UnsubscribeReply,
)
from .wire.values import MAX_DOCUMENT_DEPTH
from .wire.webhooks import AnyWebhook

logger = logging.getLogger("djhookbox.webhook")

R = TypeVar("R")

View = Callable[[HttpRequest], HttpResponse]
WebhookView = Callable[[HttpRequest, Call[AnyWebhook]], Answer]

#: The views by the names of their webhooks.
VIEWS: dict[str, View] = {}

#: The functions behind them that may be called for one call of a batch, and their webhooks.
_BATCHABLE: dict[str, tuple[type[webhooks.Webhook[Any]], WebhookView[Any]]] = {}

#: The beginning of the X-Hookbox-Version of the embedded server.
OUR_SERVER = "djhookbox/"


def webhook(kind: type[AnyWebhook]) -> Callable[[WebhookView[AnyWebhook]], View]:
    """Only let genuine, well-formed calls reach a view.

    The secret replaces the CSRF token and a login. The view is exempt from `ATOMIC_REQUESTS`, so
    that a row that the database refuses does not undo what handlers and receivers have written;
    these run in their own transaction.
    """

    def decorator(view: WebhookView[AnyWebhook]) -> View:
        @csrf_exempt
        @login_not_required
        @transaction.non_atomic_requests
        @sensitive_post_parameters(
            "secret", "token", "payload", "identity", "events", "calls", "connections"
        )
        @wraps(view)
        def wrapper(request: HttpRequest) -> HttpResponse:
            reply = _guarded(request, kind, view)
            response = HttpResponse(
                reply.text, status=reply.status, content_type="application/json"
            )
            if reply.status == 405:
                response.headers["Allow"] = "POST"
            response.headers["X-Hookbox-Accepts"] = ", ".join(accepted())
            return response

        setattr(wrapper, MARK, True)
        VIEWS[kind.name] = wrapper
        if kind in webhooks.BATCHABLE:
            _BATCHABLE[kind.name] = (kind, view)
        return wrapper

    return decorator


def _guarded(request: HttpRequest, kind: type[AnyWebhook], view: WebhookView[AnyWebhook]) -> Answer:
    make_read_only(request)
    if request.method != "POST":
        return _answer(Refused(_("Webhooks must be sent by POST."), "malformed"), status=405)
    embedded = request.headers.get("X-Hookbox-Version", "").startswith(OUR_SERVER)
    try:
        fields = _fields(request)
        if not _is_genuine(fields.get("secret", "")):
            return _answer(Refused(_("Forbidden.")), status=403)
        boot = request.headers.get(nodes.BOOT_HEADER, "")
        return view(request, parse(kind, fields, embedded=embedded, boot=boot))
    except TooLarge as error:
        logger.warning("Refused the %s webhook: %s", kind.name, error)
        return _answer(Refused(str(error), "limit"), status=413)
    except MalformedCall as error:
        return _malformed(error, kind.name)


def _malformed(error: MalformedCall, name: str) -> Answer:
    logger.warning("Received a malformed %s webhook: %s", name, error)
    return _answer(Refused(str(error), "malformed"), status=400)


_answering = Answering(_BATCHABLE, _malformed)


class TooLarge(ValueError):
    """A webhook is larger than this site accepts; the message names the setting."""


@sensitive_variables()
def _fields(request: HttpRequest) -> dict[str, str]:
    """Return the fields of a webhook, which is a form or JSON; no fields if it is neither.

    Raises:
        TooLarge: It is larger than the site accepts.

    """
    if request.content_type != bodies.JSON_TYPE:
        try:
            return request.POST.dict()
        except RequestDataTooBig:
            raise TooLarge(_("The form is larger than DATA_UPLOAD_MAX_MEMORY_SIZE.")) from None
        except TooManyFieldsSent:
            raise TooLarge(
                _("The form has more fields than DATA_UPLOAD_MAX_NUMBER_FIELDS.")
            ) from None
    limit = bodies.largest_body(settings.max_frame_size)
    # Not `request.body`, which has the limit of forms.
    body = request.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(
            _(
                "The body is larger than %(limit)d bytes, the limit derived from "
                "HOOKBOX_MAX_FRAME_SIZE."
            )
            % {"limit": limit}
        )
    try:
        return bodies.from_json(body)
    except ValueError:
        logger.warning("The body of a webhook is not a JSON object of strings.")
        return {}  # without a secret, so it is refused


@sensitive_variables("given")
def _is_genuine(given: str) -> bool:
    """Compare with every accepted secret, in a time that does not depend on what matches."""
    fits = [constant_time_compare(given, secret) for secret in settings.webhook_secrets]
    return any(fits)


def _answer(reply: object, status: int = 200) -> Answer:
    return Answer(status, strict_json.write(replies.write(reply), max_depth=MAX_DOCUMENT_DEPTH))


def _reply(kind: type[R], decision: Decision, **more: object) -> R | Refused:
    """Return the reply with a decision.

    Args:
        kind: The class of the reply if the decision is a permission.
        decision: The decision.
        **more: Fields of the reply in addition to the decision's options.

    """
    if not decision.allowed:
        return Refused(decision.reason, decision.code)
    unusable: list[FieldProblem] = []
    reply = records.read(kind, {**decision.options, **more}, tolerated=unusable)
    for problem in unusable:
        logger.error("%s returned an unusable option: %s.", decision.decided_by, problem)
    return reply


def _expired() -> Decision:
    return refused(_("session expired"), "identity", EXPIRED)


def _decide(
    request: HttpRequest,
    call: Call[AnyWebhook],
    operation: Operation,
    channel: str,
    user_name: str,
    payload: object = None,
) -> tuple[Decision, str]:
    """Decide for the connection's user; an ended session is refused, not made anonymous."""
    user = verify(request, call.caller.identity, user_name)
    if user is None:
        return _expired(), user_name
    return decide(operation, user, channel, payload=payload), user_name or username(user)


def _leaving_user(request: HttpRequest, call: Call[AnyWebhook], name: str) -> User:
    """Return the user who leaves, even if the session has ended by now."""
    return verify(request, call.caller.identity, name) or by_name(name)


@webhook(webhooks.Connect)
def connect(request: HttpRequest, call: Call[webhooks.Connect]) -> Answer:
    """Name the user of a new connection."""
    webhook = call.webhook
    payload = json_of("payload", webhook.payload)
    try:
        visitor = identify(request, webhook.token, webhook.expected_user, call.caller.conn_id)
    except IdentityError as error:
        decision = refused(str(error), "identity", error.code)
        writing.write_connection(call, webhook.expected_user, decision)
        return _answer(_reply(ConnectReply, decision))
    decision = decide(Operation.CONNECT, visitor.user, payload=payload)
    writing.write_connection(call, visitor.name, decision)
    more: dict[str, object] = {"name": visitor.name}
    if call.embedded:
        more["identity"] = visitor.identity
        if visitor.single_use:
            more["single_use"] = settings.token_max_age
    return _answer(_reply(ConnectReply, decision, **more))


@webhook(webhooks.Disconnect)
def disconnect(request: HttpRequest, call: Call[webhooks.Disconnect]) -> Answer:
    """Record that a user's last connection has closed."""
    decision = decide(Operation.DISCONNECT, _leaving_user(request, call, call.webhook.user_name))
    if not call.embedded:  # the embedded one reports each connection as an event, with more details
        writing.write_disconnection(call)
    return _answer(_reply(EmptyReply, decision))


@webhook(webhooks.CreateChannel)
def create_channel(request: HttpRequest, call: Call[webhooks.CreateChannel]) -> Answer:
    """Return a channel's options, or refuse to create it."""
    channel = call.webhook.channel_name
    decision, name = _decide(request, call, Operation.CREATE, channel, call.caller.user)
    kinds = SubscriptionLog.Event
    writing.write_subscription(call, channel, name, decision, kinds.CREATE, kinds.CREATE_REFUSED)
    # 0.3.3 refuses channels with unknown options; those set explicitly are sent anyway.
    left_out = frozenset() if call.embedded else LATER - decision.explicit
    options = {key: value for key, value in decision.options.items() if key not in left_out}
    return _answer(_reply(CreateReply, replace(decision, options=options)))


@webhook(webhooks.DestroyChannel)
def destroy_channel(request: HttpRequest, call: Call[webhooks.DestroyChannel]) -> Answer:
    """Allow a channel without subscribers to be destroyed."""
    channel = call.webhook.channel_name
    decision = decide(Operation.DESTROY, AnonymousUser(), channel)
    if decision.allowed:
        event = SubscriptionLog.Event.DESTROY
        writing.write_subscription(call, channel, call.caller.user, decision, event, event)
    return _answer(_reply(EmptyReply, decision))


@webhook(webhooks.Subscribe)
def subscribe(request: HttpRequest, call: Call[webhooks.Subscribe]) -> Answer:
    """Decide whether a user may subscribe to a channel."""
    webhook, kinds = call.webhook, SubscriptionLog.Event
    channel = webhook.channel_name
    decision, name = _decide(request, call, Operation.SUBSCRIBE, channel, webhook.user)
    writing.write_subscription(call, channel, name, decision, kinds.SUBSCRIBE, kinds.REFUSED)
    return _answer(_reply(SubscribeReply, decision))


@webhook(webhooks.SubscribeMany)
def subscribe_many(request: HttpRequest, call: Call[webhooks.SubscribeMany]) -> Answer:
    """Decide about many channels of one connection, each as if it were requested alone."""
    wanted, name = wanted_of(call), call.webhook.user
    user = verify(request, call.caller.identity, name)
    if user is None:
        decision = _expired()
        first = {True: Operation.CREATE, False: Operation.SUBSCRIBE}
        refusals = [(each.channel_name, first[each.create], decision) for each in wanted]
        writing.write_subscriptions(call, name, refusals)
        return _answer(_reply(EmptyReply, decision))
    decided = decide_many(user, wanted)
    writing.write_subscriptions(call, name, decided)
    answers: dict[str, Decided] = {}
    for channel, operation, decision in decided:
        if operation is Operation.CREATE:
            answers[channel] = Decided(create=_reply(CreateReply, decision))
        else:
            earlier = answers.get(channel, Decided())
            answers[channel] = replace(earlier, subscribe=_reply(SubscribeReply, decision))
    return _answer(SubscribeManyReply(answers))


@webhook(webhooks.Unsubscribe)
def unsubscribe(request: HttpRequest, call: Call[webhooks.Unsubscribe]) -> Answer:
    """Record that a user leaves a channel."""
    channel, name = call.webhook.channel_name, call.webhook.user
    decision = decide(Operation.UNSUBSCRIBE, _leaving_user(request, call, name), channel)
    kinds = SubscriptionLog.Event
    writing.write_subscription(call, channel, name, decision, kinds.UNSUBSCRIBE, kinds.REFUSED)
    return _answer(_reply(UnsubscribeReply, decision))


@webhook(webhooks.Publish)
def publish(request: HttpRequest, call: Call[webhooks.Publish]) -> Answer:
    """Decide whether a browser may publish."""
    channel, payload = call.webhook.channel_name, payload_of(call)
    if call.webhook.key:
        return _publish_durably(request, call, payload)
    decision, name = _decide(request, call, Operation.PUBLISH, channel, publisher_of(call), payload)
    publication = writing.write_publication(call, payload, name, decision)
    # For the event with the number of receivers.
    more = {"publication": publication} if call.embedded and publication is not None else {}
    return _answer(_reply(PublishReply, decision, **more))


def _publish_durably(request: HttpRequest, call: Call[webhooks.Publish], payload: object) -> Answer:
    """Decide, and store what may be published; the publish history gets its row with its number."""
    channel = call.webhook.channel_name
    if call.caller.conn_id:
        name = publisher_of(call)
        user = verify(request, call.caller.identity, name)
    else:  # a REST call, whose caller has proved the secret
        name = call.webhook.user
        user = by_name(name)
    more: dict[str, object] = {}
    if user is None:
        decision = _expired()
    else:
        name = name or username(user)
        browser = call.caller.conn_id
        source = Publication.Source.CLIENT if browser else Publication.Source.REST
        submission = Submission(channel, payload, name, call.webhook.key, browser, source)
        try:
            decision, more = submit(submission, user)
        except DatabaseError:
            logger.exception("A publication to %s could not be stored.", channel)
            return _answer(Refused(_("The database is busy."), "unavailable"), status=503)
    if not more:
        publication = writing.write_publication(call, payload, name, decision)
        more = {} if publication is None else {"publication": publication}
    return _answer(_reply(PublishReply, decision, **more))


@webhook(webhooks.Message)
def message(request: HttpRequest, call: Call[webhooks.Message]) -> Answer:
    """Decide whether a user may send a message to another user."""
    webhook = call.webhook
    payload = json_of("payload", webhook.payload)
    decision, _name = _decide(
        request, call, Operation.MESSAGE, webhook.recipient, webhook.sender, payload
    )
    return _answer(_reply(MessageReply, decision))


@webhook(webhooks.Events)
def events(request: HttpRequest, call: Call[webhooks.Events]) -> Answer:
    """Record events that no webhook has decided; close what dead processes left open."""
    reported = events_of(call)
    sender = Sender(call.node, call.webhook.node) if call.node else None
    try:
        record(reported, sender)
    except UNAVAILABLE:
        logger.exception("%d events could not be written now.", len(reported))
        return _answer(Refused(_("The database is busy."), "unavailable"), status=503)
    more = sender is not None and close_what_is_open(sender, time_to_close())
    return _answer(MoreReply(more))


@webhook(webhooks.Batch)
def batch(request: HttpRequest, call: Call[webhooks.Batch]) -> Answer:
    """Answer many webhooks, each as if it had been made alone, or ask for that."""
    return Answer(200, _answering.answer(request, call))


@webhook(webhooks.Recheck)
def recheck(request: HttpRequest, call: Call[webhooks.Recheck]) -> Answer:
    """Return which subscriptions an edit has ended, and which options it has changed."""
    return _answer(RecheckReply(recheck_channels(call.webhook.channels)))


@webhook(webhooks.Confirm)
def confirm(request: HttpRequest, call: Call[webhooks.Confirm]) -> Answer:
    """Return which connections must end, as their sessions or accounts have ended."""
    seconds = settings.webhook_timeout / 3
    try:
        return _answer(confirming.confirm(request, call.webhook.connections, seconds))
    except DatabaseError as error:
        logger.warning("Identities could not be confirmed now: %s", error)
        return _answer(Refused(_("The database is busy."), "unavailable"), status=503)


@webhook(webhooks.Outbox)
def outbox(request: HttpRequest, call: Call[webhooks.Outbox]) -> Answer:
    """Number what was committed to the outbox, and return what the process lacks."""
    try:
        pulled = pulling.pull(call.webhook)
    except DatabaseError as error:
        logger.warning("The outbox could not be read now: %s", error)
        return _answer(Refused(_("The database is busy."), "unavailable"), status=503)
    return _answer(pulled)


@webhook(webhooks.Prune)
def prune(request: HttpRequest, call: Call[webhooks.Prune]) -> Answer:
    """Delete old audit log entries within the server's timeout; report whether there are more."""
    days = settings.log_days
    if not days:
        return _answer(MoreReply())
    try:
        done = pruning.prune(days, seconds=settings.webhook_timeout / 3)
        retention.forget(heads.database(), days)
    except DatabaseError:
        logger.exception("Could not prune the audit log.")
        return _answer(Refused(_("The database is busy."), "unavailable"), status=503)
    return _answer(MoreReply(more=not done.complete))
