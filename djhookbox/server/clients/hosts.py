"""Under which names the process may be called: a defence against DNS rebinding.

A page of `evil.example`, whose name suddenly leads to the address of this process, is of the same
origin as the process to its browser. Only the Host header gives it away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class HostRules:
    """The host names that requests may be made to.

    IP addresses and `localhost` are always allowed: no name leads elsewhere from them.

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
                # As an origin's host it would allow every page; as a host it switches this off.
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
        """Tell whether a Host header (`host`, `host:port`, `[address]:port`) is one of ours."""
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
    """Tell whether a colon has parted an IPv6 address, and not a host from its port."""
    return ":" in name and not name.endswith("]")
