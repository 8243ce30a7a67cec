"""The host names that requests may use: a defence against DNS rebinding.

If the name of a page at `evil.example` is changed to resolve to this process, a browser treats
the page and the process as the same origin. Only the Host header reveals the difference.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class HostRules:
    """The host names that requests may use.

    IP addresses and `localhost` are always allowed, as DNS cannot redirect them.

    Args:
        allowed: Hosts as in Django's `ALLOWED_HOSTS` (`example.com`, `.example.com`, `*`), or
            origins (`https://example.com`, `https://*.example.com`), whose hosts count.

    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._all = False
        self._hosts: set[str] = {"localhost"}
        self._suffixes: list[str] = [".localhost"]  # RFC 6761, section 6.3
        for entry in allowed:
            host = entry.lower().partition("://")[2].rstrip("/") or entry.lower()
            if host == "*":
                # As an origin, `*` allows every page; as a host, it disables this check.
                self._all = self._all or "://" not in entry
                continue
            host = _without_port(host) if "://" in entry else host
            if host.startswith("*."):
                self._suffixes.append(host[1:])
            elif host.startswith("."):
                self._hosts.add(host[1:])
                self._suffixes.append(host)
            elif host:
                self._hosts.add(host)

    def allows(self, header: str) -> bool:
        """Return whether a Host header (`host`, `host:port`, `[address]:port`) is allowed."""
        host = _without_port(header.strip().lower()).rstrip(".")
        if self._all or host in self._hosts or host.endswith(tuple(self._suffixes)):
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    if separator and (not port or (port.isascii() and port.isdigit())) and not _cut(name):
        return name
    return host


def _cut(name: str) -> bool:
    """Return whether a colon split an IPv6 address, rather than a host from its port."""
    return ":" in name and not name.endswith("]")
