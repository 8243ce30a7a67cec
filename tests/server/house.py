"""A hub whose frames are delivered at once, without a loop or a clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Any

from djhookbox.server.core.announcing import compose, show
from djhookbox.server.core.applying import apply
from djhookbox.server.core.changes import Accepted, Change, Publish, SetOptions, SetState
from djhookbox.server.core.effects import Broadcast, Effect, PresenceDue, Send
from djhookbox.server.core.hub import Hub
from djhookbox.server.core.keeping import OVERHEAD, weigh
from djhookbox.server.core.model import Channel, User
from djhookbox.server.core.stream import Publication, StreamState
from djhookbox.wire.options import UserOptions

NOW = 1_300_000_000.0
WHEN = "2011-03-13T07:06:40.000Z"

#: Whom a frame goes to, its name and arguments.
Frame = tuple[str, dict[str, Any]]


class Client:
    """A connection that notes what it is sent."""

    def __init__(self, label: str, apart: bool = False) -> None:
        self.id = label
        self.label = label
        self.apart = apart
        self.user: User | None = None
        self.frames: list[Frame] = []

    def __repr__(self) -> str:
        return self.label

    def took(self) -> list[Frame]:
        """Return what came since the last call."""
        frames, self.frames = self.frames, []
        return frames

    def names(self) -> list[str]:
        return [name for name, _ in self.took()]


def deliver(effects: Iterable[Effect]) -> list[Effect]:
    """Give frames to whom they are for; return the effects."""
    effects = list(effects)
    for effect in effects:
        for client in receivers(effect):
            client.frames.append((effect.name, dict(effect.args)))  # type: ignore[union-attr]
    return effects


def receivers(effect: Effect) -> Iterator[Client]:
    if isinstance(effect, Send):
        yield from effect.connections  # type: ignore[misc]
    elif isinstance(effect, Broadcast):
        yield from (c for c in effect.channel.audience if c is not effect.exclude)  # type: ignore[misc]


class House:
    """A hub whose frames are delivered, and which an engine never keeps waiting.

    Its streams are called "first", "second" and so on.
    """

    def __init__(self) -> None:
        self.hub = Hub()
        self.epochs = chain(("first", "second", "third"), map(str, count(4)))

    def accept(self, channel: Channel | None, change: Change) -> Accepted:
        """Answer as an engine does."""
        stream = channel.stream if channel else None
        version = channel.version + 1 if channel else 1
        if isinstance(change, Publish) and stream is not None:
            weight = OVERHEAD + weigh(change.data["payload"])
            number = stream.offset + 1
            return Accepted(version, Publication(number, change.at, change.data, weight))
        if isinstance(change, SetOptions) and stream is None and change.given.get("history_size"):
            return Accepted(version, None, StreamState(next(self.epochs)))
        return Accepted(version)

    def apply(self, channel: Channel, change: Change) -> list[Effect]:
        return self.deliver(apply(self.hub, channel, change, self.accept(channel, change)))

    def deliver(self, effects: Iterable[Effect]) -> list[Effect]:
        """Give frames to whom they are for, and change the states that show users."""
        effects = deliver(effects)
        for effect in effects:
            if isinstance(effect, PresenceDue):
                there = effect.name in self.hub.users
                self.apply(effect.channel, SetState({effect.name: there}))
        return effects

    def connect(self, name: str, label: str = "", apart: bool = False, **options: Any) -> Client:
        client = Client(label or name, apart)
        self.deliver(self.hub.connect(client, name, UserOptions(**options), NOW, {}))
        return client

    def channel(self, name: str = "room", **options: Any) -> Channel:
        stream = StreamState(next(self.epochs)) if options.get("history_size") else None
        channel, effects = self.hub.create_channel(name, options, NOW, stream)
        self.deliver(effects)
        return channel

    def subscribe(self, client: Client, channel: Channel, **more: Any) -> list[Effect]:
        assert client.user is not None
        return deliver(self.hub.subscribe(client.user, channel, client, NOW, **more))

    def unsubscribe(self, client: Client, channel: Channel, reason: str = "") -> list[Effect]:
        assert client.user is not None
        return deliver(self.hub.unsubscribe(client.user, channel, NOW, reason))

    def leave(self, client: Client, channel: Channel) -> list[Effect]:
        """Unsubscribe as a client's frame does."""
        assert client.user is not None
        effects = self.hub.unsubscribe(client.user, channel, NOW, connection=client)
        return deliver(effects)

    def set_options(self, channel: Channel, given: Mapping[str, Any]) -> list[Effect]:
        return self.apply(channel, SetOptions(given, NOW))

    def publish(
        self, channel: Channel, payload: Any, at: float = NOW, origin: Client | None = None
    ) -> list[Effect]:
        return self.apply(channel, compose(channel, payload, "alice", at, origin))

    def show(self, channel: Channel, payload: Any, client: Client) -> list[Effect]:
        """Publish to one connection only."""
        return deliver(show(channel, compose(channel, payload, "alice", NOW), client))

    def detach(self, client: Client) -> list[Channel]:
        effects, left = self.hub.detach(client, NOW)
        self.deliver(effects)
        return left
