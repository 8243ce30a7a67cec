"""The webhook views: verify, parse, decide, log, answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps

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
from .accounts import username
from .audit import pruning, writing
from .audit.nodes import Sender, close_what_is_open, time_to_close
from .audit.reported import record
from .conf import settings
from .decisions.decide import Decision, User, decide, refused
from .decisions.many import decide_many
from .decisions.rechecks import recheck as recheck_channels
from .identity import EXPIRED, IdentityError, by_name, identify, verify
from .models import SubscriptionLog
from .options import LATER
from .parsing import Call, MalformedCall, parse
from .policy.rules import Operation
from .sessions import MARK, make_read_only
from .signals import signals as signals  # where the code of 2011 finds them
from .wire import bodies, capabilities, nodes
from .wire.values import MAX_DOCUMENT_DEPTH

logger = logging.getLogger("djhookbox.webhook")

View = Callable[[HttpRequest, Call], HttpResponse]

#: Tells the server which webhooks we know besides those of 0.3.3, so that it may send them; and
#: that its own channel is closed here to all but the operators, so that it may report there.
ACCEPTS = ", ".join(capabilities.ALL)

#: Begins the X-Hookbox-Version of the embedded server.
OUR_SERVER = "djhookbox/"


def webhook(action: str) -> Callable[[View], Callable[[HttpRequest], HttpResponse]]:
    """Let only genuine, well-formed calls reach a view.

    The secret takes the place of the CSRF token and of a login. Outside of `ATOMIC_REQUESTS`,
    so that a row the database refuses does not undo what handlers and receivers have written;
    these run in a transaction of their own.
    """

    def decorator(view: View) -> Callable[[HttpRequest], HttpResponse]:
        @csrf_exempt
        @login_not_required
        @transaction.non_atomic_requests
        @sensitive_post_parameters("secret", "token", "payload", "identity", "events")
        @wraps(view)
        def wrapper(request: HttpRequest) -> HttpResponse:
            response = _guarded(request, action, view)
            response.headers["X-Hookbox-Accepts"] = ACCEPTS
            return response

        setattr(wrapper, MARK, True)
        return wrapper

    return decorator


def _guarded(request: HttpRequest, action: str, view: View) -> HttpResponse:
    make_read_only(request)
    if request.method != "POST":
        response = _answer(refused(_("Webhooks are sent by POST."), code="malformed"), status=405)
        response.headers["Allow"] = "POST"
        return response
    ours = request.headers.get("X-Hookbox-Version", "").startswith(OUR_SERVER)
    try:
        fields = _fields(request)
        if not _is_genuine(fields.get("secret", "")):
            return _answer(refused(_("Forbidden.")), status=403)
        boot = request.headers.get(nodes.BOOT_HEADER, "")
        call = parse(action, fields, ours=ours, boot=boot)
    except TooLarge as error:
        logger.warning("The webhook %s was refused: %s", action, error)
        return _answer(refused(str(error), code="limit"), status=413)
    except MalformedCall as error:
        logger.warning("A malformed %s webhook: %s", action, error)
        return _answer(refused(str(error), code="malformed"), status=400)
    return view(request, call)


class TooLarge(ValueError):
    """A webhook that is longer than this site reads; the text names the setting."""


@sensitive_variables()
def _fields(request: HttpRequest) -> dict[str, str]:
    """Return the fields of a webhook, a form or JSON; none if it is neither.

    Raises:
        TooLarge: The site does not read as much.

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
    # Not `request.body`, which is limited as forms are.
    body = request.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(
            _("The body is larger than %(limit)d bytes, which follows from HOOKBOX_MAX_FRAME_SIZE.")
            % {"limit": limit}
        )
    try:
        return bodies.from_json(body)
    except ValueError:
        logger.warning("The body of a webhook is not a JSON object of strings.")
        return {}  # which has no secret


@sensitive_variables("given")
def _is_genuine(given: str) -> bool:
    """Compare with every accepted secret, in a time that does not tell which or how much fits."""
    fits = [constant_time_compare(given, secret) for secret in settings.webhook_secrets]
    return any(fits)


def _answer(
    decision: Decision, options: dict[str, object] | None = None, status: int = 200
) -> HttpResponse:
    body = _body(decision, options)
    text = strict_json.write(body, max_depth=MAX_DOCUMENT_DEPTH)
    return HttpResponse(text, status=status, content_type="application/json")


def _body(decision: Decision, options: dict[str, object] | None = None) -> list[object]:
    if decision.allowed:
        return [True, dict(decision.options) if options is None else options]
    # 0.3.3 reads `error`; django-hookbox of 2011 sent `msg`.
    reason = decision.reason
    return [False, {"error": reason, "msg": reason, "code": decision.code}]


def _expired() -> Decision:
    return refused(_("session expired"), "identity", EXPIRED)


def _decide(
    request: HttpRequest, call: Call, operation: Operation, *, channel: str = ""
) -> tuple[Decision, str]:
    """Decide for the user of the connection; a session that has ended is never anonymous."""
    user = verify(request, call.identity, call.user)
    if user is None:
        return _expired(), call.user
    name = call.user or username(user)
    return decide(operation, user, channel or call.channel, payload=call.payload), name


def _leaving_user(request: HttpRequest, call: Call) -> User:
    """Return who leaves; that the session has ended meanwhile is no reason not to."""
    return verify(request, call.identity, call.user) or by_name(call.user)


@webhook("connect")
def connect(request: HttpRequest, call: Call) -> HttpResponse:
    """Name the user of a new connection."""
    try:
        visitor = identify(request, call.token, call.expected_user, call.connection)
    except IdentityError as error:
        decision = refused(str(error), "identity", error.code)
        writing.write_connection(call, call.expected_user, decision)
        return _answer(decision)
    decision = decide(Operation.CONNECT, visitor.user, payload=call.payload)
    writing.write_connection(call, visitor.name, decision)
    options: dict[str, object] = {**decision.options, "name": visitor.name}
    if call.ours:
        options["identity"] = visitor.identity
        if visitor.single_use:
            options["single_use"] = settings.token_max_age
    return _answer(decision, options)


@webhook("disconnect")
def disconnect(request: HttpRequest, call: Call) -> HttpResponse:
    """Take note that the last connection of a user has gone."""
    decision = decide(Operation.DISCONNECT, _leaving_user(request, call))
    if not call.ours:  # ours reports each connection among the events, with more to tell
        writing.write_disconnection(call)
    return _answer(decision, {})


@webhook("create_channel")
def create_channel(request: HttpRequest, call: Call) -> HttpResponse:
    """Give a channel its options, or refuse to let it come into being."""
    decision, name = _decide(request, call, Operation.CREATE)
    kinds = SubscriptionLog.Event
    writing.write_subscription(call, name, decision, kinds.CREATE, kinds.CREATE_REFUSED)
    options = dict(decision.options)
    if not call.ours:
        # 0.3.3 refuses channels for options that it does not know; who set them meant them.
        for option in LATER - decision.explicit:
            options.pop(option, None)
    return _answer(decision, options)


@webhook("destroy_channel")
def destroy_channel(request: HttpRequest, call: Call) -> HttpResponse:
    """Let a channel go that nobody is subscribed to."""
    decision = decide(Operation.DESTROY, AnonymousUser(), call.channel)
    if decision.allowed:
        event = SubscriptionLog.Event.DESTROY
        writing.write_subscription(call, call.user, decision, event, event)
    return _answer(decision, {})


@webhook("subscribe")
def subscribe(request: HttpRequest, call: Call) -> HttpResponse:
    """Let a user read a channel, or not."""
    decision, name = _decide(request, call, Operation.SUBSCRIBE)
    kinds = SubscriptionLog.Event
    writing.write_subscription(call, name, decision, kinds.SUBSCRIBE, kinds.REFUSED)
    return _answer(decision)


@webhook("subscribe_many")
def subscribe_many(request: HttpRequest, call: Call) -> HttpResponse:
    """Decide about many channels that one connection wants, as for each of them alone."""
    user = verify(request, call.identity, call.user)
    if user is None:
        decision = _expired()
        first = {True: Operation.CREATE, False: Operation.SUBSCRIBE}
        refusals = [(each.channel, first[each.create], decision) for each in call.wanted]
        writing.write_subscriptions(call, call.user, refusals)
        return _answer(decision)
    decided = decide_many(user, call.wanted)
    writing.write_subscriptions(call, call.user, decided)
    answers: dict[str, dict[str, object]] = {}
    for channel, operation, decision in decided:
        answers.setdefault(channel, {})[operation.value] = _body(decision)
    return _answer(Decision(True), {"channels": answers})


@webhook("unsubscribe")
def unsubscribe(request: HttpRequest, call: Call) -> HttpResponse:
    """Take note that a user leaves a channel."""
    user = _leaving_user(request, call)
    decision = decide(Operation.UNSUBSCRIBE, user, call.channel)
    kinds = SubscriptionLog.Event
    writing.write_subscription(call, call.user, decision, kinds.UNSUBSCRIBE, kinds.REFUSED)
    return _answer(decision)


@webhook("publish")
def publish(request: HttpRequest, call: Call) -> HttpResponse:
    """Let a browser publish, or not."""
    decision, name = _decide(request, call, Operation.PUBLISH)
    publication = writing.write_publication(call, name, decision)
    options = dict(decision.options)
    if call.ours and publication is not None:
        options["publication"] = publication  # for the event that says how many it reached
    return _answer(decision, options)


@webhook("message")
def message(request: HttpRequest, call: Call) -> HttpResponse:
    """Let a user send something to another, or not."""
    decision, _name = _decide(request, call, Operation.MESSAGE, channel=call.recipient)
    return _answer(decision)


@webhook("events")
def events(request: HttpRequest, call: Call) -> HttpResponse:
    """Write down what no webhook decided; close what dead processes have left open."""
    sender = Sender(call.node, call.address) if call.node else None
    try:
        record(call.events, sender)
    except writing.UNAVAILABLE:
        logger.exception("%d events could not be written now.", len(call.events))
        return _answer(refused(_("The database is busy."), code="unavailable"), status=503)
    more = sender is not None and close_what_is_open(sender, time_to_close())
    return _answer(Decision(True), {"more": True} if more else {})


@webhook("recheck")
def recheck(request: HttpRequest, call: Call) -> HttpResponse:
    """Say which subscriptions an edit has ended, and which options it has changed."""
    return _answer(Decision(True), {"channels": recheck_channels(call.channels)})


@webhook("prune")
def prune(request: HttpRequest, call: Call) -> HttpResponse:
    """Delete old log entries, for no longer than the server waits; say if there are more."""
    days = settings.log_days
    if not days:
        return _answer(Decision(True), {"more": False})
    try:
        done = pruning.prune(days, seconds=settings.webhook_timeout / 3)
    except DatabaseError:
        logger.exception("The logs could not be pruned now.")
        return _answer(refused(_("The database is busy."), code="unavailable"), status=503)
    return _answer(Decision(True), {"more": not done.complete})
