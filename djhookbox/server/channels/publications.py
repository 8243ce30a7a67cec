"""Publications: composed, numbered by the engine where a channel has a history, and found again.

Nothing here waits for the site.
"""

from __future__ import annotations

import logging
from typing import Any

from ..clients.connection import Connection
from ..core.model import Channel
from ..core.publishing import compose, show
from ..engine.base import Engine, EngineError
from ..runtime import Runtime
from .streams import Applied, ChannelGone, EngineFailed, Streams

logger = logging.getLogger("djhookbox.server")

#: Seconds between two looks for what has expired.
EXPIRE_SECONDS = 10.0


class Publications:
    """Publishes, and knows what can be caught up with."""

    def __init__(self, runtime: Runtime, engine: Engine, streams: Streams) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._clock = runtime.clock
        self._engine = engine
        self._streams = streams
        self._expired = 0.0

    async def publish(
        self,
        channel: Channel,
        payload: Any,
        user: str | None,
        *,
        origin: Connection | None = None,
        only_to: Connection | None = None,
    ) -> Applied:
        """Publish to a channel.

        Args:
            channel: The channel.
            payload: Any JSON value.
            user: The name that subscribers read; not shown on anonymous channels.
            origin: The connection it came from, which does not get it if the channel is not
                reflective.
            only_to: Send it to nobody else, and keep it out of the history (0.3.4).

        Raises:
            ChannelGone: The channel is gone: its stream may be that of another by now.
            EngineFailed: Nobody has seen it, or will.

        """
        change = compose(channel, payload, user, self._clock(), origin)
        if only_to is None:
            applied = self._streams.begin(channel, change)
            return applied if isinstance(applied, Applied) else await applied
        if self._hub.channels.get(channel.name) is not channel:
            raise ChannelGone
        return Applied(self._delivery.perform(show(channel, change, only_to)))

    async def skip(self, name: str) -> None:
        """Note a publication to a channel that neither lives nor has a history.

        Raises:
            EngineFailed: It could not be noted.

        """
        try:
            await self._engine.forget(name)
        except EngineError as error:
            raise self._failed(name, error) from None

    async def cursor(self, name: str, history: bool) -> str:
        """Return the cursor of a channel, "" if it has no history; it is not created for that.

        Args:
            name: The channel.
            history: Whether it would have one if it came into being now.

        Raises:
            EngineFailed: The engine does not say.

        """
        channel = self._hub.channels.get(name)
        if channel is not None:
            return "" if channel.log is None else str(channel.log.position)
        try:
            position = await self._engine.position(name, self._clock()) if history else None
        except EngineError as error:
            raise self._failed(name, error) from None
        return "" if position is None else str(position)

    async def expire(self, now: float) -> None:
        """Drop what has expired, from time to time."""
        if abs(now - self._expired) >= EXPIRE_SECONDS:
            self._expired = now
            try:
                await self._engine.expire(now)
            except EngineError as error:  # which must not end what is done every second
                logger.error("The engine failed to expire streams: %s", error)

    @staticmethod
    def _failed(name: str, error: EngineError) -> EngineFailed:
        logger.error("The engine failed for %r: %s", name, error)
        return EngineFailed()
