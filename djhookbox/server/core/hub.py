"""The state of all channels and users, and its changes.

Each method changes the state immediately and returns what must be sent, in order. The core does
not decide whether a change is allowed: the caller must have done so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...wire.fields import ABSENT
from ...wire.options import CHANNEL_DEFAULTS, Polling, UserOptions
from ...wire.values import JSON
from . import snapshots
from .effects import Effect, Emptied, PollingChanged, PresenceDue, Send
from .keeping import Shelf
from .model import Channel, Connection, Subscription, User
from .states import States
from .stream import Position, Stream, StreamState
from .values import timestamp


class Hub:
    """All channels, users and subscriptions.

    Args:
        shelf: Limits the memory that histories use.
        states: Limits the memory that states use.
        durable_seconds: How long the streams of durable channels keep publications.
        recovery_seconds: How long those of other channels keep them in any case; with 0, only
            channels with a history have a stream.

    """

    def __init__(
        self,
        shelf: Shelf | None = None,
        states: States | None = None,
        durable_seconds: float = 86_400.0,
        recovery_seconds: float = 0.0,
    ) -> None:
        self.shelf = shelf or Shelf()
        self.states = states or States()
        self._durable_seconds = durable_seconds
        self._recovery_seconds = recovery_seconds
        self.channels: dict[str, Channel] = {}
        #: Those without subscribers, so that looking for them need not scan all channels.
        self.empty: dict[Channel, None] = {}
        self.users: dict[str, User] = {}
        #: Users whose connections are all on other nodes, but who are in channels here.
        self.absent: dict[str, User] = {}
        #: The number of users in all channels.
        self.subscriptions = 0
        #: Channels with `server_presenceful`, so that a connect need not scan all channels.
        self.watching: set[Channel] = set()

    # ---- users -----------------------------------------------------------

    def connect(
        self,
        connection: Connection,
        name: str,
        options: UserOptions,
        now: float,
        greeting: Mapping[str, JSON],
    ) -> list[Effect]:
        """Attach a connection to a user; it joins the channels that it shares with the user.

        Args:
            connection: A connection without a user.
            name: The name that the site gave.
            options: The user's options; those of the latest connect apply.
            now: Seconds since the epoch.
            greeting: The arguments of CONNECTED in addition to `name`.

        """
        user = self.users.get(name)
        arrives = user is None
        if user is None:
            user = self.absent.pop(name, None) or User(name, options)
            self.users[name] = user
        user.options = options
        user.connections[connection] = None
        connection.user = user
        effects: list[Effect] = [Send((connection,), "CONNECTED", {"name": name, **greeting})]
        for channel in user.subscriptions.values():
            if channel.subscribers[name].covers(connection):
                channel.audience[connection] = None
                args = snapshots.snapshot(channel, name, now)
                effects.append(Send((connection,), "SUBSCRIBE", args))
        if arrives:
            effects += self.presence_due(name)
        return effects

    def detach(self, connection: Connection, now: float) -> tuple[list[Effect], list[Channel]]:
        """Remove a closed connection from all channels.

        Returns:
            The effects, and the channels that its user has left as a result, in order of
            subscription: all of them if it was the user's last connection.

        """
        user = connection.user
        if user is None:
            return [], []
        user.connections.pop(connection, None)
        left = []
        effects: list[Effect] = []
        for channel in list(user.subscriptions.values()):
            inside = channel.audience.pop(connection, ABSENT) is not ABSENT
            if not user.connections or (
                inside
                and (user.options.global_unsubscriptions or not self.is_member(user, channel))
            ):
                left.append(channel)
                effects += self.unsubscribe(user, channel, now)
        if not user.connections:
            # The name may belong to a new user object by now; leave that one alone.
            if self.users.get(user.name) is user:
                del self.users[user.name]
                if user.subscriptions:
                    self.absent[user.name] = user
            effects += self.presence_due(user.name)
        return effects, left

    def is_here(self, user: User, connection: Connection | None) -> bool:
        """Return whether a user is connected, through this connection if one is given."""
        if self.users.get(user.name) is not user:
            return False
        return connection is None or connection in user.connections

    def known_user(self, name: str) -> User:
        """Return a user who is connected, to this node or to another."""
        user = self.users.get(name) or self.absent.get(name)
        if user is None:
            user = self.absent[name] = User(name, UserOptions())
        return user

    @staticmethod
    def set_user_options(user: User, options: UserOptions) -> None:
        """Replace the options of a user."""
        user.options = options

    # ---- channels --------------------------------------------------------

    def create_channel(
        self, name: str, given: Mapping[str, JSON], now: float, stream: StreamState | None = None
    ) -> tuple[Channel, list[Effect]]:
        """Create a channel.

        Args:
            name: Its name; it must not exist.
            given: Options, as in a create_channel reply.
            now: Seconds since the epoch.
            stream: Its stream, if the channel has a history: a new one, or the one kept from a
                former channel of this name. Its publications are also added to the history list,
                if that has a duration and the options do not set the list.

        Raises:
            OptionError: For invalid options; nothing has changed then.

        """
        if name in self.channels:
            raise ValueError(f"the channel {name!r} exists")
        channel = Channel(name, CHANNEL_DEFAULTS, now, self.shelf)
        channel.keeping = self._durable_seconds
        channel.recovery = self._recovery_seconds
        effects = self.set_options(channel, given, now, stream)
        if channel.stream is not None and channel.options.lasting and "history" not in given:
            for publication in stream.publications if stream is not None else ():
                data = channel.shown(publication.data)
                channel.remember(publication.at, "PUBLISH", data, publication.weight)
            channel.trim(now)
        self.channels[name] = channel
        self.empty[channel] = None
        self.shelf.added(channel)
        kinds = (PollingChanged, PresenceDue)
        return channel, [effect for effect in effects if isinstance(effect, kinds)]

    def destroy_channel(self, channel: Channel, now: float) -> list[Effect]:
        """Remove a channel and unsubscribe everyone who is still subscribed (0.3.4)."""
        effects: list[Effect] = []
        # Notify each of its own removal only; notifying everyone of all others takes n² frames.
        polls = bool(channel.options.polling.mode)
        channel.options = replace(channel.options, presenceful=False, polling=Polling())
        for subscription in list(channel.subscribers.values()):
            subscription.elsewhere = frozenset()
            effects += self.unsubscribe(subscription.user, channel, now)
        if self.channels.get(channel.name) is channel:
            del self.channels[channel.name]
        self.watching.discard(channel)
        self.empty.pop(channel, None)
        self.shelf.forget(channel)
        self.states.forget(channel)
        if polls:
            effects.append(PollingChanged(channel))
        return [effect for effect in effects if not isinstance(effect, Emptied)]

    def set_options(
        self,
        channel: Channel,
        given: Mapping[str, JSON],
        now: float,
        stream: StreamState | None = None,
    ) -> list[Effect]:
        """Change options, all of them or none (D13).

        Args:
            channel: The channel.
            given: The options that change.
            now: Seconds since the epoch.
            stream: The new stream, if the channel has a history from then on and had none before.

        Raises:
            OptionError: For invalid options; nothing has changed then.

        """
        channel.options = channel.options.changed(given)
        effects: list[Effect] = []
        if "history" in given:
            channel.forget()
            for kind, data in given["history"]:
                channel.remember(now, kind, data)
        has_stream = channel.options.history_size > 0 or channel.options.durable or channel.recovery
        if not has_stream:
            channel.stream = None
        elif stream is not None and (channel.stream is None or channel.stream.incarnation):
            channel.stream = Stream.of(stream)
        channel.trim(now)
        if "polling" in given:
            effects.append(PollingChanged(channel))
        if "state" in given:
            effects += self.states.replace(channel, given["state"])
        self.states.options_changed(channel)
        self.watching.discard(channel)
        if channel.options.server_presenceful:
            self.watching.add(channel)
            effects += [
                PresenceDue(channel, name)
                for name in channel.options.server_user_presence
                if channel.state.get(name) is not (name in self.users)
            ]
        return effects

    # ---- subscriptions ---------------------------------------------------

    def is_subscribed(self, user: User, channel: Channel, connection: Connection | None) -> bool:
        """Return whether subscribing this user from this connection would change nothing.

        Without a connection, as when code subscribes, the subscription is for all connections.
        """
        subscription = channel.subscribers.get(user.name)
        if subscription is None:
            return False
        if connection is None:
            return subscription.shared and subscription.by_code
        return connection in channel.audience

    def leaves_with(self, user: User, channel: Channel, connection: Connection) -> bool:
        """Return whether the user leaves a channel when this connection unsubscribes."""
        subscription = channel.subscribers.get(user.name)
        if subscription is not None and subscription.elsewhere and connection.apart:
            return False
        return not any(
            other in channel.audience and not self.parts(user, other, connection)
            for other in user.connections
        )

    def subscribe(
        self,
        user: User,
        channel: Channel,
        connection: Connection | None,
        now: float,
        *,
        initial_data: JSON = ABSENT,
        by_code: bool = False,
        since: Position | None = None,
    ) -> list[Effect]:
        """Subscribe a user to a channel; the connection matters only for subscriptions per
        connection, and for catching up.

        Args:
            user: The user.
            channel: The channel.
            connection: The connection that asks for it, if any.
            now: Seconds since the epoch.
            initial_data: The data that the site gives to the subscriber.
            by_code: Whether the site subscribed the user on its own initiative.
            since: The connection's position. It receives everything after that, even if it is
                already subscribed.

        """
        subscription = channel.subscribers.get(user.name)
        if subscription is not None and by_code:
            subscription.by_code = True  # made by the site itself; a policy cannot end it
        if subscription is not None and connection is not None and connection in channel.audience:
            if since is None:
                return []
            again = snapshots.snapshot(channel, user.name, now, since, connection.id)
            return [Send((connection,), "SUBSCRIBE", again)]
        # A catch-up report is for the page that asked, not for all pages of the user.
        apart = connection is not None and (
            channel.reserved or user.options.per_connection_subscriptions or connection.apart
        )
        effects: list[Effect] = []
        if subscription is None:
            if channel.options.presenceful and channel.audience:
                args = {"channel_name": channel.name, "user": user.name, "datetime": timestamp(now)}
                effects.append(Send(tuple(channel.audience), "SUBSCRIBE", args))
            subscription = Subscription(user, now, by_code)
            channel.subscribers[user.name] = subscription
            self.subscriptions += 1
            user.subscriptions[channel.name] = channel
            channel.empty_since = None
            self.empty.pop(channel, None)
            arrives = True
        else:
            arrives = False
        joining: tuple[Connection, ...]
        if apart and connection is not None:
            joining = (connection,)
        else:
            subscription.shared = True
            joining = tuple(
                other
                for other in user.connections
                if other not in channel.audience and subscription.covers(other)
            )
            if not joining:
                return []
        snapshot = snapshots.snapshot(channel, user.name, now)
        if initial_data is not ABSENT or snapshot["history"]:
            value = None if initial_data is ABSENT else initial_data
            init = {"channel_name": channel.name, "initial_data": value}
            effects.append(Send(joining, "CHANNEL_INIT", {**init, "history": snapshot["history"]}))
        given = initial_data is not ABSENT and initial_data
        extra = {"initial_data": initial_data} if given else {}
        channel.audience.update(dict.fromkeys(joining))
        if since is not None and connection in joining:
            joining = tuple(other for other in joining if other is not connection)
            caught_up = {**snapshot, **snapshots.recovery(channel, since, connection.id), **extra}
            effects.append(Send((connection,), "SUBSCRIBE", caught_up))
        if joining:
            effects.append(Send(joining, "SUBSCRIBE", {**snapshot, **extra}))
        if arrives:
            self.remember_presence(channel, "SUBSCRIBE", user.name, now)
        return effects

    def unsubscribe(
        self,
        user: User,
        channel: Channel,
        now: float,
        reason: str = "",
        connection: Connection | None = None,
    ) -> list[Effect]:
        """Unsubscribe a user from a channel; do nothing if the user is not subscribed.

        Args:
            user: The user.
            channel: The channel.
            now: Seconds since the epoch.
            reason: The reason, if the user lost the right.
            connection: The connection that asks for it, if any. The subscriptions of the user's
                other connections are kept.

        """
        subscription = channel.subscribers.get(user.name)
        if subscription is None:
            return []
        args = {"channel_name": channel.name, "user": user.name, "datetime": timestamp(now)}
        leaving = tuple(
            other
            for other in user.connections
            if other in channel.audience and self.parts(user, other, connection)
        )
        for other in leaving:
            channel.audience.pop(other, None)
        effects: list[Effect] = []
        if self.has_members(user, channel):
            if connection is not None and not connection.apart:
                subscription.shared = False  # other pages written for 0.3.3 leave too
            return [Send(leaving, "UNSUBSCRIBE", args)]
        del channel.subscribers[user.name]
        self.subscriptions -= 1
        user.subscriptions.pop(channel.name, None)
        if not user.connections and not user.subscriptions:
            self.absent.pop(user.name, None)
        if channel.options.presenceful and channel.audience:
            effects.append(Send(tuple(channel.audience), "UNSUBSCRIBE", args))
        effects.append(Send(leaving, "UNSUBSCRIBE", {**args, "reason": reason} if reason else args))
        self.remember_presence(channel, "UNSUBSCRIBE", user.name, now)
        if not channel.subscribers:
            channel.empty_since = channel.left = now
            self.empty[channel] = None
            effects.append(Emptied(channel))
        return effects

    # ---- parts -----------------------------------------------------------

    @staticmethod
    def is_member(user: User, channel: Channel) -> bool:
        """Return whether a user has connections in a channel here."""
        return any(connection in channel.audience for connection in user.connections)

    @staticmethod
    def has_members(user: User, channel: Channel) -> bool:
        """Return whether a user has connections in a channel, here or on other nodes."""
        known = channel.subscribers.get(user.name)
        return Hub.is_member(user, channel) or (known is not None and bool(known.elsewhere))

    @staticmethod
    def parts(user: User, other: Connection, connection: Connection | None) -> bool:
        """Return whether a connection leaves a channel when `connection` unsubscribes."""
        if connection is None or user.options.global_unsubscriptions:
            return True
        return other is connection if connection.apart else not other.apart

    @staticmethod
    def remember_presence(channel: Channel, kind: str, name: str, now: float) -> None:
        """Add a subscriber who came or went to the history, if the channel shows that."""
        # Only where presence is shown anyway: a history must not reveal names on channels that
        # are anonymous or not presenceful (D22).
        options = channel.options
        if options.presenceful and not options.anonymous and not options.history_publish_only:
            channel.remember(now, kind, {"user": name, "datetime": timestamp(now)})

    def presence_due(self, name: str) -> list[Effect]:
        """Return what is due in the states of channels that show whether this user is there."""
        return [
            PresenceDue(channel, name)
            for channel in self.watching
            if name in channel.options.server_user_presence
        ]
