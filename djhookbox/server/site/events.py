"""What no webhook decided, reported to the site in batches by one more webhook, `events`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any

from ..metrics import Metrics
from ..protocol import rtjp
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
    """A bounded queue of events, flushed every half second or at 500 of them.

    If it overflows the oldest are dropped and counted: a log must not take the server down.
    """

    def __init__(self, webhooks: Webhooks, metrics: Metrics, limit: int) -> None:
        self._webhooks = webhooks
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[str] = deque()
        self._size = 0
        self._many = asyncio.Event()

    def add(self, event: str, /, **fields: Any) -> None:
        """Note that something happened just now."""
        text = rtjp.dumps({"event": event, "at": round(time.time(), 3), **fields})
        self._queue.append(text)
        self._size += len(text)
        while len(self._queue) > self._limit or self._size > MAX_BYTES:
            self._size -= len(self._queue.popleft())
            self._metrics.events_dropped += 1
        if len(self._queue) >= BATCH:
            self._many.set()

    async def run(self) -> None:
        """Flush for ever; cancelled at the end."""
        failures = 0
        while True:
            pause = min(MAX_PAUSE, FLUSH_SECONDS * 2**failures)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._many.wait(), pause)
            if failures:
                # A full queue must not turn retries into a storm.
                await asyncio.sleep(pause if self._many.is_set() else 0)
            self._many.clear()
            failures = 0 if await self.flush() else min(failures + 1, 6)

    async def flush(self) -> bool:
        """Report everything that waits; tell whether the site took it."""
        while self._queue and "events" in self._webhooks.accepted:
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
