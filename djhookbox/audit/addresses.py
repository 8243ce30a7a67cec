"""What the audit log stores of an IP address: all of it, or only its network."""

from __future__ import annotations

import ipaddress

from ..conf import settings

#: Bits that remain of an address that is shortened.
IPV4_BITS, IPV6_BITS = 24, 48


def stored(text: str) -> str | None:
    """Return an address as the settings want it stored, or None if it is invalid."""
    try:
        found = str(ipaddress.ip_address(text.strip().partition("%")[0]))  # in its usual spelling
    except ValueError:
        return None
    return shortened(found) if settings.shorten_addresses else found


def shortened(text: str) -> str:
    """Return an address without the bits that tell neighbours apart.

    The first 24 bits remain of an IPv4 address, and 48 of an IPv6 address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    bits = IPV4_BITS if address.version == 4 else IPV6_BITS
    return str(ipaddress.ip_network((address, bits), strict=False).network_address)
