"""Make REST calls over HTTP; the only user of `requests`.

Connections are kept alive and pooled. A call is never sent twice: a publication must not be
duplicated, and nobody can tell whether a process that did not answer has carried it out. Instead,
stale connections are avoided: urllib3 notices a connection that the process has closed (for
example by a restart) before it is used, and connections that have been idle for longer than
`IDLE_SECONDS` are not used, so that no call meets a server that is closing its connection.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import cast

import requests
from django.utils.translation import gettext as _
from urllib3.util import Timeout

from .. import certificates, isolation, strict_json
from ..conf import settings
from ..exceptions import (
    HookboxMisconfigured,
    HookboxNotRunning,
    HookboxRefused,
    HookboxUnreachable,
    PayloadError,
)
from ..genuine import limits
from ..wire.proof import SECRET_HEADER, to_header

#: How long an idle connection may still be used; below any server's keep-alive timeout.
IDLE_SECONDS = 10.0
#: Idle sessions to keep; more may be in use at once.
MAX_IDLE_SESSIONS = 16

# Each session is used by one thread at a time. The deque's methods are atomic, so there is no
# lock that a fork could leave locked. Entries: the time of the last use, and the session.
_idle: deque[tuple[float, requests.Session]] = deque()


def forget_sessions() -> None:
    """Start with an empty pool: a child process must not use its parent's connections."""
    while True:
        try:
            _at, session = _idle.pop()
        except IndexError:
            return
        session.close()


os.register_at_fork(after_in_child=forget_sessions)


def _new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # ignore proxies and .netrc of the environment
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


@contextmanager
def _session() -> Iterator[requests.Session]:
    session = None
    while session is None:
        try:
            used, candidate = _idle.pop()  # the most recently used one, so that surplus ones expire
        except IndexError:
            session = _new_session()
            break
        if time.monotonic() - used < IDLE_SECONDS:
            session = candidate
        else:
            candidate.close()
    try:
        yield session
    except BaseException:
        session.close()  # its connection may be in the middle of an answer
        raise
    if len(_idle) < MAX_IDLE_SESSIONS:
        _idle.append((time.monotonic(), session))
    else:
        session.close()


def _authorities(url: str) -> str | bool:
    """Return what requests verifies certificates with."""
    return (certificates.ca_path() or True) if url.startswith("https:") else True


def to_json(value: object) -> str:
    """Format a value as JSON text, as Django would.

    Raises:
        PayloadError: It is not JSON, or is longer than `HOOKBOX_MAX_PAYLOAD_SIZE`; the text names
            the type or size.

    """
    try:
        text = strict_json.write(value)
    except (TypeError, ValueError) as error:
        raise PayloadError(
            _("This cannot be written as JSON: %(problem)s.") % {"problem": error},
            code="malformed",
        ) from error
    # ASCII, so that characters are bytes.
    if len(text) > settings.max_payload_size:
        raise PayloadError(
            _(
                "This is %(size)d bytes of JSON, but at most %(limit)d can be sent at once. "
                "Send less, send a URL to fetch it from, or raise HOOKBOX_MAX_PAYLOAD_SIZE "
                "(and restart the Hookbox process)."
            )
            % {"size": len(text), "limit": settings.max_payload_size},
            code="limit",
        )
    return text


def rest_call(call: str, seconds: float | None = None, /, **form: str | None) -> dict[str, object]:
    """Make one REST call and return the object of its answer.

    Arguments that are None are omitted.

    Args:
        call: The name of the call.
        seconds: Maximum time to wait for the answer, if not `HOOKBOX_TIMEOUT`.
        form: Its fields.

    Raises:
        HookboxRefused: The server refused.
        PayloadError: The server accepts less than `HOOKBOX_MAX_PAYLOAD_SIZE`.
        HookboxUnreachable: There was no answer within `HOOKBOX_TIMEOUT`.
        HookboxMisconfigured: It is not a Hookbox process, or has another secret.

    """
    url = f"{settings.rest_url}/rest/{call}"
    if settings.executable:
        limits.require_ascii(form.get("channel_name"), form.get("name"))
    # The secret comes first, and in the body: URLs end up in access logs.
    body = {"secret": ""} | {name: value for name, value in form.items() if value is not None}
    for name, value in body.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise PayloadError(
                _("“%(name)s” contains a lone surrogate, which cannot be sent: %(value)s.")
                % {"name": name, "value": ascii(value)[:100]},
                code="malformed",
            ) from None
    body["secret"] = settings.rest_secrets[0]
    if isolation.is_isolated():
        if (stand_in := isolation.stand_in()) is None:
            return isolation.answer(call)
        response = requests.Response()
        response.status_code, text = stand_in(call, body)
        response._content = text.encode()
        return _read_answer(call, response)
    timeout = settings.timeout if seconds is None else seconds
    try:
        with _session() as session:
            response = session.post(
                url,
                data=body,
                headers={SECRET_HEADER: to_header(body["secret"])},
                # `total` bounds connecting and waiting for the answer together; requests hands
                # it on to urllib3, only its stubs do not know.
                timeout=cast(float, Timeout(total=timeout)),
                allow_redirects=False,
                verify=_authorities(url),
            )
    except requests.exceptions.SSLError as error:
        raise HookboxMisconfigured(certificates.explain(settings.rest_url, error)) from error
    except requests.Timeout as error:
        text = _(
            "The Hookbox process at %(url)s did not answer within %(seconds)s seconds. "
            "Is it running? Start it with “manage.py runhookbox”."
        )
        if settings.executable:
            text = _(
                "The Hookbox process at %(url)s did not answer within %(seconds)s seconds. If "
                "it is Hookbox 0.3.3, it calls this site before it answers, so the site needs "
                "a second worker or thread."
            )
        raise HookboxUnreachable(
            text % {"url": settings.rest_url, "seconds": f"{timeout:g}"}, code="unavailable"
        ) from error
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        kind = HookboxNotRunning if certificates.is_refused(error) else HookboxUnreachable
        raise kind(
            _(
                "The Hookbox process at %(url)s cannot be reached. "
                "Is it running? Start it with “manage.py runhookbox”."
            )
            % {"url": settings.rest_url},
            code="unavailable",
        ) from error
    except requests.RequestException as error:
        raise HookboxMisconfigured(
            _("The request to %(url)s failed: %(problem)s. Check HOOKBOX_REST_URL.")
            % {"url": url, "problem": error}
        ) from error
    return _read_answer(call, response)


def _read_answer(call: str, response: requests.Response) -> dict[str, object]:
    if response.status_code == 413:
        raise PayloadError(
            _(
                "%(url)s rejected this as too large (413). HOOKBOX_MAX_PAYLOAD_SIZE must be "
                "the same for Django and the Hookbox process (restart it after a change), and "
                "a proxy between them must allow the same size."
            )
            % {"url": settings.rest_url},
            status=413,
            code="limit",
        )
    try:
        success, answer = response.json()
        if not isinstance(answer, dict):
            raise TypeError(answer)
    except (ValueError, TypeError, RecursionError) as error:
        if response.status_code == 404 and limits.is_not_found(response.headers, response.text):
            limits.require_known(call, 404)
        raise HookboxMisconfigured(
            _(
                "%(url)s did not answer “%(call)s” like a Hookbox process (HTTP status "
                "%(status)d). HOOKBOX_REST_URL, or HOOKBOX_INTERFACE and HOOKBOX_PORT, must "
                "name the address on which runhookbox listens."
            )
            % {"url": settings.rest_url, "call": call, "status": response.status_code},
            status=response.status_code,
        ) from error
    if success and response.status_code == 200:
        return answer
    reason = answer.get("msg") or answer.get("error") or ""
    if reason == "Invalid secret":
        raise HookboxMisconfigured(
            _(
                "The Hookbox process at %(url)s does not accept the secret. "
                "HOOKBOX_REST_SECRET must be the same for Django and the process."
            )
            % {"url": settings.rest_url},
            status=response.status_code,
            code="secret",
        )
    if reason == "Not Implemented":
        limits.require_known(call, response.status_code)
    raise HookboxRefused(
        str(reason) or _("The Hookbox process refused the call without giving a reason."),
        status=response.status_code,
        code=str(answer.get("code") or ""),
    )
