"""Check changes of channels before they are proposed: their options, and their memory."""

from __future__ import annotations

import logging

from ...wire.names import RESERVED_PREFIX
from ...wire.options import CHANNEL_DEFAULTS, OptionError
from ..core.changes import Change, Create, Publish, SetOptions, Subscribe
from ..core.model import Channel
from ..core.states import StateTooLarge
from ..refusals import Refusal
from ..runtime import Runtime

logger = logging.getLogger("djhookbox.server")


class ChannelLimits:
    """Limit the number of channels and of subscriptions, and the memory of states.

    Each connection is limited in channels, but anyone may open many connections.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._hub = runtime.hub
        self._most_channels = runtime.config.max_channels
        self._most_subscriptions = runtime.config.max_subscriptions

    def check_new(self, name: str, change: Create) -> None:
        """Check whether a channel can be created.

        Raises:
            Refusal: If it cannot.

        """
        try:
            CHANNEL_DEFAULTS.changed(change.given)
        except OptionError as error:
            raise Refusal(str(error), "malformed") from None
        full = len(self._hub.channels) >= self._most_channels
        if full and not name.startswith(RESERVED_PREFIX):
            raise _refusal(
                f"There are too many channels (at most {self._most_channels}: see "
                "HOOKBOX_MAX_CHANNELS)"
            )
        self._check_state(name, None, change)

    def check(self, channel: Channel, change: Change) -> None:
        """Check whether a live channel can be changed.

        Raises:
            OptionError: If the options are invalid.
            Refusal: If it cannot for another reason.

        """
        if isinstance(change, Publish):
            return
        if isinstance(change, Subscribe):
            self._check_subscriptions(channel, change)
            return
        if isinstance(change, SetOptions):
            channel.options.changed(change.given)
        self._check_state(channel.name, channel, change)

    def _check_subscriptions(self, channel: Channel, change: Subscribe) -> None:
        full = self._hub.subscriptions >= self._most_subscriptions
        if full and change.user.name not in channel.subscribers and not channel.reserved:
            raise _refusal(
                f"There are too many subscriptions (at most {self._most_subscriptions}: see "
                "HOOKBOX_MAX_SUBSCRIPTIONS)"
            )

    def _check_state(self, name: str, channel: Channel | None, change: Change) -> None:
        try:
            self._hub.states.check(name, channel, change)
        except StateTooLarge as problem:
            raise _refusal(str(problem)) from None


def _refusal(text: str) -> Refusal:
    logger.warning("%s", text)
    return Refusal(text, "limit")
