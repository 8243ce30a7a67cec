"""Publications: compose them, have the engine number them, and recover missed ones.

Nothing here waits for the site.
"""

from __future__ import annotations

import asyncio
import logging

from ...wire.values import JSON
from ..connection import Connection
from ..core.announcing import compose, show
from ..core.effects import Made
from ..core.model import Channel
from ..engine.base import Engine, EngineError
from ..refusals import Refusal
from ..runtime import Runtime
from ..tasks import in_turns
from .outcomes import Applied, ChannelGone, EngineFailed
from .proposals import Proposals

logger = logging.getLogger("djhookbox.server")

#: Seconds between checks for expired publications.
EXPIRE_SECONDS = 10.0


class Stored(Refusal):
    """A channel is durable: publications to it are stored by the site, which then numbers them."""

    def __init__(self, name: str) -> None:
        reason = (
            f"{name} is durable: publish to it with djhookbox.publish(), or with send_hook=1, so "
            "that the site stores it"
        )
        super().__init__(reason, "durable")


class Publications:
    """Publish to channels, and report the positions that clients can catch up from."""

    def __init__(self, runtime: Runtime, engine: Engine, proposals: Proposals) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._clock = runtime.clock
        self._engine = engine
        self._proposals = proposals
        self._recovery = runtime.config.recovery_seconds
        self._expired = 0.0

    async def publish(
        self,
        channel: Channel,
        payload: JSON,
        user: str | None,
        *,
        origin: Connection | None = None,
        only_to: Connection | None = None,
        key: str = "",
        polled: bool = False,
        made: Made | None = None,
    ) -> Applied:
        """Publish to a channel.

        Args:
            channel: The channel.
            payload: Any JSON value.
            user: The sender's name shown to subscribers; hidden on anonymous channels.
            origin: The sending connection, which does not receive the publication if the channel
                is not reflective.
            only_to: Send it only to this connection, and keep it out of the history (0.3.4).
            key: A key of the caller's, if the engine is shared with other nodes.
            polled: Whether only the node that polls the channel may publish it.
            made: When and where code made it.

        Raises:
            ChannelGone: If the channel is gone; its stream may belong to a newer channel by now.
            EngineFailed: If the publication failed; nobody has received it or will receive it.

        """
        if only_to is None:
            applied = self.begin(
                channel, payload, user, origin=origin, key=key, polled=polled, made=made
            )
            return applied if isinstance(applied, Applied) else await self.answer(applied)
        change = compose(channel, payload, user, self._clock(), origin)
        if self._hub.channels.get(channel.name) is not channel:
            raise ChannelGone
        return Applied(self._delivery.perform(show(channel, change, only_to)))

    def begin(
        self,
        channel: Channel,
        payload: JSON,
        user: str | None,
        *,
        origin: Connection | None = None,
        key: str = "",
        polled: bool = False,
        made: Made | None = None,
    ) -> Applied | asyncio.Future[Applied]:
        """Do the same as `publish`, but return an immediate result without awaiting."""
        change = compose(
            channel, payload, user, self._clock(), origin, key=key, polled=polled, made=made
        )
        if channel.options.durable:
            raise Stored(channel.name)
        begun = self._proposals.begin(channel, change)
        if self._delivery.unfinished and isinstance(begun, Applied):
            return self._delivery.when_caught_up(channel, begun) or begun
        return begun

    async def answer(self, applied: asyncio.Future[Applied]) -> Applied:
        """Return the result of `begin`, waiting for a limited time; raises as `publish`."""
        return await self._proposals.answer(applied)

    async def skip(self, name: str) -> bool:
        """Skip a publication to a channel that is not live and has no history, if nobody misses it.

        Returns:
            Whether it is skipped. Otherwise clients may return to the channel, and must receive it.

        Raises:
            EngineFailed: If the engine could not record it.

        """
        try:
            return await self._engine.forget(name, self._clock())
        except EngineError as error:
            raise self._failed(name, error) from None

    async def cursor(self, name: str, history: bool) -> str:
        """Return a channel's cursor, or "" if it has none; this does not create the channel.

        Args:
            name: The channel.
            history: Whether it would have a history if it were created now.

        Raises:
            EngineFailed: If the engine cannot report it.

        """
        channel = self._hub.channels.get(name)
        if channel is not None:
            return "" if channel.stream is None else str(channel.stream.position)
        try:
            position = None
            if history or self._recovery:
                position = await self._engine.position(name, self._clock(), history)
        except EngineError as error:
            raise self._failed(name, error) from None
        return "" if position is None else str(position)

    async def expire(self, now: float) -> None:
        """Drop expired publications at regular intervals."""
        if abs(now - self._expired) >= EXPIRE_SECONDS:
            self._expired = now
            async for keeping in in_turns(self._hub.shelf.holders):
                for each in keeping:
                    each.expire(now)
            try:
                await self._engine.expire(now)
            except EngineError as error:  # must not end the periodic work
                logger.error("The engine failed to expire streams: %s", error)

    @staticmethod
    def _failed(name: str, error: EngineError) -> EngineFailed:
        logger.error("The engine failed for %r: %s", name, error)
        return EngineFailed()
