"""Ask the site regularly whether the sessions and accounts behind the connections still exist.

There is no notification when a session expires, or when another program writes to the site's
database. Nothing is closed until the site has answered: if it is down, all connections stay open.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from ...wire import bodies, capabilities, records, rest, webhooks
from ...wire.closing import ACCOUNT_GONE, SESSION_EXPIRED, Disconnect, restart
from ...wire.replies import ConfirmReply
from ...wire.values import dumps
from ...wire.webhooks import Identified
from ..connection import Connection
from ..refusals import Refusal
from ..runtime import Runtime
from .webhooks import Rejected

logger = logging.getLogger("djhookbox.server")

#: Seconds between looks at the clock, and between two calls of a round: the site has other work.
LOOK, BREATH = 1.0, 0.2
#: Seconds after which the site is asked about a session again at the earliest.
SOONEST = 5.0
#: Share of the interval after which the next round begins, so that it is completed in time.
SHARE = 0.9
#: Maximum bytes of the connections in one call; proxies often refuse bodies of more than 1 MiB.
MOST_BYTES = 900_000


class Confirming:
    """Confirm the identities of all connections once in each interval.

    The site decides what an identity is, so those of anonymous visitors are sent as well.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._connections = runtime.connections
        self._expiries = runtime.expiries
        self._webhooks = runtime.webhooks
        self._clock = runtime.clock
        self._interval = runtime.config.revalidate_seconds
        self._began = runtime.clock()

    async def run(self) -> None:
        """Confirm the identities in each interval until cancelled."""
        while self._interval:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Confirm the identities if it is time to."""
        now = self._clock()
        # The clock may have been set back.
        if self._interval and not 0 <= now - self._began < SHARE * self._interval:
            self._began = now
            await self.confirm()

    async def confirm(
        self, connections: Iterable[Connection] | None = None, *, strictly: bool = False
    ) -> bool:
        """Ask the site about connections, and close those that it names.

        If the site does not answer, the others are asked about in the next interval.

        Args:
            connections: The connections, or None for all.
            strictly: Whether to close connections that the site cannot be asked about; their
                clients reconnect, and are identified again.

        Returns:
            Whether the site has answered.

        """
        waiting = deque(self._connections if connections is None else connections)
        if capabilities.CONFIRM not in self._webhooks.accepted:
            if strictly:
                self._send_back(waiting)
            return True
        while True:
            taken = _take(waiting)
            if not taken:
                return True
            asked = {connection.id: connection.identity for connection, _form in taken}
            webhook = webhooks.Confirm(tuple(form for _connection, form in taken))
            try:
                reply = (await self._webhooks.send(webhook, urgent=True)).check()
            except Rejected as refusal:  # the next ones may be acceptable
                logger.error("%d connections were not confirmed: %s", len(taken), refusal.problem)
                if strictly:
                    self._send_back(connection for connection, _form in taken)
            except Refusal as refusal:
                logger.warning(
                    "%d connections were not confirmed: %s",
                    len(taken) + len(waiting), refusal.reason,
                )  # fmt: skip
                return False
            else:
                answered = max(1, reply.answered)
                waiting.extendleft(connection for connection, _ in reversed(taken[answered:]))
                self._close(reply, asked)
                for conn_id, seconds in reply.expires.items():
                    connection = self._connections.get(conn_id)
                    if connection is not None and conn_id in asked:
                        self._expiries.set(connection, max(seconds, SOONEST))
            if waiting:
                await asyncio.sleep(BREATH)

    def _send_back(self, connections: Iterable[Connection]) -> None:
        """Have clients reconnect, a few at a time."""
        known = [each for each in connections if each.user is not None and not each.closed]
        end = Disconnect(SESSION_EXPIRED.code, SESSION_EXPIRED.reason, restart(len(known)).spread)
        for each in known:
            each.close(end)

    def _close(self, reply: ConfirmReply, asked: dict[str, str]) -> None:
        gone = self._end(ACCOUNT_GONE, (asked[each] for each in reply.gone if each in asked))
        expired = self._end(
            SESSION_EXPIRED, (asked[each] for each in reply.expired if each in asked)
        )
        if gone or expired:
            logger.info(
                "Closed %d connections whose session has ended, and %d whose account is gone",
                expired, gone,
            )  # fmt: skip

    def _end(self, end: Disconnect, identities: Iterable[str]) -> int:
        """Close the connections of identities, and those that are being identified now."""
        ended = tuple(dict.fromkeys(identities))
        if not ended:
            return 0
        request = rest.Disconnect(identities=ended, code=end.code, reason=end.reason)
        return self._connections.disconnect(request)


def _take(waiting: deque[Connection]) -> list[tuple[Connection, Identified]]:
    """Take as many connections as fit into one call."""
    taken: list[tuple[Connection, Identified]] = []
    size = 0
    while waiting and len(taken) < webhooks.MOST_CONFIRMED:
        connection = waiting[0]
        if connection.closed or connection.user is None or not connection.identity:
            waiting.popleft()
            continue
        cookie = bodies.sendable_text(connection.cookie)
        form = Identified(connection.id, connection.user.name, connection.identity, cookie)
        size += bodies.json_size(dumps(records.write(form))) + len(",")
        if taken and size > MOST_BYTES:
            break
        taken.append((connection, form))
        waiting.popleft()
    return taken
