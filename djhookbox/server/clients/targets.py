"""Select the connections that a disconnect call applies to."""

from __future__ import annotations

from ...wire.rest import Disconnect


def includes(request: Disconnect, *, name: str, identity: str, conn_id: str) -> bool:
    """Return whether a disconnect call applies to a connection.

    Args:
        request: The call.
        name: The name of the connection's user, or "" if it has not connected.
        identity: The site's identifier of its session or token.
        conn_id: The connection's id.

    """
    if name in (request.names or ()) or identity in (request.identities or ()):
        return True
    known = {"name": name, "identity": identity, "conn_id": conn_id}
    named = {
        "name": request.user_name, "identity": request.identity, "conn_id": request.conn_id
    }  # fmt: skip
    given = {field: value for field, value in named.items() if value is not None}
    return bool(given) and given.items() <= known.items()
