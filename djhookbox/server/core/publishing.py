"""A publication in two steps: composed, and announced once the engine has accepted it."""

from __future__ import annotations

from typing import Any

from .changes import Publish
from .effects import Broadcast, Effect, Send
from .log import Publication
from .model import Channel, Connection
from .values import timestamp


def compose(
    channel: Channel, payload: Any, user: str | None, now: float, origin: Connection | None = None
) -> Publish:
    """Return a publication, which has not happened until it is announced.

    Args:
        channel: The channel.
        payload: Any JSON value.
        user: The name that subscribers read; not shown on anonymous channels.
        now: Seconds since the epoch.
        origin: The connection it came from, which does not get it if the channel is not
            reflective.

    """
    data: dict[str, Any] = {"payload": payload, "datetime": timestamp(now)}
    if not channel.options.anonymous:
        data["user"] = user
    return Publish(data, now, origin)


def announce(channel: Channel, change: Publish, publication: Publication | None) -> list[Effect]:
    """Send out what has been composed.

    Args:
        channel: The channel.
        change: What was composed.
        publication: The same with its number, if the channel has a log.

    """
    # The channel may have become anonymous while the engine had it.
    args = {"channel_name": channel.name, **channel.shown(change.data)}
    channel.published.add(change.at)
    if publication is not None and channel.log is not None:
        channel.log.add(publication)
        channel.remember(change.at, "PUBLISH", publication.data, publication.weight)
        args |= channel.log.position.place()
    exclude = None if channel.options.reflective else change.origin
    return [Broadcast(channel, "PUBLISH", args, exclude)]


def show(channel: Channel, change: Publish, only_to: Connection) -> list[Effect]:
    """Send what has been composed to one connection only, and keep it out of the history (0.3.4).

    That is no change of the channel; the engine is not asked.
    """
    channel.published.add(change.at)
    return [Send((only_to,), "PUBLISH", {"channel_name": channel.name, **change.data})]
