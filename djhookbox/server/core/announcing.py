"""Publish in two steps: compose a publication, then announce it once the engine accepts it."""

from __future__ import annotations

from dataclasses import replace

from ...wire.values import JSON, JSONObject
from .changes import Publish
from .effects import Broadcast, Effect, Made, Send
from .keeping import OVERHEAD, weigh
from .model import Channel, Connection
from .stream import Publication, place
from .values import timestamp


def compose(
    channel: Channel,
    payload: JSON,
    user: str | None,
    now: float,
    origin: Connection | None = None,
    *,
    key: str = "",
    polled: bool = False,
    made: Made | None = None,
) -> Publish:
    """Return a publication, which takes effect only when it is announced.

    Args:
        channel: The channel.
        payload: Any JSON value.
        user: The sender's name shown to subscribers; hidden on anonymous channels.
        now: Seconds since the epoch.
        origin: The sending connection, which does not receive the publication if the channel is
            not reflective.
        key: See `Publish`, as for the others.
        polled: Whether only the node that polls the channel may make it.
        made: When and where code made it.

    """
    data: JSONObject = {"payload": payload, "datetime": timestamp(now)}
    if not channel.options.anonymous:
        data["user"] = user
    return Publish(data, now, origin, None, "", key, polled, made)


def stored(
    channel: Channel,
    payload: JSON,
    publication: Publication,
    epoch: str,
    published: float,
    origin: Connection | None,
    user: str | None,
) -> Publish:
    """Return a publication to a durable channel, as the site has stored it.

    Args:
        channel: The channel.
        payload: Any JSON value.
        publication: Its numbers; the data are added.
        epoch: Its epoch.
        published: When code or a browser published it, in seconds since the epoch.
        origin: The sending connection, if it is still there.
        user: The sender's name shown to subscribers; hidden on anonymous channels.

    """
    data: JSONObject = {"payload": payload, "datetime": timestamp(published)}
    if not channel.options.anonymous:
        data["user"] = user
    whole = replace(publication, data=data, weight=OVERHEAD + weigh(payload))
    return Publish(data, publication.at, origin, whole, epoch)


def announce(channel: Channel, change: Publish, publication: Publication | None) -> list[Effect]:
    """Announce a composed publication to a channel's audience.

    Args:
        channel: The channel.
        change: The composed publication.
        publication: The same publication with its number, if the channel has a stream.

    """
    stream = channel.stream
    # The channel may have become anonymous while the engine handled the change.
    args = {"channel_name": channel.name, **channel.shown(change.data)}
    channel.published.add(change.at)
    if publication is not None and stream is not None:
        if change.epoch and not stream.offset:
            stream.begin(change.epoch)
        if not stream.is_shared:
            stream.add(publication)
        channel.remember(change.at, "PUBLISH", publication.data, publication.weight)
        args |= place(stream.epoch, publication.offset)
    exclude = None if channel.options.reflective else change.origin
    return [Broadcast(channel, "PUBLISH", args, exclude, change.made)]


def announce_numbered(channel: Channel, publication: Publication) -> list[Effect]:
    """Announce a publication that another node has made, or that this one has missed."""
    data = dict(publication.data)
    change = Publish(data, publication.at)
    return announce(channel, change, publication if channel.stream is not None else None)


def show(channel: Channel, change: Publish, only_to: Connection) -> list[Effect]:
    """Send a composed publication to one connection only, outside the history (0.3.4).

    This does not change the channel, so the engine is not asked.
    """
    channel.published.add(change.at)
    return [Send((only_to,), "PUBLISH", {"channel_name": channel.name, **change.data})]
