"""Engines to test with besides the one that keeps everything in memory."""

from __future__ import annotations

import asyncio

from djhookbox.server.core.log import LogState, Position, Publication
from djhookbox.server.engine.base import EngineError
from djhookbox.server.engine.memory import MemoryEngine


class FarEngine(MemoryEngine):
    """Stands for a database: each call takes a while, may fail, and the server is not its life.

    Attributes:
        down: Whether it fails.

    """

    name = "far"
    down = False

    async def _travel(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        if self.down:
            raise EngineError("it is down")

    async def load(self, channel: str, now: float) -> LogState:
        await self._travel()
        return await super().load(channel, now)

    async def append(
        self, channel: str, epoch: str, publication: Publication, *, size: int, duration: float
    ) -> None:
        await self._travel()
        await super().append(channel, epoch, publication, size=size, duration=duration)
        await self._travel()

    async def position(self, channel: str, now: float) -> Position:
        await self._travel()
        return await super().position(channel, now)

    async def release(self, channel: str, now: float, linger: float) -> None:
        await self._travel()
        await super().release(channel, now, linger)

    async def forget(self, channel: str, epoch: str = "") -> None:
        await self._travel()
        await super().forget(channel, epoch)

    async def expire(self, now: float) -> None:
        await self._travel()
        await super().expire(now)
