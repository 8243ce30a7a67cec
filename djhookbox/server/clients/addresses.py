"""The client's address and the requested host name, as read from a handshake's headers.

Use both only for logs and for choosing what to show. Neither proves anything about the client.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

#: Number of bits before the IPv4 address in an IPv4-mapped IPv6 address.
_MAPPED = 96

#: A host name or address with an optional port, without any character that could end a header.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

#: An address with its port, as some proxies write it.
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is trusted.

    Args:
        entries: Addresses and ranges (`10.0.0.0/8`, `fd00::/8`).

    Raises:
        ValueError: For an entry that is neither an address nor a range.

    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks = tuple(_network(entry) for entry in entries)
        #: Returns whether an address belongs to a trusted proxy. Few addresses ask often.
        self.includes = lru_cache(maxsize=1024)(self._includes)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of a client, as reported by trusted proxies.

        Each proxy appends the address of its own peer. Entries before the first one added by a
        trusted proxy are supplied by the client and cannot be trusted.

        Args:
            peer: The address of the TCP peer.
            forwarded: All `X-Forwarded-For` headers, in order.

        """
        if not forwarded:
            return _text(peer)
        address = _address(peer)
        if address is None:
            return peer
        hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
        for hop in reversed(hops):
            found = _address(hop)
            # Do not pass on a value that is not an address.
            if found is None or not self._trusts(address):
                break
            address = found
        return str(address)

    def _includes(self, address: str) -> bool:
        found = _address(address)
        return found is not None and self._trusts(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))
    return network


@lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that listens on IPv6 reports IPv4 peers in this form.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def _text(peer: str) -> str:
    """Return the address of a peer as `ipaddress` writes it; other texts are unchanged."""
    return str(_address(peer) or peer)


def host_name(values: Sequence[str]) -> str:
    """Return the host that a handshake requests, with its port, or "" if it is invalid.

    Args:
        values: All `Host` headers; more than one is an attack.

    """
    return values[0] if len(values) == 1 and _HOST.fullmatch(values[0]) else ""
