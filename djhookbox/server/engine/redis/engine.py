"""Put the changes of channels into one order through Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from ....wire.engines import Address
from ....wire.names import RESERVED_PREFIX
from ....wire.options import CHANNEL_DEFAULTS
from ....wire.values import dumps
from ...core.changes import (
    Accepted,
    Change,
    Create,
    Destroy,
    Publish,
    Reload,
    SetOptions,
    SetState,
    Subscribe,
    Unsubscribe,
)
from ...core.keeping import OVERHEAD, weigh
from ...core.stream import Position, Publication, StreamState, new_epoch
from ..base import EngineError, NotOpen, Turn
from ..memory import MemoryEngine
from . import codec
from .changing import Proposal, Sink, Stale, Submitted
from .codec import raw
from .connecting import Reply
from .figures import new_figures
from .inbox import Inbox
from .link import Link, Operation
from .nodes import Nodes
from .openings import Openings
from .packing import Argument, pack, pack_text
from .parking import Parking
from .peers import Peers
from .replicas import Mirror, Replica
from .users import Users

logger = logging.getLogger("djhookbox.server")

#: Seconds until the keys of channels expire, unless a node renews them.
KEEP_SECONDS = 600.0
#: Milliseconds for which the position of a channel with a history is kept.
POSITION_MS = 3_600_000
#: Seconds covered by one bucket of operation keys.
BUCKET_SECONDS = 10
#: Attempts to change options that another node is changing.
OPTION_ATTEMPTS = 20
#: Seconds to wait at the start for the connections.
START_SECONDS = 10.0


class RedisEngine:
    """Share channels and users with other nodes through Redis.

    Args:
        address: Where Redis is.
        mirror: Applies to the core what other nodes do.
        lease: Seconds without a heartbeat after which a node counts as dead.
        max_stream_bytes: Maximum bytes of the publications of one channel.
        recovery: Seconds for which publications are kept whether or not there is a history.

    """

    name = "redis"

    def __init__(
        self,
        address: Address,
        mirror: Mirror | None = None,
        *,
        lease: float = 10.0,
        max_stream_bytes: int = 8_388_608,
        recovery: float = 0.0,
    ) -> None:
        self.address = address
        #: The id of this start of this node.
        self.node = secrets.token_hex(8)
        self.mirror: Mirror = mirror or Mirror()
        self.lease = lease
        self.keep_ms = int(KEEP_SECONDS * 1000)
        self.figures = new_figures()
        self.replicas: dict[str, Replica] = {}
        self.most = max_stream_bytes
        self.recovery = recovery
        self._reserved = MemoryEngine(recovery=recovery)
        self._numbers = count(1)
        self.link = Link(address, self._connected)
        self.parking = Parking(self.link)
        self.openings = Openings(self)
        self.nodes = Nodes(self)
        self.users = Users(self)
        self.peers = Peers(self)
        self.inbox = Inbox(self)
        self._tasks: list[asyncio.Task[None]] = []

    # ---- start and stop --------------------------------------------------

    async def start(self) -> None:
        """Connect.

        Raises:
            Unusable: If Redis cannot be used.

        """
        await self.link.try_once(self.nodes.trial())
        loop = asyncio.get_running_loop()
        for work in (self.link.serve(), self.inbox.serve(), self.nodes.beat()):
            self._tasks.append(loop.create_task(work))
        deadline = loop.time() + START_SECONDS
        while not (self.link.is_up and self.inbox.is_up) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Remove this node from Redis, and disconnect."""
        if self.link.is_up:
            with suppress(EngineError, asyncio.TimeoutError):
                await asyncio.wait_for(self.nodes.leave(), 2.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.openings.stop()

    async def _connected(self, run_id: str, renewed: bool) -> None:
        lost = await self.nodes.register_at_once() or renewed
        if lost:
            self.link.abandon()
        self.parking.resend()
        if self.link.reconnects:
            self.figures["reconnects"] += 1
            self.openings.resync(restore=lost)

    # ---- the interface of engines ----------------------------------------

    def propose(self, channel: str, change: Change) -> Accepted | asyncio.Future[Accepted]:
        """Accept a change."""
        if not channel.startswith(RESERVED_PREFIX):
            if isinstance(change, Create):
                return asyncio.ensure_future(self._create(channel, change))
            if isinstance(change, SetOptions):
                return asyncio.ensure_future(self._set_options(self._replica(channel), change))
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        accepted = self.propose_to(channel, change, future)
        return future if accepted is None else accepted

    def propose_to(self, channel: str, change: Change, sink: Sink) -> Accepted | None:
        """Accept a change of a live channel, other than of its options, for a sink.

        Returns:
            The answer if it is known, or None if the sink gets it.

        Raises:
            NotOpen: If the channel is not open.
            EngineError: If nothing was done.

        """
        if channel.startswith(RESERVED_PREFIX):
            return self._reserved.propose(channel, change)
        replica = self._replica(channel)
        stored = change.stored if isinstance(change, Publish) else None
        if stored is not None or isinstance(change, Reload):  # each node has it from the site
            return Accepted(replica.version, stored)
        if isinstance(change, Subscribe):
            return self._join(replica, change, sink)
        if isinstance(change, Unsubscribe):
            return self._leave(replica, change, sink)
        if isinstance(change, Publish):
            self._publish(replica, change, sink)
        elif isinstance(change, SetState):
            self._set_state(replica, change, sink)
        elif isinstance(change, Destroy):
            self._destroy(replica, change, sink)
        else:
            raise TypeError(f"{change!r} is not a change for a sink")
        return None

    def _replica(self, channel: str) -> Replica:
        replica = self.replicas.get(channel)
        if replica is None:
            raise NotOpen(channel)
        return replica

    def applied(self, channel: str, version: int) -> None:
        """Record that a change with that version has been applied to the core."""
        replica = self.replicas.get(channel)
        if replica is None:
            return
        replica.applied(version)
        if replica.ended and replica.version >= replica.ended:
            self.openings.drop(replica)

    async def position(self, channel: str, now: float, history: bool = True) -> Position | None:
        """Return the position of a channel's stream, which is created if necessary."""
        if channel.startswith(RESERVED_PREFIX):
            return await self._reserved.position(channel, now, history)
        arguments = self.arguments(
            channel, "", now, new_epoch(), self.recovery, "1" if history else "0", POSITION_MS
        )
        reply = await self.ask("position", arguments)
        epoch = reply[1].decode()
        return Position(epoch, int(reply[2])) if epoch else None

    async def poller(self, channel: str, seconds: float, done: bool = False) -> Turn:
        """Hold the right to poll a channel for some seconds, or record that it has been polled.

        Raises:
            EngineError: If that was not done.

        """
        replica = self.replicas.get(channel)
        if replica is None:
            return Turn.OTHER
        more = (int(seconds * 1000), "1" if done else "0")
        reply = await self.ask("poller", self.arguments(channel, replica.id, 0.0, *more))
        return Turn(reply[1]) if reply[0] == b"OK" else Turn.OTHER

    async def forget(self, channel: str, now: float) -> bool:
        """Drop the stream of a closed channel, unless clients may return; return whether."""
        if channel.startswith(RESERVED_PREFIX):
            return await self._reserved.forget(channel, now)
        reply = await self.ask("forget", self.arguments(channel, "", now))
        return bool(reply[1] == b"1")

    async def expire(self, now: float) -> None:
        """Redis does this itself."""

    def number(self) -> str:
        """Return the key of a new operation."""
        return str(next(self._numbers))

    # ---- asking Redis ----------------------------------------------------

    def arguments(
        self, channel: str, opening: str, at: float, *more: Argument, op: str = ""
    ) -> list[Argument]:
        """Return the arguments of a script that concerns a channel."""
        bucket = str(int(time.monotonic()) // BUCKET_SECONDS) if op else ""
        prefix = self.address.prefix
        return [
            2, prefix, raw(prefix + channel), self.node, self.link.run_id, opening, bucket,
            raw(op), self.keep_ms, repr(at), *more,
        ]  # fmt: skip

    async def ask(self, script: str, arguments: Sequence[Argument]) -> Reply:
        """Run a script that may be repeated; without a lease, register and repeat it.

        Raises:
            EngineError: If it was not done.

        """
        while True:
            reply = await self.link.run(script, arguments)
            if reply[0] != b"LEASE":
                return reply
            await self.nodes.register()

    def submit(
        self, script: str, arguments: Sequence[Argument], done: Callable[[Reply | Exception], None]
    ) -> None:
        """Run a script that has an operation key, in the order of the calls.

        Raises:
            EngineError: If there is no connection.

        """
        self.parking.put(Submitted(self, self.link.packed(script, arguments), done))

    def park(self, operation: Operation) -> None:
        """Repeat an operation that was refused for want of a lease, once there is one."""
        self.parking.park(operation)
        self.nodes.lost()

    def _change(
        self,
        replica: Replica,
        change: Change,
        sink: Sink,
        script: str,
        at: float,
        *more: Argument,
        accept: Callable[[Any, Sequence[str], bool], Accepted] | None = None,
        key: str = "",
    ) -> None:
        """Run a script that changes a channel; the result waits for everything before it."""
        number, keep = self.number(), str(self.keep_ms)
        texts: tuple[str, ...] = ()
        if isinstance(change, Publish):
            texts = (number, dumps(change.data), "1" if change.polled else "0")
        if key:
            op = raw(f"{len(raw(replica.name))}:{replica.name}{key}")
            then = pack(("", op, keep, repr(at), *texts))
        else:
            bucket = str(int(time.monotonic()) // BUCKET_SECONDS)
            then = pack_text((bucket, number, keep, repr(at), *texts))
        proposal = Proposal(
            self, replica, change, number, script, (then, *more), sink, accept, bool(key)
        )
        if replica.is_loading:
            replica.held.append(proposal)
            return
        proposal.address()
        try:
            self.parking.put(proposal)
        except EngineError:
            proposal.forget()
            raise

    # ---- changes ---------------------------------------------------------

    async def _create(self, name: str, change: Create) -> Accepted:
        options = CHANNEL_DEFAULTS.merged(change.given)
        snapshot = await self.openings.open(name, change.at, options, change.given)
        stream = change.stream or snapshot.stream
        if snapshot.created:
            return Accepted(snapshot.version, None, stream)
        return Accepted(snapshot.version, None, stream, snapshot)

    def _publish(self, replica: Replica, change: Publish, sink: Sink) -> None:
        def accept(change: Publish, parts: Sequence[str], others: bool) -> Accepted:
            version, offset, elsewhere, _, epoch = parts
            if others:
                place = Position(epoch, int(offset)) if epoch else None
                return Accepted(replica.version, elsewhere=int(elsewhere), known=place, void=True)
            publication = None
            if epoch:
                weight = OVERHEAD + weigh(change.data["payload"])
                publication = Publication(int(offset), change.at, change.data, weight)
            return Accepted(int(version), publication, elsewhere=int(elsewhere))

        self._change(replica, change, sink, "publish", change.at, accept=accept, key=change.key)

    def _join(self, replica: Replica, change: Subscribe, sink: Sink) -> Accepted | None:
        name, connection = change.user.name, change.connection
        apart = connection is not None and (
            change.user.options.per_connection_subscriptions or connection.apart
        )
        before = replica.members.get(name)
        shared, by_code = before or (False, False)
        wanted = (shared or not apart, by_code or change.by_code)
        if before == wanted:
            return Accepted(replica.version)
        if wanted[0] and not shared and not change.told:
            self.users.joins(name, replica.name, change)
        replica.members[name] = wanted
        flags = ("1" if wanted[0] else "0", "1" if wanted[1] else "0")
        self._change(replica, change, sink, "join", change.at, raw(name), *flags)
        return None

    def _leave(self, replica: Replica, change: Unsubscribe, sink: Sink) -> Accepted | None:
        name, connection = change.user.name, change.connection
        known = name in replica.members
        before = replica.members.get(name) or (True, False)
        whole_user = (
            connection is None or not connection.apart or change.user.options.global_unsubscriptions
        )
        if whole_user and not change.told:
            self.users.leaves(name, replica.name, change)
        if not known:
            return Accepted(replica.version)
        alone = connection is not None and not connection.apart
        if self.mirror.stays(replica.name, change):
            if not (alone and before[0]):
                return Accepted(replica.version)
            replica.members[name] = (False, before[1])
            self._change(replica, change, sink, "leave", change.at, raw(name), "0", "1")
            return None
        del replica.members[name]

        def accept(change: Unsubscribe, parts: Sequence[str], others: bool) -> Accepted:
            if not parts[0]:
                return Accepted(replica.version)
            if parts[1] == "1" and before[0]:
                self.users.left(name, replica.name)
            return Accepted(int(parts[0]))

        self._change(
            replica, change, sink, "leave", change.at, raw(name), "1", "1" if alone else "0",
            accept=accept,
        )  # fmt: skip
        return None

    def _set_state(self, replica: Replica, change: SetState, sink: Sink) -> None:
        told = dumps([change.updates, list(change.deletes)])
        deleted: list[Argument] = [len(change.deletes), *map(raw, change.deletes)]
        self._change(
            replica, change, sink, "state", 0.0, told, *codec.pairs(change.updates), *deleted
        )

    async def _set_options(self, replica: Replica, change: SetOptions) -> Accepted:
        for attempt in range(OPTION_ATTEMPTS):
            options = replica.options.merged(change.given)
            state, history = change.given.get("state"), change.given.get("history")
            entries = [(change.at, kind, data) for kind, data in history or ()]

            def accept(change: SetOptions, parts: Sequence[str], others: bool) -> Accepted:
                version, began = parts
                stream = StreamState(began) if began else None
                replica.options, replica.changed = options, int(version)  # noqa: B023
                return Accepted(int(version), None, stream)

            future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
            self._change(
                replica, change, future, "options", change.at,
                dumps(change.given), codec.whole(options), replica.changed,
                options.history_size, "1" if codec.has_stream(options, self.recovery) else "0",
                options.history_duration,
                new_epoch(), self.most, "1" if codec.remembers(options) else "0",
                "0" if state is None else "1", "0" if history is None else "1",
                *codec.pairs(state or {}), *codec.entries(entries), self.recovery,
                accept=accept,
            )  # fmt: skip
            with suppress(Stale):
                return await future
            await asyncio.sleep(0.01 * attempt)
        raise EngineError("other nodes keep changing the options")

    def _destroy(self, replica: Replica, change: Destroy, sink: Sink) -> None:
        lasting = replica.options.history_duration or change.linger

        def accept(change: Destroy, parts: Sequence[str], others: bool) -> Accepted:
            replica.ended = int(parts[0])
            return Accepted(int(parts[0]))

        self._change(
            replica, change, sink, "destroy", change.at, "1" if change.only_empty else "0",
            repr(change.linger), repr(change.left), int(lasting * 1000) + 1, accept=accept,
        )  # fmt: skip
