"""What a channel looks like: to somebody who subscribes, and to the site."""

from __future__ import annotations

from typing import Any

from .log import Position
from .model import Channel
from .options import ChannelOptions


def snapshot(
    channel: Channel, name: str, now: float, since: Position | None = None
) -> dict[str, Any]:
    """Return the arguments of the SUBSCRIBE frame to a subscriber.

    Args:
        channel: The channel.
        name: The subscriber's.
        now: Seconds since the epoch.
        since: What the subscriber has seen, if it wants to catch up.

    """
    options = channel.options
    channel.trim(now)
    args: dict[str, Any] = {
        "channel_name": channel.name,
        "user": name,
        "history": channel.history_list(now),
        "history_size": options.history_size,
        "state": channel.state,
        "presence": channel.presence(),
    }
    if options.history_duration:
        args["history_duration"] = options.history_duration
    if channel.log is not None:
        args |= {"epoch": channel.log.epoch, "offset": channel.log.offset}
    if since is not None:
        args |= recovery(channel, since)
    return args


def recovery(channel: Channel, since: Position) -> dict[str, Any]:
    """Return what a snapshot has besides for somebody who wants to catch up."""
    if channel.log is None:
        return {"recovered": [], "missed": None}
    publications, missed = channel.log.after(since)
    recovered = [{**channel.shown(each.data), "offset": each.offset} for each in publications]
    return {"recovered": recovered, "missed": missed}


def info(channel: Channel, now: float) -> dict[str, Any]:
    """Return what get_channel_info says."""
    options = channel.options
    return {
        "name": channel.name,
        "subscribers": list(channel.subscribers),
        "connections": len(channel.audience),
        "options": {
            **{name: getattr(options, name) for name in ChannelOptions.__slots__},
            "polling": options.polling.info(),
            # Whole: this is for the site, which knows who publishes on anonymous channels.
            "history": [[entry.kind, entry.data] for entry in channel.entries(now)],
            "state": channel.state,
        },
    }
