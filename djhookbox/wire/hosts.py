"""The hosts that the process may fetch messages from (the option `polling` of channels)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"\.?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
#: IPv4 addresses behind a NAT64 gateway (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class HostProblem(ValueError):
    """An entry that is neither a host name nor an address nor a range; the text says why."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """Rules that allow hosts by name, domain and address; created by `parse`.

    Attributes:
        names: Host names.
        domains: Suffixes such as `.example.com`, which match a domain and its subdomains.
        networks: Addresses and ranges.

    """

    names: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> HostRules:
        """Parse entries such as `feed.example.com`, `.example.com`, `10.1.2.3` and `10.0.0.0/8`.

        Raises:
            HostProblem: For the first entry that is none of these.

        """
        names, domains, networks = set(), [], []
        for entry in entries:
            text = entry.strip("[]")
            try:
                networks.append(ipaddress.ip_network(text))
                continue
            except ValueError as error:
                if "host bits" in str(error):
                    whole = ipaddress.ip_network(text, strict=False)
                    raise HostProblem(f"{entry!r} is not a range; {str(whole)!r} is") from None
            name = _normal(entry)
            if not _NAME.fullmatch(name):
                raise HostProblem(
                    f"{entry!r} is not a host name, an IP address, or a range such as '10.0.0.0/8'"
                )
            if name.startswith("."):
                domains.append(name)
            else:
                names.add(name)
        return cls(frozenset(names), tuple(domains), tuple(networks))

    def allows_host(self, host: str) -> bool:
        """Return whether a URL's host is listed; an address must be listed as an address."""
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            name = _normal(host)
            return name in self.names or any(
                name.endswith(domain) or name == domain[1:] for domain in self.domains
            )
        return self._lists(address)

    def allows_address(self, text: str) -> bool:
        """Return whether a connection may be made to an address that a listed name resolves to.

        Public addresses are allowed. All others (loopback, private, link-local, multicast…) must
        be listed: control of a name must not suffice to send the process into its own network.
        """
        try:
            addresses = _meant(ipaddress.ip_address(text))
        except ValueError:
            return False
        return all(_is_public(each) or self._lists(each) for each in addresses)

    def _lists(self, address: Address) -> bool:
        return any(
            all(each.version == network.version and each in network for each in _meant(address))
            for network in self.networks
        )


def _normal(name: str) -> str:
    """Return a host name in the form used by the DNS."""
    text = name.lower().removesuffix(".")
    try:
        return text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        return text


def _meant(address: Address) -> list[Address]:
    """Return the addresses that this one may lead to, as IPv6 addresses can embed IPv4 ones."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    found: list[Address] = [address]
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if address in _NAT64:
        found = [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return found


def _is_public(address: Address) -> bool:
    return address.is_global and not (
        address.is_multicast or address.is_unspecified or address.is_loopback
    )
