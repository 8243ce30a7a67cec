"""Who may open a connection, and whether its cookies count.

Cookies are sent by browsers on behalf of any page, so they count only on a request that proves
which page it is from: an allowed `Origin`, or `Sec-Fetch-Site: same-origin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class CookieProblem(ValueError):
    """A cookie_string that cannot be sent on; the text says why."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the headers of a handshake prove.

    Attributes:
        admitted: False for a page of a foreign origin.
        cookies: Whether the Cookie header counts.

    """

    admitted: bool
    cookies: bool


class OriginRules:
    """The origins that may connect.

    Args:
        allowed: Origins (`https://example.com`, `https://*.example.com`), or hosts as in
            Django's `ALLOWED_HOSTS` (`example.com`, `.example.com`) with any scheme and port.

    """

    def __init__(self, allowed: Iterable[str]) -> None:
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

    def allows(self, origin: str) -> bool:
        """Tell whether an Origin header names an allowed page; `null` never does."""
        origin = origin.lower()
        try:
            parts = urlsplit(origin)
            host = parts.hostname or ""
            parts.port  # noqa: B018 - raises for a port that is none
        except ValueError:
            return False
        # Scheme, host and port are all that an origin has (RFC 6454, section 6.1).
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

    def admit(self, headers: Mapping[str, str]) -> Admission:
        """Say what a handshake proves."""
        origin = headers.get("Origin")
        if origin is not None:
            allowed = self.allows(origin)
            return Admission(allowed, allowed)
        return Admission(True, headers.get("Sec-Fetch-Site") == "same-origin")


def _without_default_port(origin: str) -> str:
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if origin.startswith(scheme) and origin.endswith(port):
            return origin[: -len(port)]
    return origin


def merge_cookies(handshake: str, stated: object) -> str:
    """Return the Cookie header of a connection's webhooks.

    Args:
        handshake: The Cookie header of the request, if it counts.
        stated: The `cookie_string` of CONNECT, which only adds what the request did not carry.

    Raises:
        CookieProblem: If `stated` cannot be a Cookie header.

    """
    if not isinstance(stated, str):
        raise CookieProblem("cookie_string must be a string")
    if any(not " " <= c <= "~" for c in stated):
        raise CookieProblem("cookie_string must be printable ASCII")
    if len(stated) > 16_384:
        raise CookieProblem("cookie_string is too long (at most 16384 characters)")
    if not handshake:
        return stated
    names = {_cookie_name(part) for part in handshake.split(";")}
    added = [part.strip() for part in stated.split(";") if _cookie_name(part) not in names]
    return "; ".join([handshake, *(part for part in added if part)])


def _cookie_name(part: str) -> str:
    return part.partition("=")[0].strip()
