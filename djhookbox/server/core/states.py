"""Channels' states: how they change, and limits on the memory that they use.

History can be dropped, but state cannot: pages would show something wrong. A change that does not
fit is therefore refused. What makes a state smaller is always possible.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ...wire.options import CHANNEL_DEFAULTS, ChannelOptions
from ...wire.values import JSON
from .changes import Change, Create, SetOptions, SetState
from .effects import Broadcast, Effect
from .keeping import weigh
from .model import Channel
from .values import changed

#: Bytes for each key in addition to the key and its value: its place in the dictionary.
PER_KEY = 100

_MIB = 1_048_576


class StateTooLarge(ValueError):
    """A state that would use too much memory; the text names the setting."""


class States:
    """Change states, and limit their memory for each channel and in total.

    Options of any length (`server_user_presence` and `polling`) count too.

    Args:
        most_each: Maximum bytes for one channel.
        most: Maximum bytes for all channels.

    Attributes:
        total: Bytes that all channels use.

    """

    def __init__(self, most_each: int = 8 * _MIB, most: int = 64 * _MIB) -> None:
        self._most_each = most_each
        self._most = most
        self.total = 0

    def check(self, name: str, channel: Channel | None, change: Change) -> None:
        """Check that a channel's state fits after a change.

        Args:
            name: The channel's name.
            channel: The channel, unless it is created by this change.
            change: Any change; only changes of state and options matter.

        Raises:
            StateTooLarge: If it does not fit.

        """
        before = channel.held if channel is not None else 0
        if isinstance(change, SetState) and channel is not None:
            touched = {*change.updates, *change.deletes}
            after = before - _weigh_keys(channel.state, touched) + _weigh_state(change.updates)
        elif isinstance(change, SetOptions | Create):
            after = _held_after(channel, change.given)
        else:
            return
        if after <= before:
            return
        if after > self._most_each:
            raise StateTooLarge(
                f"The state of channel {name} would use {after} bytes of memory, more than "
                f"{self._most_each} (HOOKBOX_MAX_CHANNEL_STATE)"
            )
        if self.total - before + after > self._most:
            raise StateTooLarge(
                f"The state of channel {name} does not fit: those of all channels would use "
                f"{self.total - before + after} bytes of memory, more than {self._most} "
                "(HOOKBOX_MAX_STATE)"
            )

    def change(
        self, channel: Channel, updates: Mapping[str, JSON], deletes: Iterable[str] = ()
    ) -> list[Effect]:
        """Change keys of a state; send only the keys whose values differ."""
        new = changed(channel.state, updates)
        gone = [key for key in deletes if key in channel.state]
        if not new and not gone:
            return []
        touched = {*new, *gone}
        before = _weigh_keys(channel.state, touched)
        channel.state.update(new)
        for key in gone:
            channel.state.pop(key, None)
        self._grow(channel, _weigh_keys(channel.state, touched) - before)
        return [_update(channel, new, gone)]

    def replace(self, channel: Channel, state: Mapping[str, JSON]) -> list[Effect]:
        """Replace a state; the frame is sent even if nothing changes, as in the original."""
        updates = changed(channel.state, state)
        deletes = [key for key in channel.state if key not in state]
        self._grow(channel, _weigh_state(state) - channel.state_weight)
        channel.state = dict(state)
        return [_update(channel, updates, deletes)]

    def options_changed(self, channel: Channel) -> None:
        """Record that options have changed."""
        self.total -= channel.held
        channel.options_weight = _weigh_options(channel.options)
        self.total += channel.held

    def forget(self, channel: Channel) -> None:
        """Remove a channel that has been destroyed."""
        self.total -= channel.held

    def _grow(self, channel: Channel, size: int) -> None:
        channel.state_weight += size
        self.total += size


def _update(channel: Channel, updates: Mapping[str, JSON], deletes: list[str]) -> Broadcast:
    args = {"channel_name": channel.name, "updates": dict(updates), "deletes": deletes}
    return Broadcast(channel, "STATE_UPDATE", args)


def _held_after(channel: Channel | None, given: Mapping[str, JSON]) -> int:
    options = channel.options if channel is not None else CHANNEL_DEFAULTS
    state: Mapping[str, JSON] = channel.state if channel is not None else {}
    size = channel.state_weight if channel is not None else 0
    if "state" in given:
        state, size = given["state"], _weigh_state(given["state"])
    names = given.get("server_user_presence", options.server_user_presence)
    # Names become keys of the state.
    size += _weigh_names(name for name in names if name not in state)
    polling = {**options.polling.info(), **given.get("polling", {})}
    return size + _weigh_names(names) + _weigh_polling(polling)


def _weigh_keys(state: Mapping[str, JSON], keys: Collection[str]) -> int:
    return _weigh_state({key: state[key] for key in keys if key in state})


def _weigh_state(state: Mapping[str, JSON]) -> int:
    return sum(PER_KEY + weigh(key) + weigh(value) for key, value in state.items())


def _weigh_options(options: ChannelOptions) -> int:
    return _weigh_names(options.server_user_presence) + _weigh_polling(options.polling.info())


def _weigh_names(names: Iterable[str]) -> int:
    return sum(PER_KEY + weigh(name) for name in names)


def _weigh_polling(info: Mapping[str, JSON]) -> int:
    return sum(weigh(info[name]) for name in ("url", "form", "originator") if info[name])
