"""Creation and destruction of channels, one operation at a time for each name.

Creating and destroying hold the channel's lock during their webhooks, so that two first
subscribers create one channel and nobody subscribes to a channel about to be destroyed (D17).
A channel in use by an operation that waits for its webhook is pinned and is not destroyed. REST
calls take no lock and do not wait.
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
from .proposals import EngineFailed, Proposals
from .publications import Publications

#: Seconds to keep a channel that never had subscribers, so that it neither lives forever (D23)
#: nor is created again for each publication.
IDLE_SECONDS = 60.0


class Lifecycle:
    """Create and destroy channels."""

    def __init__(self, runtime: Runtime, proposals: Proposals, publications: Publications) -> None:
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._proposals = proposals
        self._publications = publications
        self._locks = KeyedLocks()
        self._pins: Counter[str] = Counter()
        #: Set while the server stops: a webhook for each channel would flood the site.
        self.stopping = False
        #: Channels that became empty while pinned; releasing the last pin destroys them.
        self._due: set[str] = set()

    @asynccontextmanager
    async def using(
        self, name: str, connection: Connection | None = None
    ) -> AsyncIterator[Channel]:
        """Provide a channel for an operation, creating it if it does not exist.

        Args:
            name: The channel's name.
            connection: The connection that wants it; the create_channel webhook has its cookies.

        Raises:
            Refusal: If the site does not allow the channel to be created.

        """
        with self.pinned((name,)):
            # The lock is free unless the channel is currently being created or destroyed.
            async with self._locks.hold(name):
                channel = self._hub.channels.get(name)
                if channel is None:
                    reply = await self._webhooks.send(webhooks.CreateChannel(name), connection)
                    channel = await self.create(name, reply.check().options)
            yield channel

    @contextmanager
    def pinned(self, names: Iterable[str]) -> Iterator[None]:
        """Keep channels from being destroyed, both existing ones and ones created later."""
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
        """Yield the names of channels that do not exist; only the caller may create them."""
        names = tuple(names)
        if all(name in self._hub.channels and self._locks.is_free(name) for name in names):
            yield frozenset()
            return
        async with AsyncExitStack() as held:
            found = []
            # Everyone takes locks in the same order, so that two callers that want the same
            # channels wait for each other without deadlock.
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
        """Release a pin; the last release waits for the destruction of a channel that is due."""
        if self._unpinned(channel.name):
            await self._destroy(channel)

    async def create(self, name: str, options: Mapping[str, Any]) -> Channel:
        """Create a channel with decided options, or return the existing one.

        Raises:
            Refusal: If the options are invalid.

        """
        return await self._proposals.open(name, options)

    async def expire(self, now: float) -> None:
        """Destroy channels that have been unused for a while, and drop expired history."""
        for channel in list(self._hub.channels.values()):
            since = channel.empty_since
            if (
                since is not None
                and now - since >= IDLE_SECONDS
                and channel.options.polling.mode not in ("simple", "persistent")
            ):
                self._hub.keep(channel, now)  # ask again only after the same time
                self._tasks.start(self._destroy(channel))
        await self._publications.expire(now)

    # ---- parts -----------------------------------------------------------

    def _unpinned(self, name: str) -> bool:
        """Release a pin; return whether the channel must be destroyed now."""
        self._pins[name] -= 1
        if self._pins[name]:
            return False
        del self._pins[name]
        due = name in self._due
        self._due.discard(name)
        channel = self._hub.channels.get(name)
        return due and channel is not None and not channel.subscribers and not self.stopping

    def emptied(self, effect: Emptied) -> None:
        """Destroy a channel whose last subscriber has left, once nobody is using it."""
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
                reply = await self._webhooks.send(webhooks.DestroyChannel(name))
                allowed = reply.allowed
            except Refusal:
                allowed = False
            # Code may have subscribed a user in the meantime. A caller that waits for the lock
            # has pinned the name and gets a new channel.
            if allowed:
                with suppress(EngineFailed):  # logged; retried later
                    await self._proposals.destroy(channel, only_empty=True)
            if not channel.subscribers:
                self._hub.keep(channel, self._clock())
