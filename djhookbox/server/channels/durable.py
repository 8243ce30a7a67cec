"""Durable channels: pull what the site has numbered, and apply it to live channels.

The site keeps their streams. This process asks for what is new with the webhook `outbox`, one call
at a time, after a poke and every few seconds. A channel is opened with a stream as of a number;
what was pulled above that number is then applied to it, so that nothing falls in between.

Revocations come in the same replies; `site.revoking` carries them out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import Protocol

from ...wire import capabilities, revocations, webhooks
from ...wire.events import Delivered
from ...wire.streams import MOST_STREAMS, Entry, Pulled, Pushed, StreamPart, Wanted
from ...wire.values import loads
from ..core.announcing import stored
from ..core.changes import Reload
from ..core.effects import Made
from ..core.keeping import OVERHEAD, weigh
from ..core.model import Channel
from ..core.stream import Position, Publication, StreamState
from ..core.values import timestamp
from ..refusals import Refusal, WebhookFailed
from ..runtime import Runtime
from ..tasks import within
from .expected import Results
from .feeds import Feeds
from .progress import Progress, State
from .proposals import Proposals
from .recent import Recent

logger = logging.getLogger("djhookbox.server")

#: Seconds between looks at the outbox while nothing is known to be there.
IDLE_SECONDS = 3.0
#: Seconds until the next attempt after a failed one.
RETRY_SECONDS = 0.7
#: Seconds to wait for a stream before asking the subscriber to try again.
OPEN_SECONDS = 15.0
#: Seconds to wait until a publication of a browser is numbered and delivered.
ACK_SECONDS = 10.0
#: Maximum number of keys to ask for in one call.
MOST_KEYS = 100
#: Seconds from the beginning of a pull to that of the next one: for each publication that it has
#: returned, and at most. Pulls that find much make each process that commits poke less often.
PAUSE_EACH = 0.002
MOST_PAUSE = 0.05
#: The pause from which on nothing more is pushed: it is faster to pull what is committed in it.
BUSY_PAUSE = 0.006


class TakesRevocations(Protocol):
    """What carries out the revocations that are pulled, and knows how far they were pulled."""

    @property
    def position(self) -> revocations.Position:
        """How far this process has pulled."""

    def take(self, pulled: revocations.Revocations | None, began: float) -> bool:
        """Carry out what was pulled; return whether there is more to pull at once."""


class Durable:
    """Pull from the site, and keep the live durable channels up to date."""

    def __init__(self, runtime: Runtime, proposals: Proposals, revoking: TakesRevocations) -> None:
        self._hub = runtime.hub
        self._revoking = revoking
        self._webhooks = runtime.webhooks
        self._connections = runtime.connections
        self._events = runtime.events
        self._clock = runtime.clock
        self._tasks = runtime.tasks
        self._proposals = proposals
        self._feeds = Feeds(runtime, self._publish, self._lost)
        self._recent = Recent()
        self._progress = Progress(runtime.config.run_dir, runtime.tasks)
        self._woken = asyncio.Event()
        #: When the last pull began, when the next one may, and when one was promised to begin.
        self._began = self._not_before = self._promised = float("-inf")
        self._pause = 0.0
        #: Seconds between looks while nothing is known to be there.
        self._idle = IDLE_SECONDS
        #: Whether no pull is under way, so that what is pushed can be used.
        self._is_waiting = False
        #: Other nodes, which pull for themselves, if there are any.
        self._cluster = runtime.cluster
        #: When the outbox was last found to be empty, in the loop's time.
        self._emptied: float | None = None
        #: Channels whose streams are needed, and those who wait for them.
        self._wanted: Results[Wanted, StreamState] = Results()
        #: Bytes of a stream beyond which no older publications are loaded.
        self._most_back = runtime.config.max_channel_history
        self._reloading: set[str] = set()
        #: Those who wait for publications that the site has stored, by channel and key.
        self._keys: Results[tuple[str, str], Position] = Results()

    # ---- what others use -------------------------------------------------

    @property
    def lag(self) -> float | None:
        """Seconds since the outbox was last found to be empty; None if the site has none."""
        if capabilities.OUTBOX not in self._webhooks.accepted or self._emptied is None:
            return None
        return asyncio.get_running_loop().time() - self._emptied

    @property
    def is_woken(self) -> bool:
        """Whether a pull was asked for that has not begun."""
        return self._woken.is_set()

    def poke(self, pushed: Pushed | None = None) -> float:
        """Pull soon, on all nodes: the site has committed something.

        Args:
            pushed: What it has committed, if it has numbered it; this node then need not pull.

        Returns:
            Seconds until a pull will begin; 0 if that may be now. What is committed before needs
            no other poke.

        """
        if self._cluster is not None:
            self._cluster.wake_others()
        now = asyncio.get_running_loop().time()
        if pushed is not None and self._continues(pushed):
            earlier = self._pause if now < self._not_before else 0.0
            self._take(pushed.pulled, now, earlier)
            if not earlier or self._pause < BUSY_PAUSE:
                return 0.0
        self._woken.set()
        left = self._not_before - now
        if left <= 0:
            return 0.0
        self._promised = self._not_before
        return left

    def _continues(self, pushed: Pushed) -> bool:
        """Return whether what is pushed is what a pull would return now."""
        state = State(pushed.pulled.incarnation, pushed.number, pushed.token)
        return (
            self._is_waiting
            and state == self._progress.state
            and pushed.revoked == self._revoking.position
        )

    async def wake(self, _call: object = None) -> None:
        """Pull soon: another node was poked."""
        self._woken.set()

    async def load(self, name: str, epoch: str = "", before: int = 0) -> StreamState:
        """Return the stream of a channel as the site has it, with the latest publications.

        Args:
            name: The channel.
            epoch: With `before`, return those before this offset of the epoch instead.
            before: The offset.

        Raises:
            WebhookFailed: If the site does not answer in time.

        """
        self._woken.set()
        try:
            return await self._wanted.wait(Wanted(name, epoch, before), OPEN_SECONDS)
        except asyncio.TimeoutError:
            raise WebhookFailed from None

    async def load_back(self, channel: Channel, since: Position | None) -> None:
        """Load older publications of a durable channel, for a client that was away for long.

        Raises:
            WebhookFailed: If the site does not answer in time.

        """
        if since is None or not channel.options.durable:
            return
        while (stream := channel.stream) is not None and not stream.is_complete_after(since):
            if stream.weight >= self._most_back:
                return  # the client learns what is missing
            oldest = stream.oldest
            older = await self.load(channel.name, stream.epoch, oldest)
            if channel.stream is not stream or stream.oldest < oldest:
                continue  # it is another stream now, or they were added for another client
            if older.epoch != stream.epoch or not stream.extend_back(older.publications):
                return

    def adopt(self, channel: Channel) -> None:
        """Load the stream of a live channel that has become durable."""
        self._lost(channel)

    async def stored(self, name: str, key: str) -> Position:
        """Return the position of a publication that the site has stored, once it is delivered.

        Raises:
            WebhookFailed: If it is not numbered in time; it is kept, and will be published.

        """
        self.poke()
        try:
            return await self._keys.wait((name, key), ACK_SECONDS)
        except asyncio.TimeoutError:
            raise WebhookFailed from None

    def covers(self, stream: StreamState) -> bool:
        """Return whether everything after a stream's number is still available to be applied."""
        return stream.as_of >= self._recent.floor

    def opened(self, channel: Channel, stream: StreamState) -> None:
        """Apply to a new or reloaded channel what was pulled since its stream was read."""
        feed = self._feeds.start(channel, stream)
        feed.extend(self._recent.of(channel.name, stream.as_of))

    # ---- pulling ---------------------------------------------------------

    async def run(self, idle: float = IDLE_SECONDS) -> None:
        """Pull until cancelled.

        Args:
            idle: Seconds between looks while nothing is known to be there.

        """
        self._idle = idle
        self._recent.clear((await self._progress.read()).number)
        try:
            while True:
                await self._pull_when_needed()
        finally:
            self._progress.write_now()

    async def _pull_when_needed(self) -> None:
        """Pull, and wait until there may be more."""
        self._woken.clear()
        if capabilities.OUTBOX in self._webhooks.accepted:
            try:
                more = await self._pull()
            except Exception as error:
                # Whatever the site sends, continue.
                if not isinstance(error, Refusal):
                    logger.exception("Unexpected error: the outbox could not be pulled")
                # Even if clients wait: a site that is down is not called more often.
                await asyncio.sleep(RETRY_SECONDS * (0.7 + 0.6 * random.random()))  # noqa: S311 - jitter
                return
            if more or len(self._wanted):
                while self._feeds.is_full:
                    await self._pull_revocations()
                return
        self._is_waiting = True
        try:
            await self._until_needed()
        finally:
            self._is_waiting = False

    async def _until_needed(self) -> None:
        """Wait until the outbox may have something."""
        loop = asyncio.get_running_loop()
        seconds = self._idle
        if self._promised > self._began:
            seconds = min(seconds, self._promised - loop.time())
        timer = loop.call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
        if (pause := self._not_before - loop.time()) > 0:
            await asyncio.sleep(pause)

    async def _pull(self) -> bool:
        """Pull once; return whether there is more."""
        if self._promised > self._began and self._cluster is not None:
            self._cluster.wake_others()  # nobody has poked them since
        wanted = self._wanted.keys(MOST_STREAMS)
        webhook = webhooks.Outbox(
            *self._progress.state, tuple(wanted), self._unsettled(), self._revoking.position
        )
        began = self._began = asyncio.get_running_loop().time()
        self._not_before = began + self._pause
        pulled = (await self._webhooks.send(webhook, urgent=True)).check()
        more = self._revoking.take(pulled.revocations, began)
        if pulled.unavailable:
            raise WebhookFailed
        if pulled.over:
            self._start_over(pulled)
        self._take(pulled, began)
        # In the order in which they were asked for; the rest is asked for again.
        for asked, stream in zip(wanted, pulled.streams, strict=False):
            self._wanted.settle(asked, self._state_of(stream, pulled))
        for each in pulled.keys:
            refusal = Refusal(each.error, "unavailable") if each.error else None
            position = Position(each.epoch, each.offset)
            self._keys.settle((each.channel, each.key), refusal or position)
        return more or pulled.more

    def _take(self, pulled: Pulled, began: float, earlier: float = 0.0) -> None:
        """Apply publications to live channels, and remember how far this node has come.

        Args:
            pulled: What was pulled or pushed.
            began: When that began, in the loop's time.
            earlier: What to add to the pause that follows.

        """
        now = asyncio.get_running_loop().time()
        if self._emptied is None or not pulled.more:
            self._emptied = now
        self._pause = min(MOST_PAUSE, earlier + PAUSE_EACH * len(pulled.entries))
        self._not_before = max(began + self._pause, self._promised)
        self._recent.add(pulled.entries, now)
        self._feeds.take(pulled.entries)
        self._progress.save(State(pulled.incarnation, pulled.number, pulled.token))

    async def _pull_revocations(self) -> None:
        """Pull revocations while publications wait for slow readers; then wait for a moment."""
        webhook = webhooks.Outbox(revoked=self._revoking.position, only_revocations=True)
        began = asyncio.get_running_loop().time()
        try:
            pulled = (await self._webhooks.send(webhook, urgent=True)).check()
        except Refusal:
            pass  # logged; the next one follows
        else:
            if self._revoking.take(pulled.revocations, began):
                return
        with suppress(asyncio.TimeoutError):
            await within(RETRY_SECONDS, self._feeds.room())

    def _unsettled(self) -> dict[str, tuple[str, ...]]:
        """Return the keys that are waited for: the site may have stored them before."""
        keys: dict[str, tuple[str, ...]] = {}
        for name, key in self._keys.keys(MOST_KEYS):
            keys[name] = (*keys.get(name, ()), key)
        return keys

    def _start_over(self, pulled: Pulled) -> None:
        """Forget what does not continue, and reload all live durable channels."""
        before = self._progress.state.incarnation
        if before and before != pulled.incarnation:
            logger.warning(
                "The site's outbox was restored from a backup or reset: all positions in "
                "durable channels are invalid, and clients receive a gap"
            )
        self._recent.clear(pulled.number)
        for channel in list(self._feeds.channels):
            self._lost(channel)

    def _state_of(self, part: StreamPart, pulled: Pulled) -> StreamState:
        now = self._clock()
        publications = []
        for entry in part.entries:
            payload = loads(entry.payload)
            data = {"payload": payload, "datetime": timestamp(entry.at), "user": entry.user}
            weight = OVERHEAD + weigh(payload)
            publications.append(
                Publication(
                    entry.offset, now - entry.age, data, weight, entry.number, entry.conn_id or ""
                )
            )
        return StreamState(
            part.epoch,
            part.offset,
            tuple(publications),
            pulled.incarnation,
            part.began,
            part.renewed,
            pulled.as_of,
        )

    # ---- live channels ---------------------------------------------------

    async def _publish(self, channel: Channel, entry: Entry) -> None:
        """Publish what the site has stored to a live channel."""
        publication = Publication(
            entry.offset,
            self._clock() - entry.age,
            {},
            number=entry.number,
            origin=entry.conn_id or "",
        )
        origin = self._connections.get(entry.conn_id) if entry.conn_id else None
        change = stored(
            channel, loads(entry.payload), publication, entry.epoch, entry.at, origin, entry.user
        )
        trace = entry.trace or ""
        change = change._replace(made=Made(entry.at, trace, time.time_ns() if trace else 0))
        applied = await self._proposals.propose(channel, change)
        if entry.key:
            self._keys.settle((channel.name, entry.key), Position(entry.epoch, entry.offset))
        if applied.delivered:
            self._events.add(Delivered(delivered=applied.delivered, number=entry.number))

    def _lost(self, channel: Channel) -> None:
        """Reload the stream of a live channel, because it does not continue."""
        self._feeds.stop(channel)
        if channel.name not in self._reloading:
            self._reloading.add(channel.name)
            self._tasks.start(self._reload(channel))

    async def _reload(self, channel: Channel) -> None:
        try:
            while self._hub.channels.get(channel.name) is channel:
                try:
                    stream = await self.load(channel.name)
                    if not self.covers(stream):
                        continue
                    await self._proposals.propose(channel, Reload(stream, self._clock()))
                except Refusal as refusal:
                    logger.warning(
                        "The channel %r could not be reloaded: %s", channel.name, refusal
                    )
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self.opened(channel, stream)
                    return
        finally:
            self._reloading.discard(channel.name)
