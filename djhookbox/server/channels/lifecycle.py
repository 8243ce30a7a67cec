"""Creation and destruction of channels, one operation at a time for each name.

Creating and destroying hold the channel's lock during their webhooks, so that two first
subscribers create one channel and nobody subscribes to a channel about to be destroyed (D17).
A channel in use by an operation that waits for its webhook is pinned and is not destroyed. REST
calls take no lock and do not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)

from ...wire import capabilities, webhooks
from ...wire.events import Destroyed
from ..connection import Connection
from ..core.effects import Emptied
from ..core.model import Channel
from ..refusals import Refusal
from ..runtime import Runtime
from ..tasks import in_turns
from .locks import KeyedLocks
from .outcomes import EngineFailed
from .proposals import Proposals
from .publications import Publications

#: Seconds to keep a channel that never had subscribers, so that it neither lives forever (D23)
#: nor is created again for each publication.
IDLE_SECONDS = 60.0


class Lifecycle:
    """Create and destroy channels."""

    def __init__(self, runtime: Runtime, proposals: Proposals, publications: Publications) -> None:
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._proposals = proposals
        self._publications = publications
        self._locks = KeyedLocks()
        #: How many operations use each channel.
        self._pins: dict[str, int] = {}
        self._shared = runtime.shared
        #: Channels without connections here, and since when.
        self._unread: dict[str, float] = {}
        #: Set while the server stops: a webhook for each channel would flood the site.
        self.stopping = False
        #: Channels that became empty while pinned; releasing the last pin destroys them.
        self._due: set[str] = set()

    def using(
        self, name: str, connection: Connection | None = None
    ) -> AbstractAsyncContextManager[Channel]:
        """Provide a channel for an operation, creating it if it does not exist.

        Args:
            name: The channel's name.
            connection: The connection that wants it; the create_channel webhook has its cookies.

        Raises:
            Refusal: If the site does not allow the channel to be created.

        """
        return _Using(self, name, connection)

    def pinned(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Keep channels from being destroyed, both existing ones and ones created later."""
        return _Pinned(self, names)

    def unpin(self, name: str) -> asyncio.Task[None] | None:
        """Release a pin; the last release begins and returns the destruction of a due channel."""
        if self._unpinned(name):
            return self._tasks.start(self._destroy(self._hub.channels[name]))
        return None

    def exist(self, names: Iterable[str]) -> bool:
        """Return whether channels exist, and nobody is creating or destroying any of them."""
        return all(name in self._hub.channels and self._locks.is_free(name) for name in names)

    @asynccontextmanager
    async def missing(self, names: Iterable[str]) -> AsyncIterator[frozenset[str]]:
        """Yield the names of channels that do not exist; only the caller may create them."""
        names = tuple(names)
        if self.exist(names):
            yield frozenset()
            return
        if self._shared is not None:
            # Other nodes may have them.
            await asyncio.gather(*(self._proposals.attach(name) for name in names))
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

    def pin(self, name: str) -> None:
        """Keep a channel from being destroyed until `unpin` or `release`."""
        self._pins[name] = self._pins.get(name, 0) + 1

    async def release(self, channel: Channel) -> None:
        """Release a pin; the last release waits for the destruction of a channel that is due."""
        if self._unpinned(channel.name):
            await self._destroy(channel)

    async def found(self, name: str, connection: Connection | None) -> Channel:
        """Return a channel, which is created if it does not exist; see `using`."""
        if self.exist((name,)):
            return self._hub.channels[name]
        async with self._locks.hold(name):  # it may be being created or destroyed
            channel = self._hub.channels.get(name)
            if channel is None:
                channel = await self._proposals.attach(name)
            if channel is None:
                reply = await self._webhooks.send(webhooks.CreateChannel(name), connection)
                channel = await self.create(name, reply.check().options)
            return channel

    async def create(self, name: str, options: Mapping[str, object]) -> Channel:
        """Create a channel with decided options, or return the existing one.

        Raises:
            Refusal: If the options are invalid.

        """
        return await self._proposals.open(name, options)

    async def expire(self, now: float) -> None:
        """Destroy channels that have been unused for a while, and drop expired history."""
        # Without other nodes, channels with subscribers need nothing: there may be very many.
        every = self._hub.empty if self._shared is None else self._hub.channels.values()
        async for channels in in_turns(every):
            for channel in channels:
                self._look_at(channel, now)
        await self._publications.expire(now)

    def _look_at(self, channel: Channel, now: float) -> None:
        since = channel.empty_since
        if (
            since is not None
            and now - since >= IDLE_SECONDS
            and channel.options.polling.mode not in ("simple", "persistent")
        ):
            channel.keep(now)  # ask again only after the same time
            self._tasks.start(self._destroy(channel))
        elif self._shared is not None and self._hub.channels.get(channel.name) is channel:
            self._release_unread(channel, now)

    def _release_unread(self, channel: Channel, now: float) -> None:
        """Stop following a channel that only other nodes read."""
        name = channel.name
        used = channel.audience or channel.options.polling.mode or name in self._pins
        if used or channel.reserved or not channel.subscribers:
            self._unread.pop(name, None)
        elif now - self._unread.setdefault(name, now) >= IDLE_SECONDS:
            del self._unread[name]
            self._tasks.start(self._proposals.release(channel))

    # ---- parts -----------------------------------------------------------

    def _unpinned(self, name: str) -> bool:
        """Release a pin; return whether the channel must be destroyed now."""
        pins = self._pins[name] - 1
        if pins:
            self._pins[name] = pins
            return False
        del self._pins[name]
        due = name in self._due
        self._due.discard(name)
        channel = self._hub.channels.get(name)
        return due and channel is not None and not channel.subscribers and not self.stopping

    def emptied(self, effect: Emptied) -> None:
        """Destroy a channel whose last subscriber has left, once nobody is using it."""
        channel = effect.channel
        if channel.name in self._pins:
            self._due.add(channel.name)
        elif not self.stopping:
            self._tasks.start(self._destroy(channel))

    async def _destroy(self, channel: Channel) -> None:
        name = channel.name
        async with self._locks.hold(name):
            if self._hub.channels.get(name) is not channel or channel.subscribers:
                return
            if name in self._pins:
                self._due.add(name)
                return
            reports = capabilities.LEAVING in self._webhooks.accepted
            # Code may have subscribed a user in the meantime. A caller that waits for the lock
            # has pinned the name and gets a new channel.
            if reports or await self._may_go(name):
                with suppress(EngineFailed):  # logged; retried later
                    await self._proposals.destroy(channel, only_empty=True)
                    if reports and self._hub.channels.get(name) is not channel:
                        self._events.add(Destroyed(name))
            if not channel.subscribers:
                channel.keep(self._clock())

    async def _may_go(self, name: str) -> bool:
        try:
            return (await self._webhooks.send(webhooks.DestroyChannel(name))).allowed
        except Refusal:
            return False


# Classes, as every command needs one, and generators cost twice as much.


class _Using(AbstractAsyncContextManager[Channel]):
    """Pins a channel and provides it."""

    __slots__ = ("_connection", "_lifecycle", "_name")

    def __init__(self, lifecycle: Lifecycle, name: str, connection: Connection | None) -> None:
        self._lifecycle = lifecycle
        self._name = name
        self._connection = connection

    async def __aenter__(self) -> Channel:
        self._lifecycle.pin(self._name)
        try:
            return await self._lifecycle.found(self._name, self._connection)
        except BaseException:
            self._lifecycle.unpin(self._name)
            raise

    async def __aexit__(self, *_: object) -> None:
        destruction = self._lifecycle.unpin(self._name)
        if destruction is not None:
            # As in 0.3.3, the next frame of the connection waits: a SUBSCRIBE after an
            # UNSUBSCRIBE creates the channel again instead of keeping it.
            await asyncio.wait({destruction})


class _Pinned(AbstractContextManager[None]):
    """Pins channels."""

    __slots__ = ("_lifecycle", "_names")

    def __init__(self, lifecycle: Lifecycle, names: Iterable[str]) -> None:
        self._lifecycle = lifecycle
        self._names = tuple(names)

    def __enter__(self) -> None:
        for name in self._names:
            self._lifecycle.pin(name)

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            self._lifecycle.unpin(name)
