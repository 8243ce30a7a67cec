"""The registry of all connections of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

from ...wire import rest
from ...wire.closing import Disconnect
from ..connection import Connection, State
from ..core.model import User
from .targets import includes

#: Seconds for which a call may apply to connections to come.
LONGEST = 60.0

#: Calls that end connections, and why.
_Calls: TypeAlias = "list[tuple[rest.Disconnect, Disconnect]]"


class Connections:
    """All open connections by id, by user, and by the site's identifier of session or token.

    Args:
        users: The connected users by name, from the core.

    Attributes:
        stopping: Set when the server stops. No connection is accepted any more, and no webhook
            reports departures: all clients leave at once and return soon, which would flood the
            site.

    """

    def __init__(self, users: Mapping[str, User]) -> None:
        self.stopping = False
        self._users = users
        self._by_id: dict[str, Connection] = {}
        self._by_identity: dict[str, dict[Connection, None]] = {}
        #: Connections that the site is currently identifying, with the calls that ended them in
        #: the meantime: the site may have decided before the session ended.
        self._connecting: dict[Connection, _Calls] = {}
        self._answered = asyncio.Event()
        #: Calls that end connections to come, and until when, in the loop's time.
        self._lasting: list[tuple[float, rest.Disconnect, Disconnect]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._by_id.values())

    def add(self, connection: Connection) -> None:
        """Add a connection whose client has yet to send CONNECT."""
        self._by_id[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self._by_id.pop(connection.id, None)
        # All anonymous visitors share one identity, so the cost of this must not grow with
        # their number.
        same = self._by_identity.get(connection.identity)
        if same is not None:
            same.pop(connection, None)
            if not same:
                del self._by_identity[connection.identity]

    def identify(self, connection: Connection, identity: str) -> None:
        """Set the site's identifier of a connection's session or token."""
        connection.identity = identity
        if identity:
            self._by_identity.setdefault(identity, {})[connection] = None

    def get(self, conn_id: str) -> Connection | None:
        """Return the connection with this id, if any."""
        return self._by_id.get(conn_id)

    def of_identity(self, identity: str) -> tuple[Connection, ...]:
        """Return the connections of a session or token."""
        return tuple(self._by_identity.get(identity, ())) if identity else ()

    def of_user(self, name: str) -> tuple[Connection, ...]:
        """Return the connections of a user."""
        user = self._users.get(name)
        return tuple(c for c in user.connections if isinstance(c, Connection)) if user else ()

    def meant_by(self, request: rest.Disconnect) -> list[Connection]:
        """Return the connections that a disconnect call selects, looked up in the indexes."""
        groups: list[Iterable[Connection]] = [
            *map(self.of_identity, (*(request.identities or ()), request.identity or "")),
            *map(self.of_user, (*(request.names or ()), request.user_name or "")),
        ]
        if request.addresses:
            groups.append(self)  # a rare call, so there is no index of addresses
        if request.conn_id and (one := self.get(request.conn_id)) is not None:
            groups.append((one,))
        candidates = dict.fromkeys(connection for group in groups for connection in group)
        return [
            connection
            for connection in candidates
            if includes(
                request,
                name=connection.user.name if connection.user else "",
                identity=connection.identity,
                conn_id=connection.id,
                address=connection.handshake.remote_addr,
            )
        ]

    # ---- while the site is asked -------------------------------------------

    def connecting(self, connection: Connection) -> AbstractContextManager[_Calls]:
        """Collect the calls that end connections while the site identifies this one."""
        return _Connecting(self, connection)

    def begin(self, connection: Connection) -> _Calls:
        """Begin to collect these calls; `end` must follow."""
        if self._lasting:
            now = asyncio.get_running_loop().time()
            self._lasting = [each for each in self._lasting if each[0] > now]
        calls = [(request, end) for _until, request, end in self._lasting]
        self._connecting[connection] = calls
        connection.move(State.CONNECTING)
        return calls

    def end(self, connection: Connection) -> None:
        """Record that the site has answered, or that there will be no answer."""
        connection.move(State.NEW)
        del self._connecting[connection]
        self._answered.set()

    def disconnect(self, request: rest.Disconnect) -> int:
        """Close the selected connections, now or once they connect; return their number."""
        end = Disconnect(request.code, request.reason)
        chosen = self.meant_by(request)
        for connection in chosen:
            connection.close(end)
        for calls in self._connecting.values():
            calls.append((request, end))
        if request.seconds is not None and request.seconds > 0:
            until = asyncio.get_running_loop().time() + min(request.seconds, LONGEST)
            self._lasting.append((until, request, end))
        return len(chosen)

    def being_identified(self) -> tuple[Connection, ...]:
        """Return the connections about which the site is being asked."""
        return tuple(self._connecting)

    async def all_answered(self) -> None:
        """Wait until the site has answered for all connecting clients."""
        while self._connecting:
            self._answered.clear()
            await self._answered.wait()


class _Connecting(AbstractContextManager[_Calls]):
    """Collects calls. A class, as every client needs one, and a generator costs more."""

    __slots__ = ("_connection", "_connections")

    def __init__(self, connections: Connections, connection: Connection) -> None:
        self._connections = connections
        self._connection = connection

    def __enter__(self) -> _Calls:
        return self._connections.begin(self._connection)

    def __exit__(self, *_: object) -> None:
        self._connections.end(self._connection)
