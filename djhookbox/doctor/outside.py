"""Checks of the public address, as a browser sees it."""

from __future__ import annotations

import datetime
import email.utils
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ..conf import settings
from ..wire.urls import port_of
from .base import Check, Finding, Patient, error, ok, warning
from .wires import Answer, NoAnswer, WebSocket, connection, explain, frame, request

#: Days before the end of a certificate from which it is worth a warning.
EXPIRING = 14
#: Seconds by which two clocks may differ.
CLOCK = 30.0
#: An origin that no site allows.
FOREIGN = "https://doctor.invalid"
#: What the process answers if it refuses an origin, and to a request that is not a handshake.
REFUSED_ORIGIN, NO_HANDSHAKE = "This origin may not connect", "This address is for WebSocket"


def nginx(lines: str) -> str:
    """Return advice for the most common proxy."""
    return _("With nginx: %(lines)s For other proxies, see “Behind a proxy” in the docs.") % {
        "lines": lines
    }


class Dns(Check):
    """Looks up the host of the public address."""

    name, title = "dns", gettext_noop("DNS")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield the addresses."""
        parts = urlsplit(patient.public)
        host = parts.hostname or ""
        try:
            found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
        except OSError as problem:
            yield error(
                _("The host name %(host)s cannot be resolved: %(problem)s")
                % {"host": host, "problem": explain(problem)},
                _("Correct HOOKBOX_PUBLIC_URL, or add a DNS record."),
            )
            return
        addresses = sorted({str(entry[4][0]) for entry in found})
        yield ok(f"{host}: {', '.join(addresses)}")
        if len(addresses) > 1 and not any(map(_is_loopback, addresses)):
            port = port_of(parts)
            yield from self._silent(addresses, port, patient.timeout)

    @staticmethod
    def _silent(addresses: list[str], port: int, timeout: float) -> Iterator[Finding]:
        """Yield the addresses where nothing listens, such as that of a forgotten AAAA record."""
        for address in addresses:
            try:
                socket.create_connection((address, port), timeout).close()
            except OSError as problem:
                yield warning(
                    _("Nothing answers at %(address)s, port %(port)d: %(problem)s")
                    % {"address": address, "port": port, "problem": explain(problem)},
                    _(
                        "Browsers that try this address first connect late or not at all. Let the "
                        "proxy listen there, or remove the DNS record. If only this machine "
                        "cannot reach it, ignore this."
                    ),
                )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


class Tls(Check):
    """Verifies the certificate, and that pages and the process agree on TLS."""

    name, title, needs = "tls", gettext_noop("TLS"), ("dns",)

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield whether browsers accept the certificate."""
        if patient.public.startswith("http:"):
            if patient.origin.startswith("https:"):
                yield error(
                    _("The pages use https, but %(url)s does not: browsers refuse that.")
                    % {"url": patient.public},
                    _("Set HOOKBOX_PUBLIC_URL to an https address."),
                )
            else:
                yield ok(_("Not used."))
            return
        with closing(connection(patient.public, patient.timeout)) as https:
            try:
                https.connect()
                sock = https.sock
                certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            except ssl.SSLError as problem:
                yield error(
                    _("Browsers do not accept the certificate of %(url)s: %(problem)s")
                    % {
                        "url": patient.public,
                        "problem": getattr(problem, "verify_message", problem),
                    },
                    _("Renew it, or serve the whole chain. For a private CA, set HOOKBOX_CA_FILE."),
                )
                return
            except OSError as problem:
                yield error(
                    _("%(url)s cannot be reached: %(problem)s")
                    % {"url": patient.public, "problem": explain(problem)},
                    _("Is the proxy running, and does the firewall let browsers through?"),
                )
                return
        until = ssl.cert_time_to_seconds(str((certificate or {}).get("notAfter")))
        days = int((until - time.time()) / 86_400)
        if days < EXPIRING:
            yield warning(
                _("The certificate expires in %(days)d days.") % {"days": days},
                _("Check why it has not been renewed yet."),
            )
        else:
            yield ok(_("The certificate is valid for %(days)d more days.") % {"days": days})


class Upgrade(Check):
    """Opens a WebSocket as a page of the site does, and connects through it."""

    name, title, needs = "websocket", gettext_noop("WebSocket"), ("dns", "tls")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield why WebSockets do not get through."""
        url = f"{patient.public}/ws"
        try:
            opened = WebSocket.open(url, patient.origin, patient.timeout)
        except NoAnswer as problem:
            advice = _("Is the proxy running, and does the firewall let browsers through?")
            if not patient.proxied:
                advice = _(
                    "The process listens on %(interface)s. For pages at other addresses, set "
                    "HOOKBOX_INTERFACE."
                ) % {"interface": settings.interface}
            yield error(
                _("%(url)s does not answer: %(problem)s") % {"url": url, "problem": problem},
                advice,
            )
            return
        if isinstance(opened, Answer):
            yield _no_upgrade(url, patient, opened)
            return
        yield ok(_("%(url)s accepts WebSockets of %(origin)s.") % {
            "url": url, "origin": patient.origin or "-",
        })  # fmt: skip
        try:
            yield from self._connect(opened, patient)
        finally:
            opened.close()

    def _connect(self, socket_: WebSocket, patient: Patient) -> Iterator[Finding]:
        """Send CONNECT, which goes through the process to Django and back."""
        seconds = patient.timeout + settings.webhook_timeout
        try:
            name, args = socket_.connect(seconds)
        except (NoAnswer, ValueError) as problem:
            yield error(
                _("The WebSocket opens, but nothing comes through it: %(problem)s")
                % {"problem": problem},
                _("A program between the browser and the process holds back WebSocket messages."),
            )
            return
        if name == "ERROR" and args.get("code") == "unavailable":
            yield error(
                _("The process could not ask the site: %(reason)s") % {"reason": args.get("msg")},
                _("See the check “webhook”, and the log of the process."),
            )
        elif name == "ERROR":
            yield ok(_("Visitors without an account are refused: %(reason)s") % {
                "reason": args.get("msg"),
            })  # fmt: skip
        else:
            yield ok(_("A visitor can connect."))


def _no_upgrade(url: str, patient: Patient, answer: Answer) -> Finding:
    """Explain an answer that is not a WebSocket."""
    known = {"url": url, "status": answer.status, "origin": patient.origin}
    if answer.status == 403 and REFUSED_ORIGIN in answer.text:
        return error(
            _("The process refuses pages of %(origin)s.") % known,
            _(
                "Add the origin to HOOKBOX_ALLOWED_ORIGINS, or its host to "
                "ALLOWED_HOSTS, and restart."
            ),
        )
    if answer.status in (400, 426) and NO_HANDSHAKE in answer.text:
        return error(
            _("The proxy does not pass the WebSocket handshake on to the process."),
            nginx(
                "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
                'proxy_set_header Connection "upgrade";'
            ),
        )
    if answer.status in (301, 302, 307, 308):
        return error(
            _("%(url)s redirects to %(location)s; browsers do not follow that.")
            % {**known, "location": answer.headers.get("location", "?")},
            _("Set HOOKBOX_PUBLIC_URL to the final address, such as the https one."),
        )
    if answer.status in (502, 503, 504):
        return error(
            _("The proxy does not reach the process (%(status)d).") % known,
            _(
                "Compare the address in the proxy's configuration with "
                "HOOKBOX_INTERFACE and HOOKBOX_PORT."
            ),
        )
    if answer.status == 404:
        return error(
            _("There is nothing at %(url)s (404): the request went to the site or to another path.")
            % known,
            _(
                "Forward this path to /ws of the process, without the "
                "prefix; see HOOKBOX_PUBLIC_URL."
            ),
        )
    return error(
        _("%(url)s answers with status %(status)d instead of opening a WebSocket.") % known,
        _("Look for this request in the log of the proxy."),
    )


class Origins(Check):
    """Makes sure that pages of other sites are refused."""

    name, title, needs = "origin", gettext_noop("Origin"), ("websocket",)

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield whether a foreign page may connect."""
        try:
            opened = WebSocket.open(f"{patient.public}/ws", FOREIGN, patient.timeout)
        except NoAnswer as problem:
            yield warning(_("Not checked: %(problem)s") % {"problem": problem}, _("Try again."))
            return
        if isinstance(opened, Answer):
            yield ok(_("Pages of other sites are refused."))
            return
        opened.close()
        yield error(
            _("A page of %(origin)s may connect.") % {"origin": FOREIGN},
            _(
                "The proxy removes or replaces the header Origin, or "
                "HOOKBOX_ALLOWED_ORIGINS is too wide."
            ),
        )


class Internal(Check):
    """Makes sure that the proxy does not expose internal addresses."""

    name, title, needs = "internal", gettext_noop("Internal addresses"), ("dns", "tls")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield what is reachable from outside but should not be."""
        if not patient.proxied:
            yield ok(_("There is no proxy."))
            return
        found = []
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for url, mark in (
            (f"{patient.public}/rest/get_server_info", "Invalid secret"),
            (f"{patient.origin}{settings.webhook_path}/events", ""),
        ):
            try:
                answer = request("POST", url, patient.timeout, headers=form, body="secret=")
            except NoAnswer:
                continue
            if (mark and mark in answer.text) or "x-hookbox-accepts" in answer.headers:
                found.append(url)
        for url in found:
            yield warning(
                _("%(url)s can be reached from outside; only its secret protects it.")
                % {"url": url},
                _("Forward only /ws and /csp to the process, and refuse the path of the webhooks."),
            )
        if not found:
            yield ok(_("REST calls and webhooks cannot be reached from outside."))


class Clock(Check):
    """Compares the clock of the public server with this machine's."""

    name, title, needs = "clock", gettext_noop("Clock"), ("dns", "tls")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield by how much they differ."""
        try:
            answer = request("GET", f"{patient.public}/csp/", patient.timeout)
            there = email.utils.parsedate_to_datetime(answer.headers["date"])
        except (NoAnswer, KeyError, ValueError, TypeError):
            yield ok(_("The server does not report its time."))
            return
        seconds = abs((there - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
        if seconds > CLOCK:
            yield warning(
                _("The clocks of this machine and of %(url)s differ by %(seconds)d s.")
                % {"url": patient.public, "seconds": seconds},
                _("Synchronize them (NTP): tokens and sessions depend on the time."),
            )
        else:
            yield ok(_("The clocks agree."))


class Timeouts(Check):
    """Keeps a WebSocket open without sending anything from one ping of the process to the next.

    The process pings all connections at the same time, so the first ping may come at any moment.
    """

    name, title, needs = "timeouts", gettext_noop("Proxy timeouts"), ("websocket",)

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield whether the proxy closes silent connections too early."""
        interval = settings.ping_interval
        if not patient.slow:
            yield ok(_("Not measured. With --slow, this takes %(seconds)g s.") % {
                "seconds": 2 * interval + 2,
            })  # fmt: skip
            return
        opened = WebSocket.open(f"{patient.public}/ws", patient.origin, patient.timeout)
        if isinstance(opened, Answer):
            yield error(
                _("The WebSocket did not open again."), _("Run “manage.py hookbox doctor” again.")
            )
            return
        silent = time.monotonic()
        has_been_pinged = False
        try:
            # Otherwise the process would end it for not connecting.
            opened.send(frame(1, "CONNECT", {"cookie_string": ""}))
            while True:
                left = silent + interval + 2 - time.monotonic()
                opcode, _data = opened.receive(max(0.1, left))
                if opcode == 9 and has_been_pinged:
                    yield ok(_("A connection stays open until the process pings."))
                    return
                if opcode == 9:
                    opened.pong()
                    silent = time.monotonic()
                    has_been_pinged = True
                if opcode == 8:
                    raise NoAnswer("closed")
        except NoAnswer as problem:
            seconds = time.monotonic() - silent
            if seconds >= interval + 1.5:
                yield ok(_("A connection stays open for %(seconds)d s.") % {"seconds": seconds})
                return
            yield error(
                _("A silent WebSocket was closed after %(seconds).1f s: %(problem)s")
                % {"seconds": seconds, "problem": problem},
                nginx(f"proxy_read_timeout {3 * interval:.0f}s;"),
            )
        finally:
            opened.close()
