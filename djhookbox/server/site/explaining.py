"""Read the answers to webhooks, and explain those that are not what they should be."""

from __future__ import annotations

from ...wire import bodies, replies
from ...wire.replies import Refused
from ...wire.values import MAX_DOCUMENT_DEPTH, loads


def explain(status: int, location: str, said: str, size: int) -> str:
    """Explain an answer with a status other than 200.

    Args:
        status: The status.
        location: The target of a redirect.
        said: The error that the site's own view reported; "" if the answer is not from there.
        size: The size of the call in bytes.

    """
    if said and status != 403:
        return f"status {status}, the site says: {said}"
    if status == 400 and size > bodies.LARGEST_FORM:
        return (
            f"status 400: the site refuses a call of {size} bytes before it reaches the webhook's "
            "view. See the site's log: if it says RequestDataTooBig, a middleware reads the body; "
            "if it says DisallowedHost, check ALLOWED_HOSTS"
        )
    hints = {
        413: f"a proxy in front of the site refuses a call of {size} bytes: raise its limit "
        "(nginx: client_max_body_size)",
        301: f"redirected to {location}: check SECURE_SSL_REDIRECT and HOOKBOX_WEBHOOK_URL",
        302: f"redirected to {location}: is a login required for the webhooks, or is "
        "include('djhookbox.urls') in i18n_patterns()?",
        400: "the site calls it malformed: does ALLOWED_HOSTS accept this host, and has its name "
        "no underscore?",
        403: "the site refuses the secret: compare HOOKBOX_WEBHOOK_SECRET on both sides",
        404: "nothing is there: is include('djhookbox.urls') at HOOKBOX_CBPATH?",
    }
    return f"status {status}, {hints.get(status, 'see the log of the site')}"


def said_in(answer: bytearray) -> str:
    """Return the error in an answer of the site's view, or "" if there is none."""
    try:
        return said(parse(answer))
    except ValueError:
        return ""


def said(value: object) -> str:
    """Return the error in the JSON value of an answer, or "" if there is none."""
    try:
        reply = replies.read(replies.EmptyReply, value)
    except ValueError:
        return ""
    return reply.reason if isinstance(reply, Refused) else ""


def explain_certificate(error: Exception) -> str:
    """Explain why the certificate of the site was rejected."""
    reason = getattr(error, "verify_message", "") or str(error)
    return (
        f"its certificate was rejected: {reason}; if a private CA has signed it, set "
        "HOOKBOX_CA_FILE"
    )


def parse(answer: bytearray, max_depth: int = MAX_DOCUMENT_DEPTH) -> object:
    """Return the JSON value of an answer.

    Raises:
        ValueError: If it is not JSON.

    """
    try:
        return loads(answer, max_depth=max_depth)
    except ValueError:
        raise ValueError(f"the answer is not JSON: {bytes(answer[:80])!r}") from None
