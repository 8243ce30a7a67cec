"""Apply changes to the core once the engine has accepted them."""

from __future__ import annotations

from . import announcing
from .changes import (
    Accepted,
    Change,
    Create,
    Destroy,
    Publish,
    Reload,
    SetOptions,
    SetState,
    Subscribe,
    Unsubscribe,
)
from .effects import Effect
from .hub import Hub
from .model import Channel
from .reloading import reload


def is_moot(hub: Hub, channel: Channel, change: Change) -> bool:
    """Return whether a change has nothing left to do in the current state.

    The engine comes between the proposal and its application, so anything may have happened.
    """
    if isinstance(change, Subscribe):
        return not hub.is_here(change.user, change.connection)
    if isinstance(change, Unsubscribe):
        return change.user.name not in channel.subscribers
    return isinstance(change, Destroy) and change.only_empty and bool(channel.subscribers)


def create(hub: Hub, name: str, change: Create, accepted: Accepted) -> tuple[Channel, list[Effect]]:
    """Create a channel."""
    channel, effects = hub.create_channel(name, change.given, change.at, accepted.stream)
    note(channel, accepted)
    return channel, effects


def note(channel: Channel, accepted: Accepted) -> None:
    """Record that the engine has accepted a change that was applied before asking it."""
    channel.version = accepted.version


def apply(hub: Hub, channel: Channel, change: Change, accepted: Accepted) -> list[Effect]:
    """Apply a change to a live channel; return the effects.

    Args:
        hub: The core.
        channel: The channel, which must exist.
        change: Any change except Create, which has no channel yet.
        accepted: The engine's answer.

    """
    channel.version = accepted.version
    if isinstance(change, Publish):
        return announcing.announce(channel, change, accepted.publication)
    if isinstance(change, SetState):
        return hub.states.change(channel, change.updates, change.deletes)
    if isinstance(change, Subscribe):
        if is_moot(hub, channel, change):
            return []
        return hub.subscribe(
            change.user,
            channel,
            change.connection,
            change.at,
            initial_data=change.initial_data,
            by_code=change.by_code,
            since=change.since,
        )
    if isinstance(change, Unsubscribe):
        return hub.unsubscribe(change.user, channel, change.at, change.reason, change.connection)
    if isinstance(change, SetOptions):
        return hub.set_options(channel, change.given, change.at, accepted.stream)
    if isinstance(change, Reload):
        return reload(channel, change.stream, change.at)
    if isinstance(change, Destroy):
        return hub.destroy_channel(channel, change.at)
    raise TypeError(f"{change!r} is not a change of a live channel")
