"""System checks for every way in which the session cookie can fail to reach the process.

Without the cookie, a browser connects as an anonymous visitor and nothing looks broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning
from django.http.request import validate_host

from ..conf import settings
from .registering import explicit, site_check

#: Hosts that browsers consider secure without https.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _public() -> SplitResult | None:
    """Return the address that browsers connect to, or None for the page's host on another port."""
    return urlsplit(settings.public_url) if settings.public_url else None


def _is_secure(parts: SplitResult) -> bool:
    return parts.scheme in ("https", "wss")


@site_check
def check_cookie_path() -> Iterator[CheckMessage]:
    """W021: the cookie is for another path than the handshake."""
    public = _public()
    handshake = f"{public.path.rstrip('/') if public else ''}/ws"
    path = django_settings.SESSION_COOKIE_PATH or "/"
    # RFC 6265, section 5.1.4
    if handshake != path and not handshake.startswith(f"{path.rstrip('/')}/"):
        yield Warning(
            f"SESSION_COOKIE_PATH is {path!r}, so browsers do not send the session cookie "
            f"to {handshake}, where they connect; every visitor is anonymous.",
            hint=f"Set HOOKBOX_PUBLIC_URL to a path below {path!r}, such as "
            f"'https://example.com{path.rstrip('/')}/realtime', and have the proxy forward "
            "it, or set SESSION_COOKIE_PATH = '/'.",
            id="djhookbox.W021",
        )


@site_check
def check_cookie_domain() -> Iterator[CheckMessage]:
    """W022, W026, W033: the cookie is for another host than the handshake."""
    public = _public()
    domain = (django_settings.SESSION_COOKIE_DOMAIN or "").lower().lstrip(".")
    if public is None:  # the page's own host
        if domain and not any(_shares(host.lower(), domain) for host in _site_hosts()):
            yield Warning(
                f"SESSION_COOKIE_DOMAIN is {django_settings.SESSION_COOKIE_DOMAIN!r}, and no host "
                "in ALLOWED_HOSTS belongs to it, so browsers reject the session cookie; nobody "
                "stays signed in.",
                hint="Set SESSION_COOKIE_DOMAIN to None, or to a domain that includes the site.",
                id="djhookbox.W033",
            )
        return
    host = (public.hostname or "").lower()
    if domain:
        if host != domain and not host.endswith(f".{domain}"):
            yield Warning(
                f"SESSION_COOKIE_DOMAIN is {django_settings.SESSION_COOKIE_DOMAIN!r}, so "
                f"browsers do not send the session cookie to {host}, the host in "
                "HOOKBOX_PUBLIC_URL; every visitor is anonymous.",
                hint=f"Set HOOKBOX_PUBLIC_URL to a host of {domain}, or set SESSION_COOKIE_DOMAIN "
                "to a domain that includes both the site and this host.",
                id="djhookbox.W022",
            )
    elif not validate_host(host, _site_hosts()):
        yield Warning(
            f"HOOKBOX_PUBLIC_URL contains the host {host!r}, which is not in ALLOWED_HOSTS. "
            "Without SESSION_COOKIE_DOMAIN browsers return a cookie only to the host that "
            "set it; every visitor is anonymous.",
            hint="Have the proxy forward a path of the site's own host to the process and set "
            "HOOKBOX_PUBLIC_URL to it, such as 'https://example.com/realtime', or set "
            "SESSION_COOKIE_DOMAIN to a domain that includes both hosts.",
            id="djhookbox.W026",
        )


def _shares(host: str, domain: str) -> bool:
    """Whether a host of this entry in ALLOWED_HOSTS may set a cookie for a domain."""
    name = host.lstrip(".")
    below = host.startswith(".") and f".{domain}".endswith(f".{name}")
    return host == "*" or below or f".{name}".endswith(f".{domain}")


def _site_hosts() -> list[str]:
    hosts = [str(host) for host in django_settings.ALLOWED_HOSTS]
    # If it is empty, as in development, Django accepts local names.
    return hosts or [".localhost", "127.0.0.1", "[::1]", "::1"]


@site_check
def check_cookie_security() -> Iterator[CheckMessage]:
    """W023, W027: the cookie is for https only, but browsers connect by http."""
    public = _public()
    if not django_settings.SESSION_COOKIE_SECURE:
        return
    if public is None:
        if not django_settings.DEBUG:
            yield Warning(
                "SESSION_COOKIE_SECURE is on, so the pages use https, but HOOKBOX_PUBLIC_URL "
                f"is not set: browsers would connect by https to port {settings.port} of the "
                "site's host, where the process does not speak https.",
                hint="Have a proxy forward a path of the site to the process, and set "
                "HOOKBOX_PUBLIC_URL to it, such as 'https://example.com/realtime'.",
                id="djhookbox.W027",
            )
    elif not _is_secure(public) and public.hostname not in LOOPBACK:
        yield Warning(
            "SESSION_COOKIE_SECURE is on, so browsers do not send the session cookie to "
            f"{settings.public_url}; every visitor is anonymous.",
            hint="Set HOOKBOX_PUBLIC_URL to an https:// or wss:// address.",
            id="djhookbox.W023",
        )


@site_check
def check_cookie_is_kept() -> Iterator[CheckMessage]:
    """W024: browsers reject the cookie because its name and attributes contradict each other."""
    name, secure = django_settings.SESSION_COOKIE_NAME, django_settings.SESSION_COOKIE_SECURE
    problems = []
    if name.startswith(("__Host-", "__Secure-")) and not secure:
        problems.append(("SESSION_COOKIE_NAME", name, "SESSION_COOKIE_SECURE = True"))
    if name.startswith("__Host-"):
        if django_settings.SESSION_COOKIE_DOMAIN:
            problems.append(("SESSION_COOKIE_NAME", name, "SESSION_COOKIE_DOMAIN = None"))
        if django_settings.SESSION_COOKIE_PATH != "/":
            problems.append(("SESSION_COOKIE_NAME", name, "SESSION_COOKIE_PATH = '/'"))
    if django_settings.SESSION_COOKIE_SAMESITE == "None" and not secure:
        problems.append(("SESSION_COOKIE_SAMESITE", "None", "SESSION_COOKIE_SECURE = True"))
    for setting, value, needed in problems:
        yield Warning(
            f"{setting} is {value!r}, and browsers reject such a cookie without {needed}; "
            "nobody stays signed in.",
            hint=f"Set {needed}, or change {setting}.",
            id="djhookbox.W024",
        )


@site_check
def check_cookie_same_site() -> Iterator[CheckMessage]:
    """W025: the cookie is not sent from pages of other sites that may connect."""
    same_site, public = django_settings.SESSION_COOKIE_SAMESITE, _public()
    if same_site not in ("Lax", "Strict") or public is None:
        return
    for origin in explicit("HOOKBOX_ALLOWED_ORIGINS") or ():
        page = urlsplit(origin.replace("://*.", "://"))
        if is_same_site(page, public):
            continue
        yield Warning(
            f"HOOKBOX_ALLOWED_ORIGINS contains {origin!r}, which is a different site from "
            f"{settings.public_url}. SESSION_COOKIE_SAMESITE is {same_site!r}, so browsers "
            "do not send the session cookie for its pages; their visitors are anonymous.",
            hint="Give these pages a connect token (djhookbox.connect_token), or set "
            "SESSION_COOKIE_SAMESITE = 'None' if other sites may use this site's sessions.",
            id="djhookbox.W025",
        )


def is_same_site(page: SplitResult, public: SplitResult) -> bool:
    """Return whether two addresses may be of the same site; public suffixes are not known here."""
    if (page.scheme == "https") != _is_secure(public):
        return False
    one, other = (page.hostname or "").lower(), (public.hostname or "").lower()
    return one == other or (
        len(one.split(".")) > 1 and one.split(".")[-2:] == other.split(".")[-2:]
    )
