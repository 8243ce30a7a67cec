"""Let only genuine, well-formed webhooks reach a view, and write its answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from . import strict_json, tracing
from .batches.answering import Answer
from .batches.rule import accepted
from .conf import settings
from .parsing import MalformedWebhook, Received, parse
from .users.sessions import MARK, make_read_only
from .wire import bodies, nodes, replies, webhooks
from .wire.replies import Refused
from .wire.values import MAX_DOCUMENT_DEPTH
from .wire.webhooks import AnyWebhook

logger = logging.getLogger("djhookbox.webhook")

View = Callable[[HttpRequest], HttpResponse]
WebhookView = Callable[[HttpRequest, Received[AnyWebhook]], Answer]

#: The views by the names of their webhooks.
VIEWS: dict[str, View] = {}

#: Those whose webhooks may be part of a batch: the webhook, and the function behind the view.
BATCHABLE: dict[str, tuple[type[webhooks.Webhook[object]], WebhookView[Any]]] = {}

#: The beginning of the X-Hookbox-Version of the bundled server.
OUR_SERVER = "djhookbox/"


def webhook(kind: type[AnyWebhook]) -> Callable[[WebhookView[AnyWebhook]], View]:
    """Let only genuine, well-formed webhooks reach a view.

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
            with tracing.webhook(request, kind.name):
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
            BATCHABLE[kind.name] = (kind, view)
        return wrapper

    return decorator


def _guarded(request: HttpRequest, kind: type[AnyWebhook], view: WebhookView[AnyWebhook]) -> Answer:
    make_read_only(request)
    if request.method != "POST":
        return answer(Refused(_("Webhooks must be sent by POST."), "malformed"), status=405)
    embedded = request.headers.get("X-Hookbox-Version", "").startswith(OUR_SERVER)
    try:
        fields = _fields(request)
        if not _is_genuine(fields.get("secret", "")):
            return answer(Refused(_("Forbidden.")), status=403)
        boot = request.headers.get(nodes.BOOT_HEADER, "")
        explain = nodes.EXPLAIN_HEADER in request.headers
        received = parse(kind, fields, embedded=embedded, boot=boot, explain=explain)
        return view(request, received)
    except TooLarge as error:
        logger.warning("Refused the %s webhook: %s", kind.name, error)
        return answer(Refused(str(error), "limit"), status=413)
    except MalformedWebhook as error:
        return malformed(error, kind.name)


def malformed(error: MalformedWebhook, name: str) -> Answer:
    """Log that a webhook of this name is malformed, and return the answer."""
    logger.warning("Received a malformed %s webhook: %s", name, error)
    return answer(Refused(str(error), "malformed"), status=400)


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


def answer(reply: object, status: int = 200) -> Answer:
    """Return a reply as an answer."""
    return Answer(status, strict_json.write(replies.write(reply), max_depth=MAX_DOCUMENT_DEPTH))
