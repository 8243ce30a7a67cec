"""Decide whether a page may open a connection, and whether its cookies count.

Browsers send cookies on behalf of any page, so they count only on a request that proves which
page it is from: an allowed `Origin`, or `Sec-Fetch-Site: same-origin`. A page's request without
such proof is refused, as `<script src>` and links carry no `Origin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from ...wire.urls import origin_of
from .hosts import HostRules

#: Maximum characters of an origin that is remembered.
LONGEST_REMEMBERED = 255


class CookieProblem(ValueError):
    """A cookie_string that cannot be forwarded; the text says why."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the headers of a handshake prove.

    Attributes:
        admitted: Whether the request is admitted.
        cookies: Whether the Cookie header counts.
        problem: Why it is refused: `origin`, or `host` for a host name that is not allowed.

    """

    admitted: bool
    cookies: bool
    problem: str = ""


class OriginRules:
    """The origins that may connect.

    Args:
        allowed: Origins (`https://example.com`, `https://*.example.com`), or hosts as in
            Django's `ALLOWED_HOSTS` (`example.com`, `.example.com`) with any scheme and port.
        hosts: Further host names that clients may use to reach the process.

    """

    def __init__(self, allowed: Iterable[str], hosts: Iterable[str] = ()) -> None:
        allowed = tuple(allowed)
        self._called = HostRules([*(entry for entry in allowed if entry != "*"), *hosts])
        self._origins: set[str] = set()
        self._suffixes: list[tuple[str, str]] = []
        self._hosts: set[str] = set()
        self._host_suffixes: list[str] = []
        for entry in allowed:
            entry = entry.lower().rstrip("/")
            if "://*." in entry:
                scheme, _, rest = entry.partition("://*")
                self._suffixes.append((scheme, rest))
            elif "://" in entry:
                self._origins.add(_without_default_port(entry))
            elif entry.startswith("."):
                self._hosts.add(entry[1:])
                self._host_suffixes.append(entry)
            elif entry != "*":
                self._hosts.add(entry.strip("[]"))
        #: Nearly all clients come from the same few pages.
        self._remembered = lru_cache(maxsize=256)(self._allows)

    def allows(self, origin: str) -> bool:
        """Return whether an Origin header names an allowed page; `null` never does."""
        if len(origin) > LONGEST_REMEMBERED:
            return self._allows(origin)
        return self._remembered(origin)

    def _allows(self, origin: str) -> bool:
        origin = origin.lower()
        try:
            parts = urlsplit(origin)
            host = parts.hostname or ""
            parts.port  # noqa: B018 - raises for an invalid port
        except ValueError:
            return False
        # An origin consists of scheme, host and port only (RFC 6454, section 6.1).
        if parts.scheme not in ("http", "https") or not host:
            return False
        if any(c in "/?#@\\" for c in origin.partition("://")[2]):
            return False
        origin = _without_default_port(origin)
        return (
            origin in self._origins
            or host in self._hosts
            or host.endswith(tuple(self._host_suffixes))
            or any(
                origin.startswith(f"{scheme}://") and origin.endswith(rest)
                for scheme, rest in self._suffixes
            )
        )

    def admit(self, headers: Mapping[str, str], *, script: bool = False) -> Admission:
        """Return what the headers of a request prove.

        Args:
            headers: The request's headers; a `CIMultiDict` in the server.
            script: Whether it may come from a `<script>` on a page written for 0.3.3 (JSONP),
                which has a `Referer` but no `Origin`.

        """
        origins, sites = _all(headers, "Origin"), _all(headers, "Sec-Fetch-Site")
        if origins:
            # A proxy that should not do so has joined two origins: trust neither.
            allowed = len(origins) == 1 and self.allows(origins[0])
            return Admission(allowed, allowed, "" if allowed else "origin")
        if not all(map(self._called.allows, _all(headers, "Host"))):
            return Admission(False, False, "host")
        pages = [origin_of(page) for page in _all(headers, "Referer")] if script else []
        if pages:
            allowed = all(map(self.allows, pages))
            return Admission(allowed, False, "" if allowed else "origin")
        if sites in ([], ["none"]):
            return Admission(True, False)  # a program, or a URL typed by hand
        if sites == ["same-origin"]:
            return Admission(True, True)
        return Admission(False, False, "origin")


def _all(headers: Mapping[str, str], name: str) -> list[str]:
    """Return all values of a header."""
    getall = getattr(headers, "getall", None)
    if getall is not None:
        return list(getall(name, ()))
    return [headers[name]] if name in headers else []


def _without_default_port(origin: str) -> str:
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme) and origin.endswith(port):
            return origin[: -len(port)]
    return origin


def merge_cookies(handshake: str, stated: object) -> str:
    """Return the Cookie header for a connection's webhooks.

    Args:
        handshake: The Cookie header of the request, if it counts.
        stated: The `cookie_string` of CONNECT, which only adds cookies missing from the request.

    Raises:
        CookieProblem: If `stated` cannot be a Cookie header.

    """
    if not isinstance(stated, str):
        raise CookieProblem("cookie_string must be a string")
    if not (stated.isascii() and stated.isprintable()):
        raise CookieProblem("cookie_string must be printable ASCII")
    if len(stated) > 16_384:
        raise CookieProblem("cookie_string is too long (at most 16384 characters)")
    if not handshake:
        return stated
    if not stated:
        return handshake
    names = {_cookie_name(part) for part in handshake.split(";")}
    added = [part.strip() for part in stated.split(";") if _cookie_name(part) not in names]
    return "; ".join([handshake, *(part for part in added if part)])


def _cookie_name(part: str) -> str:
    return part.partition("=")[0].strip()
