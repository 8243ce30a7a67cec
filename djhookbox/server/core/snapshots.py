"""Describe a channel, for a new subscriber and for the site."""

from __future__ import annotations

from ...wire.options import ChannelOptions
from .model import Channel
from .stream import Position


def snapshot(
    channel: Channel, name: str, now: float, since: Position | None = None, reader: str = ""
) -> dict[str, object]:
    """Return the arguments of a subscriber's SUBSCRIBE frame.

    Args:
        channel: The channel.
        name: The subscriber's name.
        now: Seconds since the epoch.
        since: The subscriber's position, if it wants to catch up.
        reader: The id of its connection.

    """
    options = channel.options
    channel.trim(now)
    args: dict[str, object] = {
        "channel_name": channel.name,
        "user": name,
        "history": channel.history_list(now),
        "history_size": options.history_size,
        "state": channel.state,
        "presence": channel.presence(),
    }
    if options.history_duration:
        args["history_duration"] = options.history_duration
    if channel.stream is not None:
        args |= {"epoch": channel.stream.epoch, "offset": channel.stream.offset}
    if since is not None:
        args |= recovery(channel, since, reader)
    return args


def recovery(channel: Channel, since: Position, reader: str = "") -> dict[str, object]:
    """Return the additional snapshot fields for a subscriber that wants to catch up.

    Its own publications are left out where they were not sent to it either.
    """
    if channel.stream is None:
        return {"recovered": [], "missed": None}
    publications, missed = channel.stream.after(since)
    own = "" if channel.options.reflective else reader
    recovered = [
        {**channel.shown(each.data), "offset": each.offset}
        for each in publications
        if not own or each.origin != own
    ]
    return {"recovered": recovered, "missed": missed}


def info(channel: Channel, now: float) -> dict[str, object]:
    """Return the answer to get_channel_info."""
    return {
        "name": channel.name,
        "subscribers": list(channel.subscribers),
        "connections": len(channel.audience),
        "options": options(channel, now),
    }


def options(channel: Channel, now: float) -> dict[str, object]:
    """Return the options of a channel, with its history and state."""
    return {
        **{name: getattr(channel.options, name) for name in ChannelOptions.__slots__},
        "polling": channel.options.polling.info(),
        # Include names: the site knows who publishes on anonymous channels anyway.
        "history": [[entry.kind, entry.data] for entry in channel.entries(now)],
        "state": channel.state,
    }
