"""Publications and their logs: the core's of live channels, the engine's beyond their life.

The engine has a publication before anybody sees it, so that no number is ever given twice
within an epoch, not even by a persistent engine after a crash. For one channel all of it goes
one after the other. Nothing here waits for the site.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ...wire import answers
from ..clients.connection import Connection
from ..core.effects import Forgotten, Released
from ..core.log import Position
from ..core.model import Channel
from ..core.options import OptionError
from ..core.publishing import announce, compose
from ..engine.base import Engine, EngineError
from ..runtime import Runtime
from ..site.webhooks import Refusal
from .locks import KeyedLocks

logger = logging.getLogger("djhookbox.server")

#: Seconds between two looks for what has expired.
EXPIRE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication.

    Attributes:
        delivered: How many connections it went to.
        position: Its place in the channel's log, if it is numbered.

    """

    delivered: int
    position: Position | None = None

    def answer(self) -> answers.Published:
        """Return what REST answers."""
        if self.position is None:
            return answers.Published(self.delivered)
        return answers.Published(self.delivered, self.position.epoch, self.position.offset)


class EngineFailed(Refusal):
    """The engine failed, so nothing was done."""

    def __init__(self) -> None:
        reason = "The history of this channel cannot be kept now; try again later"
        super().__init__(reason, "unavailable")


class Publications:
    """Publishes, and gives channels their logs."""

    def __init__(self, runtime: Runtime, engine: Engine) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._engine = engine
        self._linger = runtime.config.history_linger
        self._turns = KeyedLocks()
        #: Logs of channels whose history was switched off, until the engine has been told.
        self._forgotten: dict[str, str] = {}
        self._expired = 0.0

    async def publish(
        self,
        channel: Channel,
        payload: Any,
        user: str | None,
        *,
        origin: Connection | None = None,
        only_to: Connection | None = None,
    ) -> Published:
        """Publish to a channel; the arguments are those of `Hub.publish`.

        Raises:
            Refusal: The channel is gone: its log may be that of another by now.
            EngineFailed: Nobody has seen it, or will.

        """
        if self._hub.channels.get(channel.name) is not channel:
            raise Refusal("The channel was destroyed meanwhile")
        if only_to is None and channel.log is not None:
            published = await self._publish_numbered(channel, payload, user, origin)
            if published is not None:
                return published
        effects = self._hub.publish(
            channel, payload, user, self._clock(), origin=origin, only_to=only_to
        )
        return Published(self._delivery.perform(effects))

    async def _publish_numbered(
        self, channel: Channel, payload: Any, user: str | None, origin: Connection | None
    ) -> Published | None:
        """Publish with a number; None if history is switched off meanwhile."""
        async with self._turn(channel.name):
            while (log := channel.log) is not None:
                publication = compose(channel, payload, user, self._clock())
                options = channel.options
                await self._engine.append(
                    channel.name,
                    log.epoch,
                    publication,
                    size=options.history_size,
                    duration=options.history_duration,
                )
                if channel.log is log:
                    effects = announce(channel, publication, origin)
                    return Published(self._delivery.perform(effects), log.position)
                # Switched off, or off and on: the engine is about to forget that log.
        return None

    async def open(self, name: str, options: Mapping[str, Any]) -> Channel:
        """Create a channel with its log, or return the one that exists.

        Raises:
            Refusal: The options are wrong, or the engine failed.

        """
        log = None
        async with self._turn(name):
            if name not in self._hub.channels:
                if options.get("history_size"):
                    log = await self._engine.load(name, self._clock())
                else:
                    await self._engine.forget(name)
            existing = self._hub.channels.get(name)
            if existing is not None:
                return existing
            try:
                channel, effects = self._hub.create_channel(name, options, self._clock(), log)
            except OptionError as error:
                self._tasks.start(self._settle(name))  # what was loaded is nobody's again
                raise Refusal(str(error), "malformed") from None
            self._delivery.perform(effects)
            return channel

    async def skip(self, name: str) -> None:
        """Note a publication to a channel that neither lives nor has a history.

        Raises:
            EngineFailed: It could not be noted.

        """
        async with self._turn(name):
            if name not in self._hub.channels:
                await self._engine.forget(name)

    async def cursor(self, name: str, history: bool) -> str:
        """Return the cursor of a channel, "" if it has no history; it is not created for that.

        Args:
            name: The channel.
            history: Whether it would have one if it came into being now.

        Raises:
            EngineFailed: The engine does not say.

        """
        async with self._turn(name):
            channel = self._hub.channels.get(name)
            if channel is not None:
                return "" if channel.log is None else str(channel.log.position)
            return str(await self._engine.position(name, self._clock())) if history else ""

    async def expire(self, now: float) -> None:
        """Drop what has expired, from time to time."""
        if abs(now - self._expired) >= EXPIRE_SECONDS:
            self._expired = now
            try:
                await self._engine.expire(now)
            except EngineError as error:  # which must not end what is done every second
                logger.error("The engine failed to expire logs: %s", error)

    # ---- parts -----------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Hold the log of a channel; what the engine fails at fails as unavailable.

        Raises:
            EngineFailed: The engine failed.

        """
        try:
            async with self._turns.hold(name):
                if name in self._forgotten:
                    await self._engine.forget(name, self._forgotten.pop(name))
                yield
        except EngineError as error:
            logger.error("The engine failed for %r: %s", name, error)
            raise EngineFailed from None

    def forgotten(self, effect: Forgotten) -> None:
        """Have the engine forget the log of a channel whose history was switched off."""
        self._forgotten[effect.channel.name] = effect.epoch
        self._tasks.start(self._settle(effect.channel.name))

    def released(self, effect: Released) -> None:
        """Tell the engine that a channel is gone."""
        if effect.channel.log is not None:
            self._tasks.start(self._settle(effect.channel.name))

    async def _settle(self, name: str) -> None:
        with suppress(EngineFailed):  # which has been logged
            async with self._turn(name):
                if name not in self._hub.channels:
                    await self._engine.release(name, self._clock(), self._linger)
