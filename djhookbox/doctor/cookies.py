"""Whether the session cookie goes from the site's pages to the process, as browsers decide it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urljoin, urlsplit

from django.conf import settings as django_settings
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ..checks.cookies import LOOPBACK, is_same_site
from ..conf import settings
from . import echo
from .base import Check, Finding, Patient, error, ok
from .wires import Answer, NoAnswer, WebSocket, request


@dataclass(frozen=True, slots=True)
class Cookie:
    """The attributes of a cookie that decide where browsers send it; "" stands for none."""

    name: str
    path: str = "/"
    domain: str = ""
    secure: bool = False
    same_site: str = ""

    @classmethod
    def from_settings(cls) -> Cookie:
        """Return the session cookie that Django sets."""
        return cls(
            django_settings.SESSION_COOKIE_NAME,
            django_settings.SESSION_COOKIE_PATH or "/",
            (django_settings.SESSION_COOKIE_DOMAIN or "").lower().lstrip("."),
            bool(django_settings.SESSION_COOKIE_SECURE),
            django_settings.SESSION_COOKIE_SAMESITE or "",
        )


class Cookies(Check):
    """Compares the session cookie with the addresses, and sends one through the proxy."""

    name, title, needs = "cookie", gettext_noop("Session cookie"), ("websocket",)

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield why browsers do not send it, or why it does not arrive."""
        cookie = as_received(patient) or Cookie.from_settings()
        problems = list(reasons(cookie, patient))
        yield from problems
        arrived = self._arrived(patient, cookie.name)
        if arrived is False:
            yield error(
                _("The cookie “%(name)s” of a handshake does not reach the site.")
                % {"name": cookie.name},
                _(
                    "The proxy removes the header Cookie, or does not pass Origin and Host on "
                    "unchanged."
                ),
            )
        elif not problems:
            yield ok(
                _("Browsers send the cookie “%(name)s”, and it reaches the site.")
                % {"name": cookie.name}
                if arrived
                else _("Browsers send the cookie “%(name)s”.") % {"name": cookie.name}
            )

    @staticmethod
    def _arrived(patient: Patient, name: str) -> bool | None:
        """Return whether a cookie reaches Django; None if it does not tell."""
        cookie = {"Cookie": f"{name}=doctor"}
        opened = WebSocket.open(f"{patient.public}/ws", patient.origin, patient.timeout, cookie)
        if isinstance(opened, Answer):
            return None
        try:
            _name, args = opened.connect(
                patient.timeout + settings.webhook_timeout, echo.question()
            )
            names = args["payload"][echo.KEY]
        except (NoAnswer, ValueError, KeyError, TypeError):
            return None  # visitors are refused, or another program answers the webhooks
        finally:
            opened.close()
        return name in names if isinstance(names, list) else None


def as_received(patient: Patient) -> Cookie | None:
    """Return the session cookie as the site's pages set it; None if they set none for a visitor.

    A proxy can change what Django sends.
    """
    name = django_settings.SESSION_COOKIE_NAME
    try:
        login = resolve_url(django_settings.LOGIN_URL)
    except NoReverseMatch:
        login = "/"
    for path in dict.fromkeys((login, "/")):
        try:
            answer = request("GET", urljoin(f"{patient.origin}/", path), patient.timeout)
        except (NoAnswer, ValueError):
            continue
        for line in answer.headers.get("set-cookie", "").split("\n"):
            try:
                morsel = SimpleCookie(line).get(name)
            except CookieError:
                continue
            if morsel is not None:
                return Cookie(
                    name, morsel["path"] or "/", morsel["domain"].lower().lstrip("."),
                    bool(morsel["secure"]), morsel["samesite"],
                )  # fmt: skip
    return None


def reasons(cookie: Cookie, patient: Patient) -> Iterator[Finding]:
    """Yield why browsers do not send a cookie with the handshake."""
    page, public = urlsplit(patient.origin), urlsplit(patient.public)
    here, there = (page.hostname or "").lower(), (public.hostname or "").lower()
    handshake = f"{public.path.rstrip('/')}/ws"
    known = {"name": cookie.name, "there": there, "handshake": handshake, "origin": patient.origin}
    if cookie.domain and there != cookie.domain and not there.endswith(f".{cookie.domain}"):
        yield error(
            _("The cookie “%(name)s” is for %(domain)s; browsers do not send it to %(there)s.")
            % {**known, "domain": cookie.domain},
            _("Change SESSION_COOKIE_DOMAIN, or use a host of that domain."),
        )
    elif not cookie.domain and there != here:
        yield error(
            _("The cookie “%(name)s” of %(origin)s is not sent to another host, %(there)s.")
            % known,
            _(
                "Let the proxy forward a path of the site's own host, or set "
                "SESSION_COOKIE_DOMAIN to a domain that includes both."
            ),
        )
    if handshake != cookie.path and not handshake.startswith(f"{cookie.path.rstrip('/')}/"):
        yield error(
            _("The cookie “%(name)s” is for the path %(path)s, not for %(handshake)s.")
            % {**known, "path": cookie.path},
            _("Let browsers connect below that path, or change SESSION_COOKIE_PATH."),
        )
    if cookie.secure and public.scheme == "http" and there not in LOOPBACK:
        yield error(
            _("The cookie “%(name)s” is secure; browsers do not send it over http.") % known,
            _("Use https, or switch SESSION_COOKIE_SECURE off."),
        )
    same_site = cookie.same_site.lower()
    if same_site in ("lax", "strict") and not is_same_site(page, public):
        yield error(
            _("The cookie “%(name)s” is %(same_site)s; browsers do not send it to another site.")
            % {**known, "same_site": f"SameSite={cookie.same_site}"},
            _("Use a host in the site's own domain, or connect tokens."),
        )
    if same_site == "none" and not cookie.secure:
        yield error(
            _("Browsers reject the cookie “%(name)s”: SameSite=None requires Secure.") % known,
            _("Set SESSION_COOKIE_SECURE, or another SESSION_COOKIE_SAMESITE."),
        )
    if cookie.name.startswith(("__Host-", "__Secure-")) and not cookie.secure:
        yield error(
            _("Browsers reject the cookie “%(name)s”: its name requires Secure.") % known,
            _("Set SESSION_COOKIE_SECURE, or another SESSION_COOKIE_NAME."),
        )
