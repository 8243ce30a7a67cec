"""Replace the stream of a durable channel by what the site has."""

from __future__ import annotations

from . import snapshots
from .effects import Effect, Send
from .model import Channel
from .stream import Position, Stream, StreamState

#: A position in no stream.
_NOWHERE = Position("-", 0)


def reload(channel: Channel, stream: StreamState, now: float) -> list[Effect]:
    """Replace a channel's stream; its subscribers receive what they lack, or learn of a gap.

    Args:
        channel: The channel.
        stream: Its stream as the site has it.
        now: Seconds since the epoch.

    """
    seen = channel.stream.position if channel.stream is not None else _NOWHERE
    channel.stream = Stream(stream)
    for publication in channel.stream.after(seen)[0]:
        data = channel.shown(publication.data)
        channel.remember(publication.at, "PUBLISH", data, publication.weight)
    effects: list[Effect] = []
    for name, subscription in channel.subscribers.items():
        for reader in subscription.user.connections:
            if reader in channel.audience:
                args = snapshots.snapshot(channel, name, now, seen, reader.id)
                effects.append(Send((reader,), "SUBSCRIBE", args))
    return effects
