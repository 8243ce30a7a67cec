"""Report events that no webhook decided to the site, in batches, by one more webhook, `events`.

A batch that the site rejects is halved until the faulty event is alone. It loses its payload, or
is dropped itself, and the others get through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from ...wire import bodies, capabilities, events, nodes, webhooks
from ...wire.events import Event, Stopped
from ...wire.values import MAX_DOCUMENT_DEPTH, dumps, loads
from ...wire.webhooks import Webhook
from ..connection import Connection
from ..metrics import Metrics
from ..refusals import Refusal
from ..tasks import within
from . import order
from .webhooks import Rejected, Webhooks

logger = logging.getLogger("djhookbox.server.events")

FLUSH_SECONDS = 0.5
BATCH = 500
#: Maximum bytes of JSON in a batch. As JSON in JSON they at most double, which every site reads;
#: percent-encoding at most triples them, which is still below Django's limit for forms.
BATCH_BYTES = 524_288
#: Maximum bytes of JSON to keep while the site does not accept them.
MAX_BYTES = 33_554_432
#: Maximum pause between attempts, in seconds.
MAX_PAUSE = 30.0
#: The same while there is nothing to report except that the process is alive.
MAX_GREETING_PAUSE = 5.0
#: Maximum seconds that a webhook waits for the report of what it must not overtake.
OVERTAKING_SECONDS = 2.0
#: Bytes of a report in addition to its events: the secret and names.
ROOM = 8192
#: Size of an event that fits into every report, even if its length doubles as JSON in JSON.
ALWAYS_FITS = (bodies.largest_body(0) - ROOM) // 2


class _Event(NamedTuple):
    """A waiting event: its number, its complete ASCII JSON, and its traces (see `order`)."""

    number: int
    text: str
    traces: tuple[str, ...] = ()


class Events:
    """A bounded queue of events, reported every half second or when a batch is full.

    On overflow, the oldest events are dropped and counted: logging must not stop the server.
    """

    def __init__(self, webhooks: Webhooks, metrics: Metrics, limit: int) -> None:
        self._webhooks = webhooks
        self._metrics = metrics
        self._limit = limit
        self._queue: deque[_Event] = deque()
        self._size = 0
        self._number = 0
        #: How many waiting events have left each trace.
        self._traces: Counter[str] = Counter()
        #: Whether the last report has failed.
        self._failed = False
        webhooks.earlier = self.before
        #: Maximum events in a batch; lower during the search for an event that the site rejects.
        self._most = BATCH
        self._woken = asyncio.Event()
        #: The report being sent. It outlives `run`: after a cancellation it would be sent again,
        #: although the site may have it already.
        self._under_way: asyncio.Task[bool] | None = None
        #: The address of this process, for sites that ask for it; set once it listens.
        self.address = ""
        #: When the next report is due even if nothing has happened, in the loop's time.
        self._due_at = 0.0

    def add(self, event: Event, traces: tuple[str, ...] = ()) -> None:
        """Add an event that happens now.

        Args:
            event: The event.
            traces: Those that it leaves because of its user; see `order`.

        """
        self._number += 1
        text = events.write(event, self._number, round(time.time(), 3))
        added: _Event | None = _Event(self._number, text, (*traces, *order.traces_of(event)))
        if len(text) > ALWAYS_FITS and bodies.json_size(text) > self._largest:
            added = self._shortened(_Event(self._number, text), "it is larger than a report may be")
        if added is not None:
            self._queue.append(added)
            self._size += len(added.text)
            if added.traces:
                self._traces.update(added.traces)
        while len(self._queue) > self._limit or self._size > MAX_BYTES:
            self._pop()
            self._metrics.events_dropped += 1
        if self._full:
            self._woken.set()

    def before(
        self, webhook: Webhook[object], connection: Connection | None
    ) -> Coroutine[Any, Any, None] | None:
        """Return the report of what a webhook must not overtake, to be awaited, or None."""
        # No webhook waits for a site that takes no events.
        if not self._traces or self._failed or not self._accepted:
            return None
        overtaken = [
            trace for trace in order.followed(webhook, connection) if trace in self._traces
        ]
        return self._report_traces(overtaken) if overtaken else None

    @property
    def waiting(self) -> int:
        """The number of events that the site has not accepted yet."""
        return len(self._queue)

    @property
    def _largest(self) -> int:
        """Maximum bytes of JSON in JSON for an event."""
        return bodies.largest_body(self._webhooks.config.max_frame_size) - ROOM

    @property
    def _full(self) -> bool:
        """Whether a complete batch is waiting and can be sent immediately."""
        return (len(self._queue) >= self._most or self._size >= BATCH_BYTES) and self._accepted

    @property
    def _due(self) -> bool:
        """Whether the site must be notified of this process, whatever has happened."""
        if capabilities.NODES not in self._webhooks.accepted:
            return False
        return asyncio.get_running_loop().time() >= self._due_at

    @property
    def _accepted(self) -> bool:
        return capabilities.EVENTS in self._webhooks.accepted

    async def run(self) -> None:
        """Report periodically until cancelled.

        Send at most one batch each half second, unless a complete one is waiting.
        """
        failures = 0
        while True:
            # A full queue must not cause a flood of retries.
            longest = MAX_PAUSE if self._queue else MAX_GREETING_PAUSE
            await self._pause(min(longest, FLUSH_SECONDS * 2**failures), early=not failures)
            failures = 0 if await self._report() else min(failures + 1, 6)

    async def flush(self, tries: int = 1) -> bool:
        """Report everything that is waiting; return whether the site accepted it.

        Args:
            tries: Failures after which to give up, a moment apart; sites often restart with us.

        """
        while self._queue and self._accepted:
            if not await self._report():
                tries -= 1
                if tries <= 0:
                    return False
                await asyncio.sleep(FLUSH_SECONDS)
        return True

    def stopped(self) -> None:
        """Record that the process is stopping, as the very last event."""
        if capabilities.NODES in self._webhooks.accepted:
            self.add(Stopped())

    # ---- parts -----------------------------------------------------------

    async def _pause(self, seconds: float, *, early: bool) -> None:
        if not early:
            await asyncio.sleep(seconds)
            return
        self._woken.clear()
        if self._full or (self._due and not self._due_at):
            return  # the first report is sent immediately
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()

    async def _report(self) -> bool:
        """Report a batch, or wait for the report being sent; return whether it was accepted."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.get_running_loop().create_task(self._send())
        return await asyncio.shield(self._under_way)

    async def _report_traces(self, traces: Sequence[str]) -> None:
        """Report until nothing with these traces waits, but not for long."""
        end = asyncio.get_running_loop().time() + OVERTAKING_SECONDS
        while any(trace in self._traces for trace in traces):
            left = end - asyncio.get_running_loop().time()
            try:
                if left <= 0 or not await within(left, self._report()):
                    return
            except asyncio.TimeoutError:
                return

    async def _send(self) -> bool:
        if not self._accepted or not (self._queue or self._due):
            return True
        self._failed = not await self._send_batch()
        return not self._failed

    async def _send_batch(self) -> bool:
        batch = self._batch()
        try:
            recorded = await self._call(batch, quiet=True)
        except Refusal as refusal:
            if refusal.code == "unavailable" and not isinstance(refusal, Rejected):
                return False
            return bool(batch) and await self._single_out(batch, refusal)
        self._most = min(BATCH, 2 * self._most)
        if recorded is not None and batch:
            batch = [event for event in batch if event.number <= recorded]
            if not batch:
                logger.warning("The site did not record any event of a report")
                return False
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

    async def _call(self, batch: list[_Event], *, quiet: bool) -> int | None:
        """Report a batch; return the number of the last event recorded, if not all are."""
        report = f"[{','.join(event.text for event in batch)}]"
        answer = await self._webhooks.send(webhooks.Events(report, self.address), quiet=quiet)
        reply = answer.check()
        now = asyncio.get_running_loop().time()
        self._due_at = now if reply.more else now + nodes.BEAT
        return reply.recorded

    async def _single_out(self, batch: list[_Event], refusal: Refusal) -> bool:
        """Narrow down the event that the site rejects; return whether it accepts any report."""
        try:
            # A site that rejects even this rejects everything: do not drop any event for that.
            await self._call([], quiet=False)
        except Refusal as error:
            logger.warning("The site does not accept events: %s", error)
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
        """Return an event without its payload, or None if it has none and must be dropped."""
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
        # Some events of the batch may have been dropped from a full queue in the meantime.
        while batch and self._queue and self._queue[0].number <= batch[-1].number:
            self._pop()

    def _pop(self) -> None:
        event = self._queue.popleft()
        self._size -= len(event.text)
        for trace in event.traces:
            self._traces[trace] -= 1
            if not self._traces[trace]:
                del self._traces[trace]
