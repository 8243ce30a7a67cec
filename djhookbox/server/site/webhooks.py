"""Calls to the site: form posts as Hookbox makes them, with timeouts, limits and clear errors.

A webhook that fails grants nothing. The details of a failure are logged; the browser never
receives what the site sent (D15).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import aiohttp

from ...wire import bodies, capabilities, nodes, replies, webhooks
from ...wire.fields import Fault, FieldProblem
from ...wire.replies import REFUSED, Refused, WrongShape
from ...wire.values import MAX_DOCUMENT_DEPTH, loads
from ...wire.webhooks import NOBODY, Caller, Webhook
from ..clients.connection import Connection
from ..config import ServerConfig
from ..metrics import Metrics
from ..tasks import within
from .receiving import Answers

logger = logging.getLogger("djhookbox.server.webhooks")

R = TypeVar("R")

#: Maximum time that a webhook may wait for its turn, in seconds; after that it fails.
MAX_QUEUE_SECONDS = 30.0
#: Drop idle connections before the usual WSGI servers do (gunicorn: 2 s).
KEEPALIVE_SECONDS = 1.5

#: For each further group of this many channels in one decision, the usual timeout is added.
PATIENT_CHANNELS = 64

UNAVAILABLE = "The site does not answer; try again later"
TOO_LARGE = "That is larger than the site takes"

#: Statuses that mean that the call is at fault: malformed or too large.
REJECTIONS = frozenset({400, 413})


class Refusal(Exception):
    """A refusal; the text is sent to the client or caller that asked.

    Attributes:
        reason: A plain sentence.
        code: A short code for programs.

    """

    def __init__(self, reason: str, code: str = "refused") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class WebhookFailed(Refusal):
    """The site did not give a usable answer."""

    def __init__(self, reason: str = UNAVAILABLE) -> None:
        super().__init__(reason, "unavailable")


class Rejected(WebhookFailed):
    """The site does not accept this call, and would not accept it again.

    Attributes:
        problem: The reason, for the log.

    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(TOO_LARGE if status == 413 else UNAVAILABLE)
        if status == 413:
            self.code = "limit"
        self.problem = problem


class _BadStatus(ValueError):
    """An answer with a status other than 200."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


#: The reasons that a browser gets for what cannot be used, by webhook; the first is that of 0.3.3.
_NAMELESS = "Unauthorized (missing name parameter in server response)"
_UNUSABLE = {
    "connect": "Unauthorized (unusable name or options in server response)",
    "message": "Unauthorized (unusable recipient in server response)",
}


class UnusableReply(Refusal):
    """The site grants something, but what it says cannot be used."""

    def __init__(self, hook: str, problem: FieldProblem) -> None:
        if hook == "connect" and problem.fault is Fault.MISSING:
            super().__init__(_NAMELESS, REFUSED)
        elif hook in _UNUSABLE:
            super().__init__(_UNUSABLE[hook], REFUSED)
        else:
            super().__init__(UNAVAILABLE, "unavailable")


@dataclass(frozen=True, slots=True)
class Reply(Generic[R]):
    """The site's reply to a webhook.

    Attributes:
        answer: What the site grants, or why nothing is granted.
        cookies: Cookies for the page's scripts.

    """

    answer: R | Refusal
    cookies: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the site grants what was asked for."""
        return not isinstance(self.answer, Refusal)

    def check(self) -> R:
        """Return what the site grants.

        Raises:
            Refusal: If it refused, or what it grants cannot be used.

        """
        if isinstance(self.answer, Refusal):
            raise self.answer
        return self.answer


def reply_to(webhook: Webhook[R], value: object, cookies: tuple[str, ...] = ()) -> Reply[R]:
    """Return the reply that a JSON value contains; problems of its fields are logged.

    Raises:
        WrongShape: If the value is not a reply.

    """
    tolerated: list[FieldProblem] = []
    try:
        answer = replies.read(webhook.reply, value, tolerated)
    except FieldProblem as problem:
        logger.error("The site's reply to %s is unusable: %s", webhook.name, problem)
        return Reply(UnusableReply(webhook.name, problem), cookies)
    for each in tolerated:
        logger.error("The site's reply to %s has an unusable field: %s", webhook.name, each)
    if isinstance(answer, Refused):
        return Reply(Refusal(answer.reason, answer.code), cookies)
    return Reply(cast("R", answer), cookies)


class Webhooks:
    """Make webhooks.

    Attributes:
        accepted: Webhooks in addition to Hookbox's that the site has reported it supports. An
            application other than Django's views must not get calls it does not understand.

    """

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        self.config = config
        self.accepted = config.webhook_accepts
        self._boot = nodes.new_boot_id()
        self._metrics = metrics
        self._turn = asyncio.Semaphore(config.webhook_concurrency)
        self._answers = Answers(config.max_answer_bytes)
        #: A session that keeps connections alive, and one that makes a new one for each call.
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        #: The same for a site that listens on a Unix socket.
        self._unix_sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        self._one_each = False

    async def start(self) -> None:
        """Open the connection pools."""
        tls = self.config.tls_context() or True
        keeping = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ssl=tls)
        closing = aiohttp.TCPConnector(limit=0, force_close=True, ssl=tls)
        self._sessions = (self._session(keeping), self._session(closing))
        if path := self.config.webhook_socket:
            unix = aiohttp.UnixConnector(path, limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
            closing_unix = aiohttp.UnixConnector(path, limit=0, force_close=True)
            self._unix_sessions = (self._session(unix), self._session(closing_unix))

    def _session(self, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )

    async def stop(self) -> None:
        """Close the connection pools."""
        for session in (*(self._sessions or ()), *(self._unix_sessions or ())):
            await session.close()

    def url(self, hook: str) -> str:
        """Return the URL of a webhook."""
        if self.config.single_url:
            return self.config.single_url
        return f"{self.config.webhook_url}/{self.config.webhook_paths.get(hook, hook)}"

    async def call(
        self,
        webhook: Webhook[R],
        connection: Connection | None = None,
        *,
        cookie: bool = True,
        patience: float = 1.0,
        quiet: bool = False,
        urgent: bool = False,
    ) -> Reply[R]:
        """Make a webhook and return the site's answer.

        Args:
            webhook: The webhook to make.
            connection: The connection that caused it.
            cookie: Whether to send the connection's cookies.
            patience: The timeout for the answer, as a multiple of the usual one.
            quiet: Whether the caller logs a rejected call itself.
            urgent: Whether it is made at once, in addition to those that wait for their turn; for
                callers that make one at a time.

        Raises:
            Rejected: If the site reports that the call is malformed or too large.
            WebhookFailed: If there is no usable answer.

        """
        fields = webhooks.write(webhook, caller(connection), self.config.webhook_secret)
        headers = {
            "Accept-Encoding": "identity",
            "X-Hookbox-Version": f"djhookbox/{self.config.version}",
            nodes.BOOT_HEADER: self._boot,
            **self.config.webhook_headers,
        }
        if connection is not None:
            if connection.handshake.remote_addr:
                headers["X-Real-IP"] = connection.handshake.remote_addr
            if connection.handshake.host:
                headers["X-Hookbox-Host"] = connection.handshake.host
            if cookie and connection.cookie:
                headers["Cookie"] = connection.cookie
        body, headers["Content-Type"] = self._body(webhook, fields)
        seconds = self.config.webhook_timeout * patience
        if urgent:
            return await self._timed(webhook, body, headers, seconds, quiet=quiet)
        return await self._call(webhook, body, headers, seconds, quiet=quiet)

    # ---- parts -----------------------------------------------------------

    def _body(self, webhook: Webhook[Any], fields: Mapping[str, str]) -> tuple[bytes, str]:
        """Return the body and its type: a form, or JSON if it is large and the site accepts it."""
        reporting = isinstance(webhook, webhooks.Events)
        large = reporting or sum(map(len, fields.values())) > bodies.LARGEST_FORM
        if large and capabilities.JSON in self.accepted:
            return bodies.as_json(fields), bodies.JSON_TYPE
        form = bodies.as_form(fields)
        if len(form) > bodies.LARGEST_FORM and capabilities.JSON in self.accepted:
            return bodies.as_json(fields), bodies.JSON_TYPE
        return form, bodies.FORM_TYPE

    async def _call(
        self,
        webhook: Webhook[R],
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        *,
        quiet: bool,
    ) -> Reply[R]:
        try:
            if self._turn.locked():
                await within(
                    MAX_QUEUE_SECONDS,
                    self._turn.acquire(),
                    undo=lambda _: self._turn.release(),
                )
            else:
                await self._turn.acquire()
        except asyncio.TimeoutError:
            self._failed(webhook.name, "waited too long for its turn")
            raise WebhookFailed from None
        try:
            return await self._timed(webhook, body, headers, seconds, quiet=quiet)
        finally:
            self._turn.release()

    async def _timed(
        self,
        webhook: Webhook[R],
        body: bytes,
        headers: dict[str, str],
        seconds: float,
        *,
        quiet: bool,
    ) -> Reply[R]:
        hook = webhook.name
        started = time.monotonic()
        self._metrics.webhooks_total += 1
        try:
            return await self._post(webhook, body, headers, seconds)
        except WrongShape as error:
            self._failed(hook, str(error))
            raise WebhookFailed(str(error)) from None
        except _BadStatus as error:
            if error.status not in REJECTIONS:
                self._failed(hook, str(error))
                raise WebhookFailed from None
            if not quiet:
                self._failed(hook, str(error))
            raise Rejected(error.status, str(error)) from None
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            problem = str(error) or type(error).__name__
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                problem = _explain_certificate(error.certificate_error)
            if isinstance(error, asyncio.TimeoutError):
                problem = f"no answer within {seconds:g} s"
            self._failed(hook, problem)
            raise WebhookFailed from None
        finally:
            self._metrics.webhook_seconds.append(time.monotonic() - started)

    async def _post(
        self, webhook: Webhook[R], body: bytes, headers: dict[str, str], seconds: float
    ) -> Reply[R]:
        sessions = self._unix_sessions if self.config.webhook_socket else self._sessions
        if sessions is None:
            raise RuntimeError("start() has not been called")
        # A `Connection: close` header is not enough: aiohttp ignores it, and reuses the
        # connection, which the site has closed, for the next call.
        async with sessions[self._one_each].post(
            self.url(webhook.name),
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response:
            # Django's runserver answers keep-alive requests 40 ms late (delayed ACK).
            self._one_each = response.headers.get("Server", "").startswith("WSGIServer")
            if accepts := response.headers.get("X-Hookbox-Accepts"):
                self.accepted = frozenset(word.strip() for word in accepts.split(","))
            async with self._answers.receive(response) as answer:
                if response.status != 200:
                    said = _said(answer) if accepts else ""
                    location = response.headers.get("Location", "")
                    problem = _explain(response.status, location, said, len(body))
                    raise _BadStatus(response.status, problem)
                value = _parse(answer)
            cookies = _script_cookies(response.headers.getall("Set-Cookie", ()))
            return reply_to(webhook, value, cookies)

    def _failed(self, hook: str, problem: str) -> None:
        self._metrics.webhooks_failed += 1
        logger.warning(
            "Webhook %s to %s failed: %s", hook, self.config.shown(self.url(hook)), problem
        )


def caller(connection: Connection | None) -> Caller:
    """Return the webhook fields that describe the connection that caused it."""
    if connection is None:
        return NOBODY
    user = connection.user.name if connection.user is not None else ""
    return Caller(connection.id, user, connection.identity)


def patience(channels: int) -> float:
    """Return the timeout for deciding about this many channels, as a multiple of the usual one."""
    return 1 + (channels - 1) / PATIENT_CHANNELS


def _explain(status: int, location: str, said: str, size: int) -> str:
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


def _said(answer: bytearray) -> str:
    """Return the error in an answer of the site's view, or "" if there is none."""
    try:
        reply = replies.read(replies.EmptyReply, _parse(answer))
    except ValueError:
        return ""
    return reply.reason if isinstance(reply, Refused) else ""


def _explain_certificate(error: Exception) -> str:
    reason = getattr(error, "verify_message", "") or str(error)
    return (
        f"its certificate was rejected: {reason}; if a private CA has signed it, set "
        "HOOKBOX_CA_FILE"
    )


def _parse(answer: bytearray) -> object:
    try:
        return loads(answer, max_depth=MAX_DOCUMENT_DEPTH)
    except ValueError:
        raise ValueError(f"the answer is not JSON: {bytes(answer[:80])!r}") from None


def _script_cookies(headers: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return the cookies that scripts may see, which excludes HttpOnly ones (D18)."""
    return tuple(
        header
        for header in headers
        if "httponly" not in {part.strip().lower() for part in header.split(";")[1:]}
    )
