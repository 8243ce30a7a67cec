"""A publication in two steps: composed, and announced once the engine has it."""

from __future__ import annotations

from typing import Any

from .effects import Broadcast, Effect
from .keeping import OVERHEAD, weigh
from .log import Publication
from .model import Channel, Connection
from .values import timestamp


def compose(channel: Channel, payload: Any, user: str | None, now: float) -> Publication:
    """Return a channel's next publication; its offset is 0 if they are not numbered.

    It has not happened until it is announced: the engine may have to keep it before.
    """
    data: dict[str, Any] = {"payload": payload, "datetime": timestamp(now)}
    if not channel.options.anonymous:
        data["user"] = user
    if channel.log is None:
        return Publication(0, now, data)
    return Publication(channel.log.offset + 1, now, data, OVERHEAD + weigh(payload))


def announce(
    channel: Channel, publication: Publication, origin: Connection | None = None
) -> list[Effect]:
    """Send out what has been composed, if nothing else was announced since then."""
    # The channel may have become anonymous while the engine was keeping it.
    args = {"channel_name": channel.name, **channel.shown(publication.data)}
    channel.published.add(publication.at)
    if channel.log is not None:
        channel.log.add(publication)
        channel.remember(publication.at, "PUBLISH", publication.data, publication.weight)
        args |= channel.log.position.place()
    exclude = None if channel.options.reflective else origin
    return [Broadcast(channel, "PUBLISH", args, exclude)]
