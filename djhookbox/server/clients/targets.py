"""Select the connections that a disconnect call applies to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ...wire.rest import Disconnect


def includes(
    request: Disconnect, *, name: str, identity: str, conn_id: str, address: str = ""
) -> bool:
    """Return whether a disconnect call applies to a connection.

    Args:
        request: The call.
        name: The name of the connection's user, or "" if it has not connected.
        identity: The site's identifier of its session or token.
        conn_id: The connection's id.
        address: Its IP address.

    """
    if request.addresses and address and _within(address, request.addresses):
        return True
    if name in (request.names or ()) or identity in (request.identities or ()):
        return True
    known = {"name": name, "identity": identity, "conn_id": conn_id}
    named = {
        "name": request.user_name, "identity": request.identity, "conn_id": request.conn_id
    }  # fmt: skip
    given = {field: value for field, value in named.items() if value is not None}
    return bool(given) and given.items() <= known.items()


def _within(address: str, networks: Iterable[str]) -> bool:
    """Return whether a text is an IP address in one of the ranges."""
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    if one.version == 6 and one.ipv4_mapped is not None:
        one = one.ipv4_mapped
    for text in networks:
        try:
            if one in ipaddress.ip_network(text, strict=False):
                return True
        except ValueError:
            continue
    return False
