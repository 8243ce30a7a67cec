"""Engines to test with besides the one that keeps everything in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

from djhookbox.server.core.changes import Accepted, Change
from djhookbox.server.core.stream import Position
from djhookbox.server.engine.base import EngineError
from djhookbox.server.engine.memory import MemoryEngine


class FarEngine(MemoryEngine):
    """Stands for a database: each call takes a while, may fail, and the server is not its life.

    Attributes:
        down: Whether it fails.
        gate: Once it has something, it says so only while this is set.
        known: What it was told, in order.

    """

    name = "far"
    down = False

    def __init__(
        self, max_streams: int = 100, max_publications: int = 1000, *, recovery: float = 0
    ) -> None:
        super().__init__(max_streams, max_publications, recovery=recovery)
        self.gate = asyncio.Event()
        self.gate.set()
        self.known: list[tuple[str, Change]] = []

    async def _travel(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def _arrive(self) -> None:
        await self._travel()
        if self.down:
            raise EngineError("it is down")

    def propose(self, channel: str, change: Change) -> Awaitable[Accepted]:  # type: ignore[override]
        return self._propose(channel, change)

    async def _propose(self, channel: str, change: Change) -> Accepted:
        await self._arrive()
        accepted = self._accept(channel, change)
        await self._travel()
        await self.gate.wait()
        return accepted

    def _accept(self, channel: str, change: Change) -> Accepted:
        accepted = MemoryEngine.propose(self, channel, change)
        self.known.append((channel, change))
        if accepted.stream is None:
            return accepted
        return accepted._replace(stream=replace(accepted.stream, shared=None))  # it is far away

    async def position(self, channel: str, now: float, history: bool = True) -> Position | None:
        await self._arrive()
        return await super().position(channel, now, history)

    async def forget(self, channel: str, now: float) -> bool:
        await self._arrive()
        return await super().forget(channel, now)

    async def expire(self, now: float) -> None:
        await self._arrive()
        await super().expire(now)


class MoodyEngine(FarEngine):
    """Answers every other change at once."""

    name = "moody"

    def propose(self, channel: str, change: Change) -> Accepted | Awaitable[Accepted]:  # type: ignore[override]
        if len(self.known) % 2:
            return self._accept(channel, change)
        return self._propose(channel, change)
