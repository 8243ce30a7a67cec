"""Propose changes to an engine that several nodes share.

Changes that depend on nothing before them are proposed without waiting for earlier answers, and
callers wait for a limited time. Channels that other nodes have are opened when they are needed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from ...wire.names import RESERVED_PREFIX
from ...wire.options import UserOptions
from ..connection import Connection
from ..core import replicas
from ..core.applying import note
from ..core.changes import (
    Accepted,
    Change,
    Create,
    Publish,
    SetState,
    Snapshot,
    Subscribe,
    Unsubscribe,
)
from ..core.effects import Effect
from ..core.model import Channel
from ..engine.base import EngineError, NotOpen
from ..engine.redis.changing import Direct
from ..refusals import Refusal
from ..runtime import Runtime
from .outcomes import Applied, Unanswered, refusal
from .patience import ANSWER_SECONDS, Patience
from .proposals import UNSEEN, Proposals

if TYPE_CHECKING:
    from ..engine.redis.engine import RedisEngine

T = TypeVar("T")

#: Changes that may be proposed before others of them have been answered.
_INDEPENDENT = (Publish, SetState, Subscribe, Unsubscribe)
#: Those that let a user into a channel, or out of it.
_MOVES = (Subscribe, Unsubscribe)


class _Answer(asyncio.Future[Applied]):
    """The result of a change in flight, which may be given up or cancelled without it."""


class _Flight(Direct):
    """A change that the engine has, of a channel for which no turn waits."""

    __slots__ = ("_change", "_last", "_proposals", "channel", "future")

    def __init__(
        self,
        proposals: SharedProposals,
        channel: Channel,
        change: Change,
        last: Callable[[Effect], bool] | None,
    ) -> None:
        super().__init__()
        self.channel = channel
        self.future = _Answer()
        self._change = change
        self._last = last
        self._proposals = proposals

    def apply(self, accepted: Accepted) -> None:
        try:
            applied = self._proposals.land(self.channel, self._change, accepted, self._last)
        except Exception as error:
            self.fail(error)
            return
        self._proposals.landed(self.channel.name, self._change)
        if not self.future.done():
            self.future.set_result(applied)

    def fail(self, error: BaseException) -> None:
        self._proposals.landed(self.channel.name, self._change)
        if isinstance(error, (EngineError, NotOpen)):
            error = refusal(self.channel.name, error)
        if not self.future.done():
            self.future.set_exception(error)


class _Farewell(Direct):
    """A departure in flight to the engine, which has already happened here."""

    __slots__ = ("_change", "_channel", "_proposals")

    def __init__(self, proposals: SharedProposals, channel: Channel, change: Unsubscribe) -> None:
        super().__init__()
        self._channel = channel
        self._change = change
        self._proposals = proposals

    def apply(self, accepted: Accepted) -> None:
        note(self._channel, accepted)
        self._proposals.landed(self._channel.name, self._change)

    def fail(self, error: BaseException) -> None:
        self._proposals.landed(self._channel.name, self._change)
        if isinstance(error, EngineError):
            self._proposals.tell_later(self._channel, self._change, error)


class SharedProposals(Proposals):
    """Propose changes, and follow the channels of other nodes."""

    def __init__(self, runtime: Runtime, engine: RedisEngine) -> None:
        super().__init__(runtime, engine)
        self._shared = engine
        #: Changes in flight by channel: how many, and the turn that later turns wait for.
        self._flying: dict[str, tuple[int, asyncio.Future[None]]] = {}
        #: How many of them let a user into a channel, or out of it, by both names.
        self._moving: Counter[tuple[str, str]] = Counter()
        self._patience = Patience()

    # ---- channels of other nodes -----------------------------------------

    async def attach(self, name: str) -> Channel | None:
        """Return a channel if this node or another has it.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        channel = self._hub.channels.get(name)
        if channel is not None or name.startswith(RESERVED_PREFIX):
            return channel
        return await self._wait(self._turns.take((name,), lambda: self._attach(name)))

    async def release(self, channel: Channel) -> None:
        """Stop following a channel that nobody here reads."""
        await self._turns.take((channel.name,), lambda: self._release(channel))

    async def _attach(self, name: str) -> Channel | None:
        if (channel := self._hub.channels.get(name)) is not None:
            return channel
        try:
            snapshot = await self._shared.openings.attach(name)
        except EngineError as error:
            raise refusal(name, error) from None
        if snapshot is None:
            return None
        while snapshot.options.get("durable"):
            stream = await self.durable.load(name)
            if self.durable.covers(stream):
                channel = self._build(name, replace(snapshot, stream=stream))
                self.durable.opened(channel, stream)
                return channel
        return self._build(name, snapshot)

    async def _release(self, channel: Channel) -> None:
        if self._hub.channels.get(channel.name) is not channel or channel.audience:
            return
        with suppress(EngineError):  # what Redis then still sends is ignored
            await self._shared.openings.release(channel.name)
        self._delivery.perform(replicas.forget(self._hub, channel))

    def _create(self, name: str, change: Create, accepted: Accepted) -> Channel:
        if accepted.snapshot is not None:  # another node has it
            return self._build(name, replace(accepted.snapshot, stream=accepted.stream))
        return super()._create(name, change, accepted)

    def _build(self, name: str, snapshot: Snapshot) -> Channel:
        node = self._shared.node
        channel, effects = replicas.build(self._hub, name, snapshot, node, self._clock())
        self._delivery.perform(effects)
        self._applied(channel, Accepted(snapshot.version))
        return channel

    # ---- users -----------------------------------------------------------

    def connect(
        self,
        connection: Connection,
        name: str,
        options: UserOptions,
        greeting: Mapping[str, object],
    ) -> None:
        """Attach a connection to a user; the arguments are those of `Hub.connect`."""
        super().connect(connection, name, options, greeting)
        if connection.user is not None:
            for channel in connection.user.subscriptions.values():
                self._shared.openings.settle(channel.name)

    def detach(self, connection: Connection) -> list[Channel]:
        """Remove a closed connection from all channels immediately.

        Returns:
            The channels that its user has left on all nodes that this one knows of.

        """
        user = connection.user
        joined = [] if user is None else list(user.subscriptions.values())
        left = super().detach(connection)
        for channel in joined:
            self._shared.openings.touched(channel.name)
        return [c for c in left if user is not None and user.name not in c.subscribers]

    # ---- changes in flight -----------------------------------------------

    def begin(self, channel: Channel, change: Change) -> Applied | asyncio.Future[Applied]:
        """Do the same as `propose`, but return an immediate result without awaiting."""
        if isinstance(change, _INDEPENDENT) and self._may_fly(channel.name):
            return self._fly(channel, change)
        return super().begin(channel, change)

    async def answer(self, applied: Applied | asyncio.Future[Applied]) -> Applied:
        """Return the result of `begin`, waiting for it if necessary; raises as `propose`."""
        return await applied if isinstance(applied, _Answer) else await super().answer(applied)

    async def propose_all(
        self, proposals: Sequence[tuple[Channel, Change]], last: Callable[[Effect], bool]
    ) -> list[Refusal | None]:
        """Change different channels in one step; see the base class."""
        if len(proposals) != 1 or not self._may_fly(proposals[0][0].name):
            return await super().propose_all(proposals, last)
        try:
            await self.answer(self._fly(*proposals[0], last))
        except Refusal as reason:
            return [reason]
        return [None]

    def _may_fly(self, name: str) -> bool:
        """Return whether no turn waits for a channel, except for the changes in flight."""
        flying = self._flying.get(name)
        turn = self._turns.last.get(name)
        return turn is None or (flying is not None and turn is flying[1])

    def _fly(
        self, channel: Channel, change: Change, last: Callable[[Effect], bool] | None = None
    ) -> Applied | asyncio.Future[Applied]:
        """Propose a change that is applied as soon as it is accepted, without a turn."""
        if not self._is_due(channel, change):
            return Applied(0)
        name = channel.name
        flight = _Flight(self, channel, change, last)
        try:
            accepted = self._shared.propose_to(name, change, flight)
        except (EngineError, NotOpen) as error:
            raise refusal(name, error) from None
        if accepted is None:
            self._launched(name, change)
            self._patience.add(flight.future)
            return flight.future
        alone = isinstance(change, _MOVES) and (name, change.user.name) not in self._moving
        if alone or name not in self._flying:
            return self.land(channel, change, accepted, last)
        return self._turns.take((name,), lambda: self._land_later(channel, change, accepted, last))

    def _launched(self, name: str, change: Change) -> None:
        """Record that a change is in flight."""
        flying = self._flying.get(name)
        if flying is None:
            landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.last[name] = landed
            self._flying[name] = (1, landed)
        else:
            self._flying[name] = (flying[0] + 1, flying[1])
        if isinstance(change, _MOVES):
            self._moving[name, change.user.name] += 1

    async def _land_later(
        self,
        channel: Channel,
        change: Change,
        accepted: Accepted,
        last: Callable[[Effect], bool] | None,
    ) -> Applied:
        return self.land(channel, change, accepted, last)

    def land(
        self,
        channel: Channel,
        change: Change,
        accepted: Accepted,
        last: Callable[[Effect], bool] | None,
    ) -> Applied:
        """Apply a change that was in flight.

        Raises:
            ChannelGone: If the channel is gone.

        """
        self._check_alive(channel)
        if accepted.void:
            return Applied(accepted.elsewhere, accepted.known)
        effects = self._effects(channel, change, accepted)
        if last is not None:
            effects = sorted(effects, key=last)
        delivered = self._delivery.perform(effects) + accepted.elsewhere
        if not isinstance(change, UNSEEN):
            self._shared.openings.touched(channel.name)
        if accepted.publication is None or channel.stream is None:
            return Applied(delivered)
        return Applied(delivered, channel.stream.position)

    def landed(self, name: str, change: Change) -> None:
        """Record that a change in flight has been answered."""
        if isinstance(change, _MOVES):
            key = name, change.user.name
            self._moving[key] -= 1
            if not self._moving[key]:
                del self._moving[key]
        count, turn = self._flying[name]
        if count > 1:
            self._flying[name] = (count - 1, turn)
            return
        del self._flying[name]
        if self._turns.last.get(name) is turn:
            del self._turns.last[name]
        turn.set_result(None)

    def _tell(self, channel: Channel, change: Unsubscribe) -> None:
        """Report a departure that has already happened to the engine, until it succeeds."""
        name = channel.name
        if not self._may_fly(name):
            super()._tell(channel, change)
            return
        try:
            accepted = self._shared.propose_to(name, change, _Farewell(self, channel, change))
        except NotOpen:
            return
        except EngineError as error:
            self.tell_later(channel, change, error)
            return
        if accepted is None:
            self._launched(name, change)
        else:
            note(channel, accepted)

    def tell_later(self, channel: Channel, change: Unsubscribe, error: EngineError) -> None:
        """Report a departure that the engine was not told of, until it succeeds."""
        refusal(channel.name, error)  # which is logged
        self._tasks.start(self._tell_again(channel, change, None))

    # ---- proposing and applying ------------------------------------------

    def is_idle(self, name: str) -> bool:
        """Return whether no change of a channel waits."""
        return name not in self._turns.last

    async def _wait(self, turn: asyncio.Future[T]) -> T:
        """Wait for the result of a turn for a limited time; the turn itself continues."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end(_: object = None) -> None:
            if not ended.done():
                ended.set_result(None)

        turn.add_done_callback(end)
        timer = loop.call_later(ANSWER_SECONDS, end)
        try:
            await ended
        finally:
            timer.cancel()
            turn.remove_done_callback(end)
            if not turn.done():
                turn.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not turn.done():
            raise Unanswered
        return turn.result()

    def _apply(self, channel: Channel, change: Change, accepted: Accepted) -> Applied:
        if accepted.void:
            return Applied(accepted.elsewhere, accepted.known)
        try:
            applied = super()._apply(channel, change, accepted)
        finally:
            self._applied(channel, accepted)
        return applied._replace(delivered=applied.delivered + accepted.elsewhere)

    def _effects(self, channel: Channel, change: Change, accepted: Accepted) -> list[Effect]:
        effects = super()._effects(channel, change, accepted)
        if isinstance(change, Subscribe) and effects:
            return replicas.as_on_arrival(channel, change, effects)
        return effects

    def _applied(self, channel: Channel, accepted: Accepted) -> None:
        self._shared.applied(channel.name, accepted.version)
        self._shared.openings.touched(channel.name)
