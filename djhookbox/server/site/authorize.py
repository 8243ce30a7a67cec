"""Ask the site about the operations of clients, and carry out what it asks for in return.

A webhook comes between question and answer, so anything may have happened. Each operation
therefore checks again afterwards: a client that has gone gets nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

from ...wire.closing import ABNORMAL, Disconnect
from ...wire.events import Subscribed, Unsubscribed
from ...wire.names import RESERVED_PREFIX, NameProblem, check_name
from ...wire.replies import FollowUp
from ...wire.webhooks import Webhook
from ..channels.lifecycle import Lifecycle
from ..channels.proposals import Proposals
from ..connection import Connection
from ..core.changes import Subscribe, Unsubscribe
from ..core.model import Channel, User
from ..refusals import Refusal
from ..runtime import Runtime
from .webhooks import Reply

logger = logging.getLogger("djhookbox.server")

R = TypeVar("R")


class ClientGone(Exception):
    """The client left before the site answered; nothing more is done for it."""


def user_of(connection: Connection) -> User:
    """Return the user of a connection.

    Raises:
        Refusal: If it has not connected.

    """
    if connection.user is None:
        raise Refusal("Not connected", "not_connected")
    return connection.user


class Authorizer:
    """Ask the site on behalf of clients."""

    def __init__(self, runtime: Runtime, proposals: Proposals, lifecycle: Lifecycle) -> None:
        self._config = runtime.config
        self._delivery = runtime.delivery
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._clock = runtime.clock
        self._proposals = proposals
        self._lifecycle = lifecycle

    async def ask(
        self,
        webhook: Webhook[R],
        connection: Connection,
        *,
        leaving: bool = False,
        patience: float = 1.0,
    ) -> R:
        """Ask the site, and return what it grants.

        Args:
            webhook: The webhook to make.
            connection: The connection that asks.
            leaving: Carry out what was granted even if the client has left since. Pages often
                publish just before they close, and the site has already recorded it.
            patience: The timeout for the answer, as a multiple of the usual one.

        Raises:
            Refusal: If the site refused.
            ClientGone: If the client left in the meantime.

        """
        reply = await self._webhooks.send(webhook, connection, patience=patience)
        if not (leaving and reply.allowed and connection.closed):
            self.still_here(connection, reply)
        return reply.check()

    def still_here(
        self, connection: Connection, reply: Reply[object] | None = None, name: str = ""
    ) -> None:
        """Raise ClientGone if the client has left; otherwise pass on the cookies of a reply.

        A connect that was granted to a client that has left is in the site's log, so its end
        must be logged as well.
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
        reply: FollowUp,
    ) -> None:
        """Carry out auto_subscribe, then auto_unsubscribe.

        The failure of one channel affects neither the others nor what was granted (D33). A
        client that has gone is not subscribed to anything.
        """
        user = user_of(connection)
        for subscribe, names in ((True, reply.auto_subscribe), (False, reply.auto_unsubscribe)):
            for name in self._checked(names):
                try:
                    if connection.closed:
                        return
                    async with self._lifecycle.using(name, connection) as channel:
                        if not connection.closed:
                            await self._follow(subscribe, user, channel, connection)
                except Refusal as refusal:
                    what = "auto_subscribe" if subscribe else "auto_unsubscribe"
                    logger.warning("%s of %r to %r failed: %s", what, user.name, name, refusal)

    async def _follow(
        self,
        subscribe: bool,
        user: User,
        channel: Channel,
        connection: Connection,
    ) -> None:
        inside = user.name in channel.subscribers
        if subscribe:
            if not inside:
                self.check_room(user)
            await self._proposals.propose(
                channel,
                Subscribe(user, connection, self._clock(), by_code=True),
            )
        else:
            await self._proposals.propose(channel, Unsubscribe(user, self._clock()))
        if inside is not (user.name in channel.subscribers):
            event = Unsubscribed if inside else Subscribed
            self.report(event, channel, user, connection, "auto")

    def _checked(self, names: Sequence[str]) -> Sequence[str]:
        """Return names that the site gives, or none if one of them cannot be subscribed to."""
        try:
            for name in names:
                check_name("channel_name", name, self._config.max_name_length)
                if name.startswith(RESERVED_PREFIX):
                    raise NameProblem(f"{name} is reserved")
        except NameProblem as error:
            logger.error("The site's reply has an unusable channel name: %s", error)
            return ()
        return names

    def check_room(self, user: User, more: int = 0) -> None:
        """Check that a user is not in too many channels, and may join this many more.

        Raises:
            Refusal: If there is no room for another.

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
        """Report an event that no webhook decided."""
        self._events.add(event(channel.name, user.name, connection.id, by))
