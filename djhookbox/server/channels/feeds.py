"""Apply pulled publications to live channels: in order, each once, and not faster than readers.

Ten thousand publications of one transaction arrive at once. A channel gets a part of them in a turn
of the event loop, and the rest once its readers have received that; other channels do not wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from ...wire.streams import Entry, number_of
from ..connection import Connection
from ..core.model import Channel
from ..core.stream import StreamState
from ..refusals import Refusal
from ..runtime import Runtime

logger = logging.getLogger("djhookbox.server")

#: Characters of payload to apply to a channel before its readers must have drained.
TURN_SIZE = 262_144
#: Characters that may wait in all feeds before nothing more is pulled.
MOST_WAITING = 8_388_608
#: Seconds between looks at readers, and without progress until one is no longer waited for.
LOOK_SECONDS = 0.02
STUCK_SECONDS = 1.0


class Feed:
    """What waits to be applied to one live channel, and what was applied last."""

    __slots__ = ("as_of", "channel", "epoch", "feeds", "is_lost", "offset", "task", "waiting")

    def __init__(self, feeds: Feeds, channel: Channel, stream: StreamState) -> None:
        self.feeds = feeds
        self.channel = channel
        self.as_of = stream.as_of
        self.epoch = stream.epoch
        self.offset = stream.offset
        self.waiting: deque[Entry] = deque()
        self.task: asyncio.Task[None] | None = None
        self.is_lost = False

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add publications in the order of their numbers, and begin to apply them."""
        for entry in entries:
            if entry.number <= self.as_of:
                continue
            self.as_of = entry.number
            self.waiting.append(entry)
            self.feeds.waiting += len(entry.payload)
        if self.waiting and self.task is None:
            self.task = self.feeds.start_task(self)

    def follows(self, entry: Entry, incarnation: str) -> bool | None:
        """Return whether a publication is the next one; None if it was applied already."""
        if entry.epoch == self.epoch:
            if entry.offset <= self.offset:
                return None
            return entry.offset == self.offset + 1
        # The very first publication of a channel that had none so far.
        return (
            entry.offset == 1 and not self.offset and number_of(incarnation, self.epoch) is not None
        )


class Feeds:
    """The feeds of all live durable channels.

    Args:
        runtime: The shared parts of the server.
        publish: Applies a publication to a channel.
        lost: Called if a channel's next publication is missing.

    Attributes:
        waiting: The number of characters that wait in all feeds.

    """

    def __init__(
        self,
        runtime: Runtime,
        publish: Callable[[Channel, Entry], Awaitable[None]],
        lost: Callable[[Channel], None],
    ) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._tasks = runtime.tasks
        self._limit = runtime.config.max_unsent
        self._publish = publish
        self._lost = lost
        self._feeds: dict[str, Feed] = {}
        self.waiting = 0

    @property
    def channels(self) -> list[Channel]:
        """The live channels that have a feed."""
        return [feed.channel for feed in self._feeds.values() if self._is_live(feed)]

    def start(self, channel: Channel, stream: StreamState) -> Feed:
        """Begin, or begin again, to feed a channel whose stream was loaded."""
        self._drop(channel.name)
        feed = self._feeds[channel.name] = Feed(self, channel, stream)
        return feed

    def stop(self, channel: Channel) -> None:
        """Apply nothing more to a channel until it is started again."""
        feed = self._feeds.get(channel.name)
        if feed is not None and feed.channel is channel:
            self._clear(feed)

    def take(self, entries: Iterable[Entry]) -> None:
        """Distribute what was pulled; what concerns no live channel is skipped."""
        by_channel: dict[str, list[Entry]] = {}
        for entry in entries:
            by_channel.setdefault(entry.channel, []).append(entry)
        for name, own in by_channel.items():
            feed = self._feeds.get(name)
            if feed is None:
                continue
            if not self._is_live(feed) or not feed.channel.options.durable:
                self._drop(name)
            elif not feed.is_lost:
                feed.extend(own)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should be pulled."""
        return self.waiting > MOST_WAITING

    async def room(self) -> None:
        """Wait until there is room for more."""
        while self.is_full:  # noqa: ASYNC110 - rare, and nothing is urgent then
            await asyncio.sleep(LOOK_SECONDS)

    # ---- parts -----------------------------------------------------------

    def _is_live(self, feed: Feed) -> bool:
        return self._hub.channels.get(feed.channel.name) is feed.channel

    def _drop(self, name: str) -> None:
        feed = self._feeds.pop(name, None)
        if feed is not None:
            self._clear(feed)

    def _clear(self, feed: Feed) -> None:
        feed.is_lost = True
        self.waiting -= sum(len(entry.payload) for entry in feed.waiting)
        feed.waiting.clear()

    def start_task(self, feed: Feed) -> asyncio.Task[None]:
        """Apply what waits, in the background."""
        return self._tasks.start(self._apply(feed))

    async def _apply(self, feed: Feed) -> None:
        room = TURN_SIZE
        try:
            while feed.waiting:
                if room <= 0:
                    await self._drained(feed.channel)
                    room = TURN_SIZE
                    continue
                entry = feed.waiting.popleft()
                self.waiting -= len(entry.payload)
                room -= len(entry.payload)
                if not self._is_live(feed):
                    self._clear(feed)
                    return
                stream = feed.channel.stream
                next_one = feed.follows(entry, stream.incarnation if stream is not None else "")
                if next_one is None:
                    continue
                if next_one:
                    try:
                        await self._publish(feed.channel, entry)
                    except Refusal as refusal:
                        logger.warning("%r was not published: %s", feed.channel.name, refusal)
                        next_one = False
                    else:
                        feed.epoch, feed.offset = entry.epoch, entry.offset
                if not next_one and not feed.is_lost:
                    self._lost(feed.channel)
                    return
        finally:
            feed.task = None

    async def _drained(self, channel: Channel) -> None:
        """Wait until the readers of a channel have received most of what was sent to them."""
        self._delivery.flush()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        least: dict[Connection, int] = {}
        moved: dict[Connection, float] = {}
        while True:
            now = loop.time()
            busy = False
            for reader in channel.audience:
                if not isinstance(reader, Connection) or reader.closed:
                    continue
                unsent = reader.unsent
                if unsent <= self._limit // 4:
                    continue
                if unsent < least.get(reader, unsent + 1):
                    least[reader], moved[reader] = unsent, now
                busy = busy or now - moved[reader] < STUCK_SECONDS
            if not busy:
                return
            await asyncio.sleep(LOOK_SECONDS)
