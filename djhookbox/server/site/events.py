"""What no webhook decided, reported to the site in batches by one more webhook, `events`.

A batch that the site rejects is halved until the event at fault is alone. It loses its payload,
or goes itself, and the others get through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import NamedTuple

from ...wire import bodies, capabilities, events, nodes, webhooks
from ...wire.events import Event, Stopped
from ...wire.values import MAX_DOCUMENT_DEPTH, dumps, loads
from ..metrics import Metrics
from .webhooks import Refusal, Rejected, Webhooks

logger = logging.getLogger("djhookbox.server.events")

FLUSH_SECONDS = 0.5
BATCH = 500
#: Bytes of JSON in one batch. As JSON in JSON they are twice as many at most, which every site
#: reads; percent-encoded three times as many, which is less than Django's limit for forms.
BATCH_BYTES = 524_288
#: Bytes of JSON that wait while the site does not take them.
MAX_BYTES = 33_554_432
#: Longest pause between tries.
MAX_PAUSE = 30.0
#: The same while there is nothing to report but that the process is there.
MAX_GREETING_PAUSE = 5.0
#: Bytes of a report besides its events: the secret, names.
ROOM = 8192
#: Characters of an event that every report has room for, be it twice as long as JSON in JSON.
ALWAYS_FITS = (bodies.largest_body(0) - ROOM) // 2


class _Event(NamedTuple):
    """An event that waits: its number, and all of it as ASCII JSON."""

    number: int
    text: str


class Events:
    """A bounded queue of events, reported every half second or when a batch is full.

    If it overflows the oldest are dropped and counted: a log must not take the server down.
    """

    def __init__(self, webhooks: Webhooks, metrics: Metrics, limit: int) -> None:
        self._webhooks = webhooks
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[_Event] = deque()
        self._size = 0
        self._number = 0
        #: Events in a batch; fewer while one is looked for that the site does not take.
        self._most = BATCH
        self._woken = asyncio.Event()
        #: The report that is being made. It outlives `run`: cancelled, it would be made again,
        #: and the site may have it already.
        self._under_way: asyncio.Task[bool] | None = None
        #: Where this process is, for a site that wants to know; set when it listens.
        self.address = ""
        #: When the next report is due even if nothing has happened, on the loop's clock.
        self._due_at = 0.0

    def add(self, event: Event) -> None:
        """Add an event that happens now."""
        self._number += 1
        text = events.write(event, self._number, round(time.time(), 3))
        added: _Event | None = _Event(self._number, text)
        if len(text) > ALWAYS_FITS and bodies.json_size(text) > self._largest:
            added = self._shortened(_Event(self._number, text), "it is larger than a report may be")
        if added is not None:
            self._queue.append(added)
            self._size += len(added.text)
        while len(self._queue) > self._limit or self._size > MAX_BYTES:
            self._pop()
            self._metrics.events_dropped += 1
        if self._full:
            self._woken.set()

    @property
    def _largest(self) -> int:
        """How many bytes of JSON in JSON an event may have."""
        return bodies.largest_body(self._webhooks.config.max_frame_size) - ROOM

    @property
    def _full(self) -> bool:
        """Whether a whole batch waits that can go at once."""
        return (len(self._queue) >= self._most or self._size >= BATCH_BYTES) and self._accepted

    @property
    def _due(self) -> bool:
        """Whether the site must hear of this process, whatever has happened."""
        if capabilities.NODES not in self._webhooks.accepted:
            return False
        return asyncio.get_running_loop().time() >= self._due_at

    @property
    def _accepted(self) -> bool:
        return capabilities.EVENTS in self._webhooks.accepted

    async def run(self) -> None:
        """Report for ever; cancelled at the end.

        At most one batch each half second, unless a whole one waits.
        """
        failures = 0
        while True:
            # A full queue must not turn retries into a storm.
            longest = MAX_PAUSE if self._queue else MAX_GREETING_PAUSE
            await self._pause(min(longest, FLUSH_SECONDS * 2**failures), early=not failures)
            failures = 0 if await self._report() else min(failures + 1, 6)

    async def flush(self, tries: int = 1) -> bool:
        """Report everything that waits; tell whether the site took it.

        Args:
            tries: How often a report may fail, a moment apart; many a site restarts with us.

        """
        while self._queue and self._accepted:
            if not await self._report():
                tries -= 1
                if tries <= 0:
                    return False
                await asyncio.sleep(FLUSH_SECONDS)
        return True

    def stopped(self) -> None:
        """Note that the process ends, as the last event of all."""
        if capabilities.NODES in self._webhooks.accepted:
            self.add(Stopped())

    # ---- parts -----------------------------------------------------------

    async def _pause(self, seconds: float, *, early: bool) -> None:
        if not early:
            await asyncio.sleep(seconds)
            return
        self._woken.clear()
        if self._full or (self._due and not self._due_at):
            return  # the first report is made at once
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _report(self) -> bool:
        """Report a batch, or wait for the report that is being made; tell whether it was taken."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.get_running_loop().create_task(self._send())
        return await asyncio.shield(self._under_way)

    async def _send(self) -> bool:
        if not self._accepted or not (self._queue or self._due):
            return True
        batch = self._batch()
        try:
            await self._call(batch, quiet=True)
        except Refusal as refusal:
            if refusal.code == "unavailable" and not isinstance(refusal, Rejected):
                return False
            return bool(batch) and await self._single_out(batch, refusal)
        self._most = min(BATCH, 2 * self._most)
        self._forget(batch)
        return True

    def _batch(self) -> list[_Event]:
        batch: list[_Event] = []
        size = 0
        for event in self._queue:
            size += len(event.text)
            if batch and (len(batch) >= self._most or size > BATCH_BYTES):
                break
            batch.append(event)
        return batch

    async def _call(self, batch: list[_Event], *, quiet: bool) -> None:
        report = f"[{','.join(event.text for event in batch)}]"
        reply = await self._webhooks.call(webhooks.Events(report, self.address), quiet=quiet)
        more = reply.check().get("more") is True
        now = asyncio.get_running_loop().time()
        self._due_at = now if more else now + nodes.BEAT

    async def _single_out(self, batch: list[_Event], refusal: Refusal) -> bool:
        """Come closer to the event that the site does not take; tell whether it takes any."""
        try:
            # A site that rejects even this rejects everything: nothing may be dropped for that.
            await self._call([], quiet=False)
        except Refusal as error:
            logger.warning("The site takes no events: %s", error)
            return False
        if len(batch) > 1:
            self._most = len(batch) // 2
            return True
        why = refusal.problem if isinstance(refusal, Rejected) else refusal.reason
        shorter = self._shortened(batch[0], why)
        if self._queue and self._queue[0] is batch[0]:
            self._pop()
            if shorter is not None:
                self._queue.appendleft(shorter)
                self._size += len(shorter.text)
        return True

    def _shortened(self, event: _Event, why: str) -> _Event | None:
        """Return an event without its payload, None if it has none and is dropped."""
        fields = loads(event.text, max_depth=MAX_DOCUMENT_DEPTH)
        name, size = fields["event"], len(event.text)
        if "payload" not in fields:
            self._metrics.events_dropped += 1
            logger.warning("An event (%s, %d bytes) is dropped: %s", name, size, why)
            return None
        fields["payload_size"] = len(dumps(fields.pop("payload")))
        logger.warning(
            "An event (%s, %d bytes) is reported without its payload: %s", name, size, why
        )
        return _Event(event.number, dumps(fields))

    def _forget(self, batch: list[_Event]) -> None:
        # Some of the batch may have fallen out of a full queue in the meantime.
        while batch and self._queue and self._queue[0].number <= batch[-1].number:
            self._pop()

    def _pop(self) -> None:
        self._size -= len(self._queue.popleft().text)
