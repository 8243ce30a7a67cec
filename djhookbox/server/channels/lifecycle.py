"""How channels come into being and go: one at a time for each name, whoever asks.

Creating and destroying hold the channel's lock across their webhooks, so that two first
subscribers make one channel and nobody subscribes to a channel that is about to go (D17).
A channel in use by an operation that waits for its webhook is pinned and stays. REST calls
take no lock and wait for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from ...wire import webhooks
from ..clients.connection import Connection
from ..core.effects import Emptied
from ..core.model import Channel
from ..runtime import Runtime
from ..site.webhooks import Refusal
from .locks import KeyedLocks
from .publications import Publications
from .streams import EngineFailed, Streams

#: Seconds that a channel without subscribers is kept if it never had any, so that it neither
#: lives for ever (D23) nor is created anew for each publication.
IDLE_SECONDS = 60.0


class Lifecycle:
    """Creates and destroys channels."""

    def __init__(self, runtime: Runtime, streams: Streams, publications: Publications) -> None:
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._streams = streams
        self._publications = publications
        self._locks = KeyedLocks()
        self._pins: Counter[str] = Counter()
        #: Set while the server stops: a webhook for each channel would only storm the site.
        self.stopping = False
        #: Channels that became empty while pinned; whoever lets go of them last destroys them.
        self._due: set[str] = set()

    @asynccontextmanager
    async def using(
        self, name: str, connection: Connection | None = None
    ) -> AsyncIterator[Channel]:
        """Give a channel for an operation; create it if it does not exist.

        Args:
            name: The channel's name.
            connection: Who wants it; the create_channel webhook carries its cookies.

        Raises:
            Refusal: If the site does not let it come into being.

        """
        with self.pinned((name,)):
            # The lock is free unless the channel is being created or destroyed just now.
            async with self._locks.hold(name):
                channel = self._hub.channels.get(name)
                if channel is None:
                    reply = await self._webhooks.call(webhooks.CreateChannel(name), connection)
                    channel = await self.create(name, reply.check())
            yield channel

    @contextmanager
    def pinned(self, names: Iterable[str]) -> Iterator[None]:
        """Keep channels from being destroyed, as far as they exist or come into being."""
        names = tuple(names)
        self._pins.update(names)
        try:
            yield
        finally:
            for name in names:
                if self._unpinned(name):
                    self._tasks.start(self._destroy(self._hub.channels[name]))

    @asynccontextmanager
    async def missing(self, names: Iterable[str]) -> AsyncIterator[frozenset[str]]:
        """Give those channels that do not exist; only whoever holds them may create them."""
        async with AsyncExitStack() as held:
            found = []
            # In the same order for everybody, so that two who want the same channels wait for
            # one another, but never in a circle.
            for name in sorted(names):
                async with AsyncExitStack() as turn:
                    await turn.enter_async_context(self._locks.hold(name))
                    if name not in self._hub.channels:
                        held.push_async_exit(turn.pop_all())
                        found.append(name)
            yield frozenset(found)

    def pin(self, channel: Channel) -> None:
        """Keep a channel from being destroyed until `release`."""
        self._pins[channel.name] += 1

    async def release(self, channel: Channel) -> None:
        """Let go of a channel; whoever does it last waits until it is destroyed, if it is due."""
        if self._unpinned(channel.name):
            await self._destroy(channel)

    async def create(self, name: str, options: Mapping[str, Any]) -> Channel:
        """Create a channel with decided options, or return the one that exists.

        Raises:
            Refusal: If the options are wrong.

        """
        return await self._streams.open(name, options)

    async def expire(self, now: float) -> None:
        """Drop channels that nobody has used for a while, and expired history."""
        for channel in list(self._hub.channels.values()):
            since = channel.empty_since
            if (
                since is not None
                and now - since >= IDLE_SECONDS
                and channel.options.polling.mode not in ("simple", "persistent")
            ):
                self._hub.keep(channel, now)  # asked for again only after as long
                self._tasks.start(self._destroy(channel))
        await self._publications.expire(now)

    # ---- parts -----------------------------------------------------------

    def _unpinned(self, name: str) -> bool:
        """Let go of a channel; tell whether it is to be destroyed now."""
        self._pins[name] -= 1
        if self._pins[name]:
            return False
        del self._pins[name]
        due = name in self._due
        self._due.discard(name)
        channel = self._hub.channels.get(name)
        return due and channel is not None and not channel.subscribers and not self.stopping

    def emptied(self, effect: Emptied) -> None:
        """Destroy a channel whose last subscriber has left, as soon as nobody is using it."""
        channel = effect.channel
        if self._pins[channel.name]:
            self._due.add(channel.name)
        elif not self.stopping:
            self._tasks.start(self._destroy(channel))

    async def _destroy(self, channel: Channel) -> None:
        name = channel.name
        async with self._locks.hold(name):
            if self._hub.channels.get(name) is not channel or channel.subscribers:
                return
            if self._pins[name]:
                self._due.add(name)
                return
            try:
                reply = await self._webhooks.call(webhooks.DestroyChannel(name))
                allowed = reply.allowed
            except Refusal:
                allowed = False
            # Code may have subscribed somebody meanwhile; whoever waits for the lock has it
            # pinned, and gets a new channel.
            if allowed:
                with suppress(EngineFailed):  # logged; tried again after a while
                    await self._streams.destroy(channel, only_empty=True)
            if not channel.subscribers:
                self._hub.keep(channel, self._clock())
