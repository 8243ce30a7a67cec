"""What the operations of clients have in common: the site is asked, and what it wants follows.

Between question and answer lies a webhook, in which anything may happen. So each operation
looks again after it: a client that has gone gets nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ...wire.closing import ABNORMAL, Disconnect
from ...wire.events import Subscribed, Unsubscribed
from ...wire.names import RESERVED_PREFIX, NameProblem, check_name
from ...wire.webhooks import Webhook
from ..channels.lifecycle import Lifecycle
from ..channels.streams import Streams
from ..clients.connection import Connection
from ..core.changes import Subscribe, Unsubscribe
from ..core.log import Position
from ..core.model import Channel, User
from ..runtime import Runtime
from .webhooks import Refusal, Reply

logger = logging.getLogger("djhookbox.server")

_NOTHING: Mapping[str, Position] = MappingProxyType({})


class ClientGone(Exception):
    """The client left while the site was asked; nothing is done for it any more."""


def user_of(connection: Connection) -> User:
    """Return the user of a connection.

    Raises:
        Refusal: It has not connected.

    """
    if connection.user is None:
        raise Refusal("Not connected", "not_connected")
    return connection.user


class Authorizer:
    """Asks the site for clients."""

    def __init__(self, runtime: Runtime, streams: Streams, lifecycle: Lifecycle) -> None:
        self._config = runtime.config
        self._delivery = runtime.delivery
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._clock = runtime.clock
        self._streams = streams
        self._lifecycle = lifecycle

    async def ask(
        self,
        webhook: Webhook,
        connection: Connection,
        *,
        leaving: bool = False,
        patience: float = 1.0,
    ) -> dict[str, Any]:
        """Return the options of the site's yes.

        Args:
            webhook: What to ask.
            connection: Who wants it.
            leaving: What was granted is done even for a client that has left since: many a page
                publishes as the last thing it does, and the site has it in its history.
            patience: How many times the usual timeout the answer may take.

        Raises:
            Refusal: If it said no.
            ClientGone: If the client left meanwhile.

        """
        reply = await self._webhooks.call(webhook, connection, patience=patience)
        if not (leaving and reply.allowed and connection.closed):
            self.still_here(connection, reply)
        return reply.check()

    def still_here(
        self, connection: Connection, reply: Reply | None = None, name: str = ""
    ) -> None:
        """Raise ClientGone if it is; else pass on the cookies of a reply.

        A connect that was granted to a client that has gone is in the site's log, so that its
        end has to be there as well.
        """
        if connection.closed:
            if name:
                self._events.add(connection.ended(name, Disconnect(ABNORMAL.code, "")))
            raise ClientGone
        for cookie in reply.cookies if reply else ():
            self._delivery.send(connection, "SET_COOKIE", {"cookie": cookie})

    async def follow_up(
        self,
        connection: Connection,
        options: dict[str, Any],
        since: Mapping[str, Position] = _NOTHING,
    ) -> None:
        """Carry out auto_subscribe, then auto_unsubscribe.

        One that fails stops neither the others nor what was granted (D33). A client that has
        gone is not subscribed to anything.
        """
        user = user_of(connection)
        for key in ("auto_subscribe", "auto_unsubscribe"):
            for name in self._names(options, key):
                try:
                    if connection.closed:
                        return
                    async with self._lifecycle.using(name, connection) as channel:
                        if not connection.closed:
                            await self._follow(key, user, channel, connection, since.get(name))
                except Refusal as refusal:
                    logger.warning("%s of %r to %r failed: %s", key, user.name, name, refusal)

    async def _follow(
        self,
        key: str,
        user: User,
        channel: Channel,
        connection: Connection,
        since: Position | None,
    ) -> None:
        inside = user.name in channel.subscribers
        if connection in channel.audience:
            since = None  # it was caught up when it connected
        if key == "auto_subscribe":
            if not inside:
                self.check_room(user)
            await self._streams.propose(
                channel,
                Subscribe(user, connection, self._clock(), by_code=True, since=since),
            )
        else:
            await self._streams.propose(channel, Unsubscribe(user, self._clock()))
        if inside is not (user.name in channel.subscribers):
            event = Unsubscribed if inside else Subscribed
            self.report(event, channel, user, connection, "auto")

    def _names(self, options: dict[str, Any], key: str) -> Sequence[str]:
        names = options.get(key, [])
        try:
            if not isinstance(names, list):
                raise NameProblem(f"{key} must be a list of channel names")  # D38
            for name in names:
                check_name("channel_name", name, self._config.max_name_length)
                if name.startswith(RESERVED_PREFIX):
                    raise NameProblem(f"{name} is reserved")
        except NameProblem as error:
            logger.error("The site's reply has an unusable %s: %s", key, error)
            return []
        return names

    def check_room(self, user: User, more: int = 0) -> None:
        """Refuse a user who is in too many channels, or is about to be in some more.

        Raises:
            Refusal: There is no room for another.

        """
        limit = self._config.max_channels_per_connection
        if len(user.subscriptions) + more >= limit:
            raise Refusal(f"Too many channels (at most {limit})", "limit")

    def report(
        self,
        event: type[Subscribed | Unsubscribed],
        channel: Channel,
        user: User,
        connection: Connection,
        by: str,
    ) -> None:
        """Report what no webhook decided."""
        self._events.add(event(channel.name, user.name, connection.id, by))
