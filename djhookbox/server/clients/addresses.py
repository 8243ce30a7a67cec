"""Where a client comes from, and which host name it asked for: what a handshake's headers tell.

Both are for logs and for choosing what to show. Neither proves anything about the client.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

#: Bits that stand before the IPv4 address in an IPv6 address that maps it.
_MAPPED = 96

#: A host name or address, with or without a port: nothing that could end a header, or a word of it.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

#: A hop with its port, as some proxies write it.
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed.

    Args:
        entries: Addresses and ranges (`10.0.0.0/8`, `fd00::/8`).

    Raises:
        ValueError: For an entry that is neither.

    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks = tuple(_network(entry) for entry in entries)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address that a client comes from, as far as trusted proxies tell.

        Each proxy adds the address of its own peer at the end; what stands before the last entry
        that a trusted proxy has made is the client's own invention.

        Args:
            peer: Address of the TCP peer.
            forwarded: All `X-Forwarded-For` headers, in their order.

        """
        address = _address(peer)
        if address is None:
            return peer
        hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
        for hop in reversed(hops):
            found = _address(hop)
            # What is no address is not passed on.
            if found is None or not self._trusts(address):
                break
            address = found
        return str(address)

    def includes(self, address: str) -> bool:
        """Tell whether an address is that of a trusted proxy."""
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


def _address(text: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that listens to IPv6 sees IPv4 peers so.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def host_name(values: Sequence[str]) -> str:
    """Return the host that a handshake asks for, with its port; "" if it is no proper one.

    Args:
        values: All `Host` headers; more than one is a trick.

    """
    return values[0] if len(values) == 1 and _HOST.fullmatch(values[0]) else ""
