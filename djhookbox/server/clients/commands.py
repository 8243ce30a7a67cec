"""The commands of clients: the site decides by webhook, the core changes, frames are sent.

Subscribing and unsubscribing are in `subscriptions`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from ...wire import webhooks
from ...wire.closing import SESSION_EXPIRED, TOKEN_SPENT
from ...wire.events import Delivered, Published
from ...wire.fields import ABSENT, Fault, FieldProblem, given
from ...wire.names import NameProblem, check_name
from ...wire.replies import PublishReply
from ...wire.rest import Disconnect
from ...wire.spent import SpentTokens
from ...wire.values import JSON, dumps, loads
from ..channels.durable import Durable
from ..channels.lifecycle import Lifecycle
from ..channels.proposals import Proposals
from ..channels.publications import Publications
from ..connection import Connection, State
from ..core.messages import message
from ..core.stream import Position, place
from ..refusals import Refusal, WebhookFailed
from ..runtime import Runtime
from ..site.authorize import Authorizer, ClientGone, user_of
from ..site.decision_log import Sample
from ..site.webhooks import Rejected, UnusableReply
from .targets import includes

#: Maximum time to remember a used token, in seconds.
LONGEST_SPENT = 86_400.0
#: Seconds until the site is asked again whether a publication is stored.
ASK_AGAIN_SECONDS = 0.5

logger = logging.getLogger("djhookbox.server")


class Commands:
    """Carry out the commands of clients, except for subscriptions."""

    def __init__(
        self,
        runtime: Runtime,
        proposals: Proposals,
        lifecycle: Lifecycle,
        publications: Publications,
        authorizer: Authorizer,
        durable: Durable,
    ) -> None:
        self._config = runtime.config
        self._connections = runtime.connections
        self._expiries = runtime.expiries
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._clock = runtime.clock
        self._sample = Sample(runtime.config.log_sample)
        self._tasks = runtime.tasks
        self._cluster = runtime.cluster
        self._proposals = proposals
        self._lifecycle = lifecycle
        self._publications = publications
        self._authorizer = authorizer
        self._durable = durable
        self._spent = SpentTokens(time.monotonic)

    # ---- connect ---------------------------------------------------------

    async def connect(
        self,
        connection: Connection,
        payload: str,
        token: str,
        expect_user: str,
        acks: bool,
    ) -> None:
        """Ask the site to identify a client.

        Args:
            connection: The connection that sent CONNECT.
            payload: JSON text for the site.
            token: A token that identifies the client when there is no cookie.
            expect_user: The only acceptable user name, unless it is empty.
            acks: Whether frames are acknowledged.

        Raises:
            Refusal: If the client may not connect.

        """
        handshake = connection.handshake
        if token and not self._spent.allows(token, connection.id):
            raise Refusal(TOKEN_SPENT.reason, "session_expired")
        webhook = webhooks.Connect(
            payload=payload,
            token=token,
            expected_user=expect_user,
            transport=connection.transport,
            remote_addr=handshake.remote_addr,
            user_agent=handshake.user_agent,
            origin=handshake.origin,
        )
        with self._connections.connecting(connection) as disconnects:
            reply = await self._webhooks.send(webhook, connection)
            if self._cluster is not None and reply.allowed:
                granted = reply.check()
                await self._cluster.arrive(granted.name, granted.user_options())
        name = ""
        try:
            granted = reply.check()
            name = self._checked(granted.name)
        finally:
            if self._cluster is not None and connection.closed and name:
                self._tasks.start(self._depart(name))
            self._authorizer.still_here(connection, reply, name)
        self._connections.identify(connection, granted.identity)
        if granted.expires is not None:
            self._expiries.set(connection, granted.expires)
        connection.acks = acks
        connection.move(State.CONNECTED)
        greeting = {
            "payload": given(granted.override_payload, given(granted.payload, payload)),
            "conn_id": connection.id,
            "version": self._config.version,
        }
        self._proposals.connect(connection, name, granted.user_options(), greeting)
        if self._sample.has(connection.id):
            facts = {"connection": connection.id, "user": name, "transport": connection.transport}
            logger.info("Connection %s belongs to %r", connection.id, name, extra=facts)
        if not await self._spend(token, connection, granted.single_use):
            connection.close(TOKEN_SPENT)  # another connection used it at the same time
            raise ClientGone
        known = {
            "name": name,
            "identity": connection.identity,
            "conn_id": connection.id,
            "address": connection.handshake.remote_addr,
        }
        for request, disconnect in disconnects:
            if includes(request, **known):
                connection.close(disconnect)
                raise ClientGone
        await self._authorizer.follow_up(connection, granted)

    async def _depart(self, name: str) -> None:
        if self._cluster is not None:
            await self._cluster.depart(name)

    async def _spend(self, token: str, connection: Connection, seconds: float | None) -> bool:
        """Mark a token as used, if the site says that it is valid for one connection only."""
        if not token or seconds is None:
            return True
        if self._cluster is not None:
            seconds = min(max(0.0, seconds), LONGEST_SPENT)
            return await self._cluster.spend(token, connection.id, seconds)
        return self._spent.spend(token, connection.id, min(max(0.0, seconds), LONGEST_SPENT))

    def _checked(self, name: str) -> str:
        """Return a user's name, unless it is longer than this server allows."""
        try:
            return check_name("name", name, self._config.max_name_length)
        except NameProblem as error:
            logger.error("The site's reply to connect is unusable: %s", error)
            raise UnusableReply("connect", FieldProblem("name", Fault.LENGTH)) from None

    def session_ended(self, connection: Connection) -> None:
        """Close all connections of a session that the site reports as ended.

        The server is not notified when a session expires. A page reconnects once, and is
        admitted only as the same user with another session.
        """
        for other in self._connections.of_identity(connection.identity) or (connection,):
            other.close(SESSION_EXPIRED)
        if self._cluster is not None and connection.identity:
            self._cluster.disconnect_later(
                Disconnect(
                    identity=connection.identity,
                    code=SESSION_EXPIRED.code,
                    reason=SESSION_EXPIRED.reason,
                )
            )

    # ---- publish and message ---------------------------------------------

    async def publish(
        self, connection: Connection, name: str, text: str, key: str
    ) -> Mapping[str, object]:
        """Publish to a channel.

        Args:
            connection: The sender.
            name: The channel.
            text: The payload as JSON text.
            key: Identifies the message, if the client sends it again.

        Returns:
            Its position in the channel's stream, if it has one, and how many connections it has
            reached, if the configuration says so.

        Raises:
            Refusal: If the payload is not JSON, or the site refuses.

        """
        user = user_of(connection)
        async with self._lifecycle.using(name, connection) as channel:
            payload = parse_payload(text)
            publication: int | None = None
            only_to = None
            asked = channel.options.asks("publish")
            if channel.options.durable:
                key = key or secrets.token_hex(16)  # to ask again if the reply is lost
            if asked:
                # Without the value, which may use twenty times the memory of its text.
                text, payload = dumps(payload), ABSENT
                webhook = webhooks.Publish(
                    channel_name=name,
                    payload=text,
                    originator=None if channel.options.anonymous else user.name,
                    key=key if channel.options.durable else "",
                )
                granted = await self._ask_to_publish(webhook, connection)
                await self._authorizer.follow_up(connection, granted)
                if granted.stored:
                    at = Position(granted.epoch, granted.offset) if granted.epoch else None
                    position = at or await self._durable.stored(name, granted.stored)
                    return {"epoch": position.epoch, "offset": position.offset}
                payload = granted.override_payload
                if payload is ABSENT:
                    payload = loads(text)
                publication = granted.publication
                only_to = connection if granted.only_to_sender else None
            published = await self._publications.publish(
                channel, payload, user.name, origin=connection, only_to=only_to
            )
            delivered = 1 if only_to is not None else published.delivered
            if publication is not None:
                self._events.add(Delivered(publication, delivered))
            elif not asked:
                self._events.add(
                    Published(
                        channel_name=name,
                        user=user.name,
                        conn_id=connection.id,
                        source="client",
                        delivered=delivered,
                        payload=payload,
                    )
                )
        told = {"delivered": delivered} if self._config.tell_delivered else {}
        return told if published.position is None else {**place(*published.position), **told}

    async def _ask_to_publish(
        self, webhook: webhooks.Publish, connection: Connection
    ) -> PublishReply:
        """Ask the site; if the reply is lost and it may have stored the publication, ask again."""
        try:
            return await self._authorizer.ask(webhook, connection, leaving=True)
        except WebhookFailed as failure:
            if not webhook.key or isinstance(failure, Rejected):
                raise
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            return await self._authorizer.ask(webhook, connection, leaving=True)

    async def message(self, connection: Connection, recipient: str, text: str) -> None:
        """Send a message to another user (0.3.4).

        Raises:
            Refusal: If the payload is not JSON, the user does not exist, or the site refuses.

        """
        user = user_of(connection)
        payload = parse_payload(text)
        if user.options.moderated_message:
            text, payload = dumps(payload), ABSENT  # as in `publish`
            webhook = webhooks.Message(
                sender=user.name,
                recipient=recipient,
                recipient_exists=str(await self._exists(recipient)),
                payload=text,
            )
            granted = await self._authorizer.ask(webhook, connection, leaving=True)
            await self._authorizer.follow_up(connection, granted)
            payload = granted.override_payload
            if payload is ABSENT:
                payload = loads(text)
            if granted.override_recipient_name is not None:
                recipient = granted.override_recipient_name
        elif not await self._exists(recipient):
            raise Refusal("Invalid user name")
        reflective = user.options.reflective
        if self._cluster is not None:
            found = await self._cluster.message(user.name, recipient, payload, reflective)
            if found is not None:
                return
        effects, _ = message(self._hub, user.name, recipient, payload, self._clock(), reflective)
        self._delivery.perform(effects)

    async def _exists(self, name: str) -> bool:
        if self._cluster is not None:
            return await self._cluster.is_anywhere(name)
        return name in self._hub.users


def parse_payload(text: object) -> JSON:
    """Parse a payload's JSON text and return its value.

    Raises:
        Refusal: If the text is not JSON.

    """
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        return loads(text)
    except ValueError:
        raise Refusal("Invalid json for payload", "malformed") from None
