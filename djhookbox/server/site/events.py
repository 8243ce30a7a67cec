"""What no webhook decided, reported to the site in batches by one more webhook, `events`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any

from ...wire.values import dumps
from ..metrics import Metrics
from .webhooks import Refusal, Webhooks

logger = logging.getLogger("djhookbox.server.events")

FLUSH_SECONDS = 0.5
BATCH = 500
#: Bytes of JSON in one batch; Django refuses forms of more than 2.5 MB unless told otherwise,
#: and URL encoding makes JSON up to three times as long.
BATCH_BYTES = 524_288
#: Bytes of JSON that wait while the site does not take them.
MAX_BYTES = 33_554_432
#: Longest pause between tries.
MAX_PAUSE = 30.0


class Events:
    """A bounded queue of events, reported every half second or when a batch is full.

    If it overflows the oldest are dropped and counted: a log must not take the server down.
    """

    def __init__(self, webhooks: Webhooks, metrics: Metrics, limit: int) -> None:
        self._webhooks = webhooks
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[str] = deque()
        self._size = 0
        self._woken = asyncio.Event()
        #: The report that is being made. It outlives `run`: cancelled, it would be made again,
        #: and the site may have it already.
        self._under_way: asyncio.Task[bool] | None = None

    def add(self, event: str, /, **fields: Any) -> None:
        """Note that something happened just now."""
        text = dumps({"event": event, "at": round(time.time(), 3), **fields})
        self._queue.append(text)
        self._size += len(text)
        while len(self._queue) > self._limit or self._size > MAX_BYTES:
            self._size -= len(self._queue.popleft())
            self._metrics.events_dropped += 1
        if self._full:
            self._woken.set()

    @property
    def _full(self) -> bool:
        """Whether a whole batch waits that can go at once."""
        if "events" not in self._webhooks.accepted:
            return False
        return len(self._queue) >= BATCH or self._size >= BATCH_BYTES

    async def run(self) -> None:
        """Report for ever; cancelled at the end.

        At most one batch each half second, unless a whole one waits.
        """
        failures = 0
        while True:
            # A full queue must not turn retries into a storm.
            await self._pause(min(MAX_PAUSE, FLUSH_SECONDS * 2**failures), early=not failures)
            failures = 0 if await self._report() else min(failures + 1, 6)

    async def _pause(self, seconds: float, *, early: bool) -> None:
        if not early:
            await asyncio.sleep(seconds)
            return
        self._woken.clear()
        if self._full:
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def flush(self) -> bool:
        """Report everything that waits; tell whether the site took it."""
        while self._queue and "events" in self._webhooks.accepted:
            if not await self._report():
                return False
        return True

    async def _report(self) -> bool:
        """Report a batch, or wait for the report that is being made; tell whether it was taken."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.get_running_loop().create_task(self._send())
        return await asyncio.shield(self._under_way)

    async def _send(self) -> bool:
        if self._queue and "events" in self._webhooks.accepted:
            batch: list[str] = []
            size = 0
            for text in self._queue:
                size += len(text)
                if batch and (len(batch) >= BATCH or size > BATCH_BYTES):
                    break
                batch.append(text)
            dropped = self._metrics.events_dropped
            try:
                reply = await self._webhooks.call("events", {"events": f"[{','.join(batch)}]"})
                reply.check()
            except Refusal as refusal:
                if refusal.code == "unavailable":
                    return False
                logger.error("The site refuses %d events: %s", len(batch), refusal.reason)
            # Some of the batch may have fallen out of a full queue meanwhile.
            for _ in range(max(0, len(batch) - (self._metrics.events_dropped - dropped))):
                self._size -= len(self._queue.popleft())
        return True
