"""What browsers use where WebSockets do not get through, and the version of HTTP."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlencode, urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from .base import Check, Finding, Patient, error, ok, warning
from .outside import nginx
from .wires import NoAnswer, connection, explain, frame, request, tls

#: Seconds after which what was sent into a stream must have arrived.
STREAMED = 2.0
#: The variables of a session, as the client chooses them, and those of a stream in addition.
POLLING = {"ct": "text/plain", "bs": "\n", "du": "30"}
STREAMING = {**POLLING, "is": "1", "i": "15"}


class Fallback(Check):
    """Uses plain HTTP, as browsers do without WebSockets: polls, and times a stream."""

    name, title, needs = "fallback", gettext_noop("HTTP fallback"), ("dns", "tls")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield whether each way works, and whether streams are buffered."""
        session = Session(patient)
        try:
            milliseconds = 1000 * session.poll()
        except (NoAnswer, ValueError, KeyError, TypeError) as problem:
            yield error(
                _("%(url)s does not work: %(problem)s. Browsers without WebSockets cannot connect.")
                % {"url": session.url, "problem": problem},
                _(
                    "Forward this path to /csp of the process, without the "
                    "prefix and with POST allowed."
                ),
            )
            return
        yield ok(_("Polling works: a message arrived after %(ms)d ms.") % {"ms": milliseconds})
        try:
            seconds = session.stream()
        except (NoAnswer, OSError, HTTPException, ValueError, KeyError, TypeError) as problem:
            yield warning(
                _("The stream of %(url)s breaks: %(problem)s")
                % {"url": session.url, "problem": problem},
                _("Browsers use long polling instead, which is slower."),
            )
            return
        if seconds is None:
            yield warning(
                _(
                    "The answers of %(url)s are buffered: a message did not "
                    "arrive within %(seconds)g s."
                )
                % {"url": session.url, "seconds": STREAMED},
                nginx("proxy_buffering off;"),
            )
        else:
            yield ok(_("Streaming works: a message arrived after %(ms)d ms.") % {
                "ms": 1000 * seconds,
            })  # fmt: skip


class Session:
    """A client without WebSockets."""

    def __init__(self, patient: Patient) -> None:
        self.url = f"{patient.public}/csp"
        self._timeout = patient.timeout
        self._headers = {"Origin": patient.origin, "Content-Type": "text/plain"}

    def poll(self) -> float:
        """Connect, and return after how many seconds the answer arrived in a poll.

        Raises:
            NoAnswer: It did not.
            ValueError: The answer is not of the process; or KeyError, TypeError.

        """
        session = self._begin(POLLING)
        started = time.monotonic()
        self._send(session, 1, "CONNECT", {"cookie_string": ""})
        answer = self._post(f"comet?{urlencode({'s': session, 'a': 0})}", "")
        if "[[" not in answer:
            raise NoAnswer("the poll was empty")
        return time.monotonic() - started

    def stream(self) -> float | None:
        """Return after how many seconds a message arrived in a stream; None if it did not.

        Raises:
            NoAnswer: It breaks; or OSError, HTTPException.
            ValueError: As in `poll`.

        """
        session = self._begin(STREAMING)
        path, query = urlsplit(self.url).path, urlencode({"s": session, "a": 0})
        with closing(connection(self.url, STREAMED + self._timeout)) as stream:
            stream.request("POST", f"{path}/comet?{query}", "", self._headers)
            stream.sock.settimeout(STREAMED)
            response: HTTPResponse | None = None
            # Two messages: the first one could be a complete answer of its own.
            for number, name, args in ((1, "CONNECT", {"cookie_string": ""}), (2, "PING", {})):
                started = time.monotonic()
                self._send(session, number, name, args)
                try:
                    response = response or stream.getresponse()
                    # Up to the message, not only a first byte that proxies may let through.
                    while b"[[" not in (line := response.readline()):
                        if not line:
                            raise NoAnswer("it ended")
                except TimeoutError:
                    return None
            return time.monotonic() - started

    def _begin(self, variables: Mapping[str, str]) -> str:
        """Open a session and return its key."""
        text = self._post(f"handshake?{urlencode(variables)}", "{}")
        return str(json.loads(text.strip()[1:-1])["session"])

    def _send(self, session: str, number: int, name: str, args: Mapping[str, object]) -> None:
        body = json.dumps([[number, 0, frame(number, name, args)]])
        self._post(f"send?s={session}", body)

    def _post(self, target: str, body: str) -> str:
        answer = request(
            "POST", f"{self.url}/{target}", self._timeout, headers=self._headers, body=body
        )
        if answer.status != 200:
            raise NoAnswer(f"HTTP {answer.status}")
        return answer.text


class HttpVersion(Check):
    """Looks at which version of HTTP browsers use."""

    name, title, needs = "http", gettext_noop("HTTP version"), ("dns", "tls")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield the version."""
        if patient.public.startswith("https:"):
            yield self._negotiated(patient)
            return
        with closing(connection(patient.public, patient.timeout)) as http:
            try:
                http.request("GET", f"{urlsplit(patient.public).path}/csp/")
                version = http.getresponse().version
            except (OSError, HTTPException) as problem:
                yield warning(
                    _("Not checked: %(problem)s") % {"problem": explain(problem)}, _("Try again.")
                )
                return
        if version < 11:
            yield error(
                _("The proxy answers with HTTP/1.0, which has no WebSockets."),
                _("Configure it to use HTTP/1.1."),
            )
        else:
            yield ok(_("HTTP/1.1; browsers use HTTP/2 only with TLS."))

    @staticmethod
    def _negotiated(patient: Patient) -> Finding:
        """Return what a browser and the server agree on."""
        parts = urlsplit(patient.public)
        context = tls()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with closing(connection(patient.public, patient.timeout, context)) as https:
            try:
                https.connect()
            except OSError as problem:
                return warning(
                    _("Not checked: %(problem)s") % {"problem": explain(problem)}, _("Try again.")
                )
            sock = https.sock
            chosen = sock.selected_alpn_protocol() if isinstance(sock, ssl.SSLSocket) else None
        if chosen == "h2":
            return ok(_("HTTP/2"))
        return warning(
            _(
                "%(host)s does not offer HTTP/2. Browsers then open at most six connections to it; "
                "without WebSockets, each tab uses one."
            )
            % {"host": parts.hostname},
            nginx("http2 on; (< 1.25.1: listen 443 ssl http2;)"),
        )
