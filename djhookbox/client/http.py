"""Make REST calls over HTTP.

This uses urllib3, on which `requests` is built: a call through a session of `requests` takes three
times as long, most of it for features that these calls do not need.

Connections are kept alive and pooled. A call is never sent twice if that could duplicate something:
nobody can tell whether a process that did not answer has carried it out. Stale connections are
avoided instead: urllib3 notices a connection that the process has closed (for
example by a restart) before it is used, and connections that have been idle for longer than
`IDLE_SECONDS` are not used, so that no call meets a server that is closing its connection.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode, urlsplit

import certifi
from django.utils.translation import gettext as _
from urllib3 import HTTPConnectionPool, connection_from_url, exceptions
from urllib3.util import Timeout, make_headers

from .. import certificates, isolation
from .._version import __version__
from ..conf import settings
from ..exceptions import (
    HookboxError,
    HookboxMisconfigured,
    HookboxNotRunning,
    HookboxRefused,
    HookboxUnreachable,
    PayloadError,
)
from ..genuine import limits
from ..wire import values
from ..wire.bodies import FORM_TYPE
from ..wire.proof import SECRET_HEADER, to_header
from ..wire.urls import without_password
from . import places

USER_AGENT = f"django-hookbox/{__version__}"

#: How long an idle connection may still be used; below any server's keep-alive timeout.
IDLE_SECONDS = 10.0
#: Idle connections to keep; more may be in use at once.
MAX_IDLE_CONNECTIONS = 16

#: Calls that have the same effect if they are made twice, besides those that only read.
_REPEATABLE = frozenset({
    "cursor", "disconnect", "poke", "revoke", "set_channel_options", "state_delete_key",
    "state_set_key", "subscribe", "unsubscribe",
})  # fmt: skip

#: How a call fails if it has not reached anybody, who could have carried it out.
_NEVER_SENT = (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)
#: How proxies answer if the process does not.
_GATEWAY = frozenset({502, 503, 504})

#: What a connection is for: the scheme, host and port, and the trusted authorities.
_Target = tuple[str, str | None]

# Each pool has one connection and is used by one thread at a time. The deque's methods are atomic,
# so there is no lock that a fork could leave locked. Entries: the time of the last use, the target
# and the pool.
_idle: deque[tuple[float, _Target, HTTPConnectionPool]] = deque()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer over HTTP."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


def forget_connections() -> None:
    """Start without connections: a child process must not use those of its parent."""
    while True:
        try:
            _idle.pop()[-1].close()
        except IndexError:
            return


os.register_at_fork(after_in_child=forget_connections)


@contextmanager
def _connection(target: _Target) -> Iterator[HTTPConnectionPool]:
    """Provide a pool with one connection, which may still have to be opened."""
    pool = None
    while pool is None:
        try:
            # The most recently used one, so that surplus ones expire.
            used, known, candidate = _idle.pop()
        except IndexError:
            pool = _new_pool(*target)
            break
        if known == target and time.monotonic() - used < IDLE_SECONDS:
            pool = candidate
        else:
            candidate.close()
    try:
        yield pool
    except BaseException:
        pool.close()  # its connection may be in the middle of an answer
        raise
    if len(_idle) < MAX_IDLE_CONNECTIONS:
        _idle.append((time.monotonic(), target, pool))
    else:
        pool.close()


def _new_pool(base: str, authorities: str | None) -> HTTPConnectionPool:
    if not base.startswith("https:"):
        return connection_from_url(base, maxsize=1)
    path = authorities or certifi.where()
    place = {"ca_cert_dir": path} if os.path.isdir(path) else {"ca_certs": path}
    return connection_from_url(base, maxsize=1, cert_reqs="CERT_REQUIRED", **place)


def _post(url: str, fields: Mapping[str, str], seconds: float) -> Response:
    """Post a form; environment variables for proxies, cookies and redirects have no effect."""
    parts = urlsplit(url)
    headers = {
        "Content-Type": FORM_TYPE,
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        SECRET_HEADER: to_header(fields["secret"]),
    }
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers |= make_headers(basic_auth=user)
    authorities = certificates.ca_path() if parts.scheme == "https" else None
    with _connection((f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", authorities)) as pool:
        answer = pool.urlopen(
            "POST",
            quote(parts.path, safe="/%:@!$&'()*+,;=~"),
            body=urlencode(fields).encode("ascii"),
            headers=headers,
            # Connecting and waiting for the answer together.
            timeout=Timeout(total=seconds),
            retries=False,
            redirect=False,
            assert_same_host=False,
        )
        return Response(answer.status, answer.headers, answer.data)


def rest_call(
    call: str, seconds: float | None = None, base: str = "", /, **form: str | None
) -> dict[str, object]:
    """Make one REST call and return the object of its answer.

    Arguments that are None are omitted.

    Args:
        call: The name of the call.
        seconds: Maximum time to wait for the answer, if not `HOOKBOX_TIMEOUT`.
        base: The only URL to call; by default, the URLs of `HOOKBOX_REST_URL` in turn.
        form: Its fields.

    Raises:
        HookboxRefused: The server refused.
        PayloadError: The server accepts less than `HOOKBOX_MAX_PAYLOAD_SIZE`.
        HookboxUnreachable: There was no answer within `HOOKBOX_TIMEOUT`.
        HookboxMisconfigured: It is not a Hookbox process, or has another secret.

    """
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
        status, text = stand_in(call, body)
        return read_answer(settings.rest_url, call, Response(status, {}, text.encode()))
    urls = (base,) if base else places.in_order(settings.rest_urls)
    timeout = settings.timeout if seconds is None else seconds
    for number, url in enumerate(urls, 1):
        try:
            return _call(url, call, body, timeout)
        except HookboxError as error:
            if not _may_work_elsewhere(error):
                raise
            places.failed(url)
            never_sent = isinstance(error.__cause__, _NEVER_SENT)
            if number == len(urls) or not (never_sent or _is_repeatable(call, form)):
                raise
    raise AssertionError("there is always a URL")


def _may_work_elsewhere(error: HookboxError) -> bool:
    """Return whether another process may do what this one has not done."""
    if isinstance(error, HookboxMisconfigured):
        return error.status in _GATEWAY
    if isinstance(error, HookboxRefused):
        return error.code == "unavailable"  # a node without its Redis
    return isinstance(error, HookboxUnreachable)


def _is_repeatable(call: str, form: Mapping[str, str | None]) -> bool:
    """Return whether a call may be made again if nobody knows whether it was carried out."""
    return bool(form.get("key")) or call.startswith(("get_", "list_")) or call in _REPEATABLE


def _call(base: str, call: str, body: Mapping[str, str], timeout: float) -> dict[str, object]:
    """Make a call at one of the URLs."""
    shown = without_password(base)
    try:
        response = _post(f"{base}/rest/{call}", body, timeout)
    except exceptions.SSLError as error:
        raise HookboxMisconfigured(certificates.explain(shown, error)) from error
    # Before the timeouts: in some versions of urllib3, NewConnectionError is one of them.
    except (exceptions.NewConnectionError, exceptions.ProtocolError) as error:
        kind = HookboxNotRunning if certificates.is_refused(error) else HookboxUnreachable
        raise kind(
            _(
                "The Hookbox process at %(url)s cannot be reached. "
                "Is it running? Start it with “manage.py runhookbox”."
            )
            % {"url": shown},
            code="unavailable",
        ) from error
    except exceptions.TimeoutError as error:
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
            text % {"url": shown, "seconds": f"{timeout:g}"}, code="unavailable"
        ) from error
    except (exceptions.HTTPError, ValueError, OSError) as error:
        raise HookboxMisconfigured(
            _("The request to %(url)s failed: %(problem)s. Check HOOKBOX_REST_URL.")
            % {"url": f"{shown}/rest/{call}", "problem": error}
        ) from error
    return read_answer(base, call, response)


def read_answer(base: str, call: str, response: Response) -> dict[str, object]:
    """Return the object of an answer.

    Raises:
        HookboxError: As for `rest_call`.

    """
    base = without_password(base)
    if response.status_code == 413:
        raise PayloadError(
            _(
                "%(url)s rejected this as too large (413). HOOKBOX_MAX_PAYLOAD_SIZE must be "
                "the same for Django and the Hookbox process (restart it after a change), and "
                "a proxy between them must allow the same size."
            )
            % {"url": base},
            status=413,
            code="limit",
        )
    try:
        success, answer = values.loads(response.body)
        if not isinstance(answer, dict):
            raise TypeError(answer)
    except (ValueError, TypeError, RecursionError) as error:
        if response.status_code == 404 and limits.is_not_found(
            response.headers, response.body.decode("latin-1")
        ):
            limits.require_known(call, 404)
        raise HookboxMisconfigured(
            _(
                "%(url)s did not answer “%(call)s” like a Hookbox process (HTTP status "
                "%(status)d). HOOKBOX_REST_URL, or HOOKBOX_INTERFACE and HOOKBOX_PORT, must "
                "name the address on which runhookbox listens."
            )
            % {"url": base, "call": call, "status": response.status_code},
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
            % {"url": base},
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
