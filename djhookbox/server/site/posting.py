"""Post webhooks to the site: connections, headers, limits, and explanations of failures."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from ...wire import batches, nodes
from ...wire.replies import WrongShape
from ..config import ServerConfig
from ..metrics import Metrics
from ..refusals import Refusal, WebhookFailed
from ..tracing import TRACED, make_tracing
from .decision_log import DecisionLog
from .explaining import explain, explain_certificate, parse, said_in
from .outcomes import REJECTIONS, BadStatus, Rejected
from .receiving import Answers

logger = logging.getLogger("djhookbox.server.webhooks")

#: Drop idle connections before the usual WSGI servers do (gunicorn: 2 s).
KEEPALIVE_SECONDS = 1.5

#: What a post may raise besides.
FAILURES = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError)


class Posting:
    """Post webhooks, one at a time for each call of `post`.

    Attributes:
        config: The server's configuration, which may be replaced.
        accepted: Webhooks in addition to Hookbox's that the site has reported it supports.
        decisions: Writes decisions to the log, if that is wanted.

    """

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        self.config = config
        self.accepted = config.webhook_accepts
        self.decisions = None if config.log_sample is None else DecisionLog(config.log_sample)
        self._tracing = make_tracing(config.tracing, config.version)
        self._boot = nodes.new_boot_id()
        self._metrics = metrics
        self._answers = Answers(config.max_answer_bytes)
        #: A session that keeps connections alive, and one that makes a new one for each call.
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        #: The same for a site that listens on a Unix socket.
        self._unix_sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        self._one_each = False
        self._stopped = False

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
        """Close the connection pools; webhooks fail afterwards."""
        self._stopped = True
        for session in (*(self._sessions or ()), *(self._unix_sessions or ())):
            await session.close()

    def url(self, hook: str) -> str:
        """Return the URL of a webhook."""
        if self.config.single_url:
            return self.config.single_url
        return f"{self.config.webhook_url}/{self.config.webhook_paths.get(hook, hook)}"

    def headers(self, kind: str) -> dict[str, str]:
        """Return the headers of every webhook with a body of a type."""
        return {
            "Accept-Encoding": "identity",
            "Content-Type": kind,
            "X-Hookbox-Version": f"djhookbox/{self.config.version}",
            nodes.BOOT_HEADER: self._boot,
            **({} if self.decisions is None else {nodes.EXPLAIN_HEADER: "1"}),
            **self.config.webhook_headers,
        }

    async def post(
        self, hook: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[object, tuple[str, ...]]:
        """Return the JSON value of the answer, and the cookies for scripts.

        Raises:
            BadStatus: The status is not 200.
            Exception: Another one of `FAILURES`: there is no usable answer.

        """
        if self._tracing is not None and hook in TRACED:
            with self._tracing.webhook(hook, headers):
                return await self._counted(hook, body, headers, seconds)
        return await self._counted(hook, body, headers, seconds)

    async def _counted(
        self, hook: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[object, tuple[str, ...]]:
        """Post a webhook, and count what becomes of it."""
        timing = self._metrics.begin(hook)
        try:
            answer = await self._post(hook, body, headers, seconds)
            value = answer[0]
            refused = isinstance(value, list) and value[:1] == [False]
            timing.outcome = "refused" if refused else "answered"
            return answer
        except BadStatus as error:
            if error.status in REJECTIONS:
                timing.outcome = "rejected"
            raise
        finally:
            timing.end()

    async def _post(
        self, hook: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[object, tuple[str, ...]]:
        """Return the JSON value of the answer, and the cookies for scripts."""
        sessions = self._unix_sessions if self.config.webhook_socket else self._sessions
        if sessions is None:
            raise RuntimeError("start() has not been called")
        if self._stopped:
            raise aiohttp.ClientError("this process is stopping")
        # A `Connection: close` header is not enough: aiohttp ignores it, and reuses the
        # connection, which the site has closed, for the next call.
        async with sessions[self._one_each].post(
            self.url(hook),
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
                    said_so = said_in(answer) if accepts else ""
                    location = response.headers.get("Location", "")
                    problem = explain(response.status, location, said_so, len(body))
                    raise BadStatus(response.status, problem)
                value = parse(answer, batches.MAX_DEPTH)
            return value, _script_cookies(response.headers.getall("Set-Cookie", ()))

    def failure(self, hook: str, error: Exception, seconds: float, *, quiet: bool) -> Refusal:
        """Log why a webhook has failed, and return the text for its caller."""
        if isinstance(error, BadStatus) and error.status in REJECTIONS:
            if not quiet:
                self.failed(hook, str(error))
            return Rejected(error.status, str(error))
        problem = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            problem = explain_certificate(error.certificate_error)
        if isinstance(error, asyncio.TimeoutError):
            problem = f"no answer within {seconds:g} s"
        self.failed(hook, problem)
        return WebhookFailed(str(error)) if isinstance(error, WrongShape) else WebhookFailed()

    def failed(self, hook: str, problem: str) -> None:
        """Count and log a failure."""
        self._metrics.webhooks_failed += 1
        logger.warning(
            "Webhook %s to %s failed: %s", hook, self.config.shown(self.url(hook)), problem
        )


def _script_cookies(headers: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return the cookies that scripts may see, which excludes HttpOnly ones (D18)."""
    return tuple(
        header
        for header in headers
        if "httponly" not in {part.strip().lower() for part in header.split(";")[1:]}
    )
