"""What clients ask for: the site decides by webhook, the core changes, the frames go out.

Between question and answer lies a webhook, in which anything may happen. So each operation
looks again after it: a client that has gone gets nothing, and subscriptions of one user to one
channel take turns (D05, D17).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .config import ServerConfig
from .connection import Connection
from .core.hub import MISSING, Hub
from .core.model import RESERVED_PREFIX, Channel, User
from .core.options import USER_OPTIONS, OptionError, UserOptions, user_options
from .delivery import Delivery
from .events import Events
from .lifecycle import Lifecycle
from .locks import KeyedLocks
from .names import NameProblem, check_name
from .protocol import rtjp
from .protocol.disconnects import Disconnect
from .webhooks import Refusal, Reply, Webhooks

logger = logging.getLogger("djhookbox.server")


class ClientGone(Exception):
    """The client left while the site was asked; nothing is done for it any more."""


class Operations:
    """Carries out what the frames of clients ask for."""

    def __init__(
        self,
        config: ServerConfig,
        hub: Hub,
        delivery: Delivery,
        lifecycle: Lifecycle,
        webhooks: Webhooks,
        events: Events,
    ) -> None:
        self._config = config
        self._hub = hub
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._webhooks = webhooks
        self._events = events
        self._locks = KeyedLocks()
        #: Connections by what the site calls their session or token.
        self.by_identity: dict[str, tuple[Connection, ...]] = {}
        #: Connections that the site is being asked about, and whom it has sent away meanwhile:
        #: the site may have decided before a session ended that has ended since.
        self.connecting: dict[Connection, list[tuple[Mapping[str, str], Disconnect]]] = {}

    # ---- connect ---------------------------------------------------------

    async def connect(
        self, connection: Connection, payload: str, token: str, expect_user: str, acks: bool
    ) -> None:
        """Ask the site who this is.

        Raises:
            Refusal: If it may not connect.

        """
        handshake = connection.handshake
        form = {
            "conn_id": connection.id,
            "payload": payload,
            "transport": connection.transport,
            "remote_addr": handshake.remote_addr,
            "user_agent": handshake.user_agent,
            "origin": handshake.origin,
        }
        if token:
            form["token"] = token
        if expect_user:
            form["expected_user"] = expect_user
        sent_away: list[tuple[Mapping[str, str], Disconnect]] = []
        self.connecting[connection] = sent_away
        try:
            reply = await self._webhooks.call("connect", form, connection)
        finally:
            del self.connecting[connection]
        name = ""
        try:
            options = reply.check()
            name, user_opts = self._who(options)
        finally:
            self._still_here(connection, reply, name)
        identity = options.get("identity")
        connection.identity = identity if isinstance(identity, str) else ""
        connection.acks = acks
        if connection.identity:
            others = self.by_identity.get(connection.identity, ())
            self.by_identity[connection.identity] = (*others, connection)
        greeting = {
            "payload": options.get("override_payload", options.get("payload", payload)),
            "conn_id": connection.id,
            "version": self._config.version,
        }
        self._delivery.flush()
        self._delivery.perform(
            self._hub.connect(connection, name, user_opts, time.time(), greeting)
        )
        logger.info("Connection %s is %r", connection.id, name)
        known = {"name": name, "identity": connection.identity, "conn_id": connection.id}
        for named, disconnect in sent_away:
            if named.items() <= known.items():
                connection.close(disconnect)
                raise ClientGone
        await self._follow_up(connection, options)

    def _who(self, options: dict[str, Any]) -> tuple[str, UserOptions]:
        name = options.get("name")
        if name is None or name == "":
            raise Refusal("Unauthorized (missing name parameter in server response)")
        try:
            check_name("name", name, self._config.max_name_length)
            given = {key: value for key, value in options.items() if key in USER_OPTIONS}
            return name, user_options(given)
        except (NameProblem, OptionError) as error:
            logger.error("The site's reply to connect is unusable: %s", error)
            raise Refusal("Unauthorized (unusable name or options in server response)") from None

    # ---- subscribe and unsubscribe ---------------------------------------

    async def subscribe(self, connection: Connection, name: str) -> None:
        """Subscribe a connection's user to a channel.

        Raises:
            Refusal: If the site says no, or the user is in too many channels.

        """
        user = _user(connection)
        async with (
            self._lifecycle.using(name, connection) as channel,
            self._locks.hold((user.name, name)),
        ):
            self._still_here(connection)
            if self._hub.is_subscribed(user, channel, connection):
                return
            self._check_room(user)
            options: dict[str, Any] = {}
            asked = channel.options.asks("subscribe")
            if asked:
                form = {"channel_name": name, "user": user.name}
                options = await self._ask("subscribe", form, connection)
                await self._follow_up(connection, options)
                self._still_here(connection)  # following up may have taken a webhook
            if self._hub.channels.get(name) is not channel:
                raise Refusal("The channel was destroyed meanwhile")
            self._delivery.flush()
            initial = options.get("initial_data", MISSING)
            self._delivery.perform(
                self._hub.subscribe(user, channel, connection, time.time(), initial_data=initial)
            )
        if not asked:
            self._report("subscribe", channel, user, connection, "client")

    async def unsubscribe(self, connection: Connection, name: str) -> None:
        """Take a connection's user out of a channel.

        Raises:
            Refusal: If the site says no.

        """
        user = _user(connection)
        async with (
            self._lifecycle.using(name, connection) as channel,
            self._locks.hold((user.name, name)),
        ):
            self._still_here(connection)
            if not self._hub.is_subscribed(user, channel, connection):
                return
            asked = channel.options.asks("unsubscribe")
            if asked:
                form = {"channel_name": name, "user": user.name}
                options = await self._ask("unsubscribe", form, connection)
                await self._follow_up(connection, options)
                self._still_here(connection)
            self._delivery.flush()
            self._delivery.perform(self._hub.unsubscribe(user, channel, time.time()))
        if not asked:
            self._report("unsubscribe", channel, user, connection, "client")

    # ---- publish and message ---------------------------------------------

    async def publish(self, connection: Connection, name: str, text: str) -> None:
        """Publish to a channel.

        Args:
            connection: The sender.
            name: The channel.
            text: The payload as JSON text.

        Raises:
            Refusal: If the payload is no JSON, or the site says no.

        """
        user = _user(connection)
        async with self._lifecycle.using(name, connection) as channel:
            payload = parse_payload(text)
            publication: object = None
            only_to = None
            asked = channel.options.asks("publish")
            if asked:
                form = {"channel_name": name, "payload": rtjp.dumps(payload)}
                if not channel.options.anonymous:
                    form["originator"] = user.name
                options = await self._ask("publish", form, connection, leaving=True)
                await self._follow_up(connection, options)
                payload = options.get("override_payload", payload)
                publication = options.get("publication")
                only_to = connection if options.get("only_to_sender") else None
            effects = self._hub.publish(
                channel, payload, user.name, time.time(), origin=connection, only_to=only_to
            )
            delivered = self._delivery.perform(effects)
            if only_to is not None:
                delivered = 1
        if isinstance(publication, int):
            self._events.add("delivered", publication=publication, delivered=delivered)
        elif not asked:
            self._events.add(
                "publish",
                channel_name=name,
                user=user.name,
                conn_id=connection.id,
                payload=payload,
                source="client",
                delivered=delivered,
            )

    async def message(self, connection: Connection, recipient: str, text: str) -> None:
        """Send a message to another user (0.3.4).

        Raises:
            Refusal: If the payload is no JSON, there is no such user, or the site says no.

        """
        user = _user(connection)
        payload = parse_payload(text)
        if user.options.moderated_message:
            form = {
                "sender": user.name,
                "recipient": recipient,
                "recipient_exists": str(recipient in self._hub.users),
                "payload": rtjp.dumps(payload),
            }
            options = await self._ask("message", form, connection, leaving=True)
            await self._follow_up(connection, options)
            payload = options.get("override_payload", payload)
            recipient = other_recipient(options, recipient)
        elif recipient not in self._hub.users:
            raise Refusal("Invalid user name")
        effects, _ = self._hub.message(
            user.name, recipient, payload, time.time(), user.options.reflective
        )
        self._delivery.perform(effects)

    # ---- parts -----------------------------------------------------------

    async def _ask(
        self, hook: str, form: dict[str, str], connection: Connection, *, leaving: bool = False
    ) -> dict[str, Any]:
        """Return the options of the site's yes.

        Args:
            hook: The webhook.
            form: Its fields.
            connection: Who wants it.
            leaving: What was granted is done even for a client that has left since: many a page
                publishes as the last thing it does, and the site has it in its history.

        Raises:
            Refusal: If it said no.
            ClientGone: If the client left meanwhile.

        """
        reply = await self._webhooks.call(hook, form, connection)
        if not (leaving and reply.allowed and connection.closed):
            self._still_here(connection, reply)
        return reply.check()

    def _still_here(
        self, connection: Connection, reply: Reply | None = None, name: str = ""
    ) -> None:
        """Raise ClientGone if it is; else pass on the cookies of a reply.

        A connect that was granted to a client that has gone is in the site's log, so that its
        end has to be there as well.
        """
        if connection.closed:
            if name:
                self._events.add(
                    "disconnect", **connection.facts(), user=name, code=1006, reason=""
                )
            raise ClientGone
        for cookie in reply.cookies if reply else ():
            self._delivery.send(connection, "SET_COOKIE", {"cookie": cookie})

    async def _follow_up(self, connection: Connection, options: dict[str, Any]) -> None:
        """Carry out auto_subscribe, then auto_unsubscribe.

        One that fails stops neither the others nor what was granted (D33). A client that has
        gone is not subscribed to anything.
        """
        user = _user(connection)
        for key in ("auto_subscribe", "auto_unsubscribe"):
            for name in self._names(options, key):
                try:
                    if connection.closed:
                        return
                    async with self._lifecycle.using(name, connection) as channel:
                        if not connection.closed:
                            self._follow(key, user, channel, connection)
                except Refusal as refusal:
                    logger.warning("%s of %r to %r failed: %s", key, user.name, name, refusal)

    def _follow(self, key: str, user: User, channel: Channel, connection: Connection) -> None:
        inside = user.name in channel.subscribers
        self._delivery.flush()
        if key == "auto_subscribe":
            if not inside:
                self._check_room(user)
            effects = self._hub.subscribe(user, channel, connection, time.time(), by_code=True)
        else:
            effects = self._hub.unsubscribe(user, channel, time.time())
        self._delivery.perform(effects)
        if inside is not (user.name in channel.subscribers):
            event = "unsubscribe" if inside else "subscribe"
            self._report(event, channel, user, connection, "auto")

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

    def _check_room(self, user: User) -> None:
        limit = self._config.max_channels_per_connection
        if len(user.subscriptions) >= limit:
            raise Refusal(f"Too many channels (at most {limit})", "limit")

    def _report(
        self, event: str, channel: Channel, user: User, connection: Connection, by: str
    ) -> None:
        self._events.add(
            event,
            channel_name=channel.name,
            user=user.name,
            conn_id=connection.id,
            by=by,
            reason="",
        )


def parse_payload(text: object) -> Any:
    """Return the value of a payload's JSON text.

    Raises:
        Refusal: If it is none.

    """
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        value = rtjp.loads(text)
        rtjp.dumps(value)  # numbers such as 1e999 can be read, but not be sent on
    except ValueError:
        raise Refusal("Invalid json for payload", "malformed") from None
    return value


def other_recipient(options: Mapping[str, Any], recipient: str) -> str:
    """Return whom a message goes to after the site has had its say."""
    other = options.get("override_recipient_name", recipient)
    if not isinstance(other, str):
        logger.error("The site's reply to message has an unusable override_recipient_name")
        raise Refusal("Unauthorized (unusable recipient in server response)")
    return other


def _user(connection: Connection) -> User:
    if connection.user is None:
        raise Refusal("Not connected", "not_connected")
    return connection.user
