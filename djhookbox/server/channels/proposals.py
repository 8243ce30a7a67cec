"""The only way to change a channel: propose the change to the engine, then apply the answer.

An engine that answers immediately completes a change within the call, so that several changes
can follow each other in one turn of the event loop without interruption. If the engine is
asynchronous, the changes of a channel are queued in the order in which they were requested. A
change that was begun is finished even if its caller is gone, as the engine may already have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ...wire.options import UserOptions
from ..connection import Connection
from ..core.applying import apply, create, is_moot, note
from ..core.changes import (
    Accepted,
    Change,
    Create,
    Destroy,
    Publish,
    SetState,
    Subscribe,
    Unsubscribe,
)
from ..core.effects import Effect
from ..core.model import Channel, User
from ..core.stream import Position
from ..engine.base import Engine, EngineError, NotOpen
from ..refusals import Refusal
from ..runtime import Runtime
from .limits import ChannelLimits
from .outcomes import Applied, ChannelGone, EngineFailed, refusal
from .turns import Turns

if TYPE_CHECKING:
    from .durable import Durable

T = TypeVar("T")

logger = logging.getLogger("djhookbox.server")

#: Seconds to wait before reporting departures again to an engine that failed.
LEAVE_PAUSE = 1.0

#: The engine's answer to a change, immediate or awaitable.
_Asked: TypeAlias = Accepted | asyncio.Future[Accepted]
#: Changes that affect neither a channel's members nor its options.
UNSEEN = (Publish, SetState)
#: Results of a change that are known immediately; None if there is nothing to do.
_KNOWN = (Accepted, Refusal, type(None))


class Proposals:
    """Propose changes of channels, apply them, and perform their effects."""

    def __init__(self, runtime: Runtime, engine: Engine) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._engine = engine
        self._linger = runtime.config.history_linger
        #: Loads the streams of durable channels; set once it exists.
        self.durable: Durable
        #: Held under the channel's name while a change waits for the engine.
        self._turns = Turns(runtime.tasks)
        self._limits = ChannelLimits(runtime)

    # ---- changes of a live channel ---------------------------------------

    async def propose(self, channel: Channel, change: Change) -> Applied:
        """Change a channel as soon as the engine has accepted the change.

        A change that is moot by the time its turn comes does nothing: for example, a user who
        has left in the meantime is not subscribed.

        Args:
            channel: The channel.
            change: Any change except Create.

        Raises:
            ChannelGone: If the channel went away before the change's turn came.
            OptionError: If the options are invalid.
            Refusal: If there is no room for it.
            EngineFailed: If the engine failed; nothing was done.

        """
        return await self.answer(self.begin(channel, change))

    async def answer(self, applied: Applied | asyncio.Future[Applied]) -> Applied:
        """Return the result of `begin`, waiting for it if necessary; raises as `propose`."""
        return applied if isinstance(applied, Applied) else await self._wait(applied)

    def begin(self, channel: Channel, change: Change) -> Applied | asyncio.Future[Applied]:
        """Do the same as `propose`, but return an immediate result without awaiting."""
        name = channel.name
        asked: _Asked | None = None
        if name not in self._turns.last:
            if not self._is_due(channel, change):
                return Applied(0)
            asked = self._ask(name, change)
            if isinstance(asked, Accepted):
                return self._apply(channel, change, asked)
        return self._turns.take((name,), lambda: self._carry_out(channel, change, asked))

    def submit(self, channel: Channel, change: Change) -> None:
        """Change a channel without waiting for the result; a failure is only logged."""
        try:
            applied = self.begin(channel, change)
        except Refusal as refusal:
            logger.warning("%r was not changed: %s", channel.name, refusal)
            return
        if not isinstance(applied, Applied):
            self._tasks.start(self._settle(channel, applied))

    async def propose_all(
        self,
        proposals: Sequence[tuple[Channel, Change]],
        last: Callable[[Effect], bool],
    ) -> list[Refusal | None]:
        """Change different channels in one step.

        Args:
            proposals: The channels and their changes, none of which changes options.
            last: Returns whether an effect is performed after the others.

        Returns:
            For each channel whose change was not made, the reason.

        """
        names = frozenset(channel.name for channel, _ in proposals)
        if any(name in self._turns.last for name in names):
            return await self._wait(
                self._turns.take(names, lambda: self._carry_out_all(proposals, None, last))
            )
        asked = [self._ask_safely(channel, change) for channel, change in proposals]
        known = [answer for answer in asked if isinstance(answer, _KNOWN)]
        if len(known) == len(asked):
            return self._apply_all(proposals, known, last)
        return await self._wait(
            self._turns.take(names, lambda: self._carry_out_all(proposals, asked, last))
        )

    # ---- creation and destruction ----------------------------------------

    async def open(self, name: str, given: Mapping[str, object]) -> Channel:
        """Create a channel, or return the existing one.

        Raises:
            Refusal: If the options are invalid, there is no room, or the engine failed.

        """
        asked: _Asked | None = None
        change = Create(given, self._clock())
        if name not in self._turns.last and not given.get("durable"):
            if (channel := self._hub.channels.get(name)) is not None:
                return channel
            self._limits.check_new(name, change)
            asked = self._ask(name, change)
            if isinstance(asked, Accepted):
                return self._create(name, change, asked)
        return await self._wait(self._turns.take((name,), lambda: self._open(name, change, asked)))

    async def attach(self, name: str) -> Channel | None:
        """Return a live channel, or None if there is none.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        return self._hub.channels.get(name)

    async def release(self, channel: Channel) -> None:
        """Stop following a channel that only other nodes read; there are none."""

    async def destroy(self, channel: Channel, *, only_empty: bool = False) -> None:
        """Destroy a channel; do nothing if it is already gone.

        Args:
            channel: The channel.
            only_empty: Destroy it only if it has no subscribers.

        Raises:
            EngineFailed: If the engine failed; the channel stays live.

        """
        now = self._clock()
        left = now if channel.subscribers else channel.left
        with suppress(ChannelGone):
            await self.propose(channel, Destroy(now, self._linger, only_empty, left))

    # ---- users -----------------------------------------------------------

    def connect(
        self,
        connection: Connection,
        name: str,
        options: UserOptions,
        greeting: Mapping[str, object],
    ) -> None:
        """Attach a connection to a user; the arguments are those of `Hub.connect`."""
        self._delivery.flush()
        self._delivery.perform(
            self._hub.connect(connection, name, options, self._clock(), greeting)
        )

    def detach(self, connection: Connection) -> list[Channel]:
        """Remove a closed connection from all channels immediately.

        Returns:
            The channels that its user has left as a result, in order of subscription.

        """
        user = connection.user
        self._delivery.flush()
        self._delivery.settle(connection)
        effects, left = self._hub.detach(connection, self._clock())
        self._delivery.perform(effects)
        for channel in left:
            if user is not None:
                alone = not user.options.global_unsubscriptions
                self._tell(channel, Unsubscribe(user, self._clock(), told=alone))
        return left

    def withdraw(self, channel: Channel, user: User, reason: str) -> None:
        """Remove a user who lost the right from a channel at once, before the engine answers."""
        now = self._clock()
        self._delivery.flush()
        self._delivery.perform(self._hub.unsubscribe(user, channel, now, reason))
        self._tell(channel, Unsubscribe(user, now, reason))

    # ---- one change ------------------------------------------------------

    async def _carry_out(self, channel: Channel, change: Change, asked: _Asked | None) -> Applied:
        if asked is None and not self._is_due(channel, change):
            return Applied(0)
        accepted = await self._accepted(channel.name, change, asked)
        self._check_alive(channel)
        return self._apply(channel, change, accepted)

    async def _settle(self, channel: Channel, applied: asyncio.Future[Applied]) -> None:
        try:
            await applied
        except Refusal as refusal:
            logger.warning("%r was not changed: %s", channel.name, refusal)

    def _is_due(self, channel: Channel, change: Change) -> bool:
        """Return whether a change is still needed in the current state.

        Raises:
            ChannelGone: If the channel is gone.
            OptionError: If the options are invalid.
            Refusal: If there is no room for it.

        """
        self._check_alive(channel)
        if isinstance(change, Publish):
            return True
        self._limits.check(channel, change)
        return not is_moot(self._hub, channel, change)

    def _check_alive(self, channel: Channel) -> None:
        if self._hub.channels.get(channel.name) is not channel:
            raise ChannelGone

    def _apply(self, channel: Channel, change: Change, accepted: Accepted) -> Applied:
        delivered = self._delivery.perform(self._effects(channel, change, accepted))
        publication, stream = accepted.publication, channel.stream
        if publication is None or stream is None:
            return Applied(delivered)
        return Applied(delivered, Position(stream.epoch, publication.offset))

    def _effects(self, channel: Channel, change: Change, accepted: Accepted) -> list[Effect]:
        if not isinstance(change, UNSEEN):
            # The change affects who receives earlier publications, or how they are shown.
            self._delivery.flush()
            if isinstance(change, Subscribe) and is_moot(self._hub, channel, change):
                self._tell(channel, Unsubscribe(change.user, self._clock()))
        return apply(self._hub, channel, change, accepted)

    # ---- many changes ----------------------------------------------------

    def _ask_safely(self, channel: Channel, change: Change) -> _Asked | Refusal | None:
        """Propose a change; return the refusal if it fails, or None if there is nothing to do."""
        try:
            return self._ask(channel.name, change) if self._is_due(channel, change) else None
        except Refusal as refusal:
            return refusal

    async def _carry_out_all(
        self,
        proposals: Sequence[tuple[Channel, Change]],
        asked: Sequence[_Asked | Refusal | None] | None,
        last: Callable[[Effect], bool],
    ) -> list[Refusal | None]:
        if asked is None:
            asked = [self._ask_safely(channel, change) for channel, change in proposals]
        known: list[Accepted | Refusal | None] = []
        for (channel, change), answer in zip(proposals, asked, strict=True):
            if isinstance(answer, _KNOWN):
                known.append(answer)
                continue
            try:
                known.append(await self._accepted(channel.name, change, answer))
            except Refusal as refusal:
                known.append(refusal)
        return self._apply_all(proposals, known, last)

    def _apply_all(
        self,
        proposals: Sequence[tuple[Channel, Change]],
        known: Sequence[Accepted | Refusal | None],
        last: Callable[[Effect], bool],
    ) -> list[Refusal | None]:
        refusals: list[Refusal | None] = []
        effects: list[Effect] = []
        for (channel, change), answer in zip(proposals, known, strict=True):
            refusal = answer if isinstance(answer, Refusal) else None
            if isinstance(answer, Accepted) and not answer.void:
                try:
                    self._check_alive(channel)
                    effects += self._effects(channel, change, answer)
                except ChannelGone as gone:
                    refusal = gone
            refusals.append(refusal)
        self._delivery.perform(sorted(effects, key=last))
        for (channel, _), answer in zip(proposals, known, strict=True):
            if isinstance(answer, Accepted):
                self._applied(channel, answer)
        return refusals

    # ---- new channels ----------------------------------------------------

    async def _open(self, name: str, change: Create, asked: _Asked | None) -> Channel:
        if (channel := self._hub.channels.get(name)) is not None:
            return channel
        self._limits.check_new(name, change)
        if change.given.get("durable"):
            return await self._open_durable(name, change)
        return self._create(name, change, await self._accepted(name, change, asked))

    async def _open_durable(self, name: str, change: Create) -> Channel:
        """Create a channel with the stream that the site has; whatever concerns it waits."""
        while True:
            stream = await self.durable.load(name)
            accepted = await self._accepted(name, replace(change, stream=stream), None)
            if self.durable.covers(stream):
                channel = self._create(name, change, accepted)
                self.durable.opened(channel, stream)
                return channel

    def _create(self, name: str, change: Create, accepted: Accepted) -> Channel:
        channel, effects = create(self._hub, name, change, accepted)
        self._delivery.perform(effects)
        self._applied(channel, accepted)
        return channel

    # ---- departures ------------------------------------------------------

    def _tell(self, channel: Channel, change: Unsubscribe) -> None:
        """Report a departure that has already happened to the engine, until it succeeds."""
        told: asyncio.Future[None] | None = None
        try:
            asked: _Asked | None = None
            if channel.name not in self._turns.last:
                asked = self._ask(channel.name, change)
        except ChannelGone:
            return
        except EngineFailed:
            pass
        else:
            if isinstance(asked, Accepted):
                note(channel, asked)
                return
            told = self._turns.take((channel.name,), lambda: self._told(channel, change, asked))
        self._tasks.start(self._tell_again(channel, change, told))

    async def _tell_again(
        self, channel: Channel, change: Unsubscribe, told: asyncio.Future[None] | None
    ) -> None:
        while True:
            try:
                if told is not None:
                    await told
                    return
            except ChannelGone:
                return
            except EngineFailed:
                pass
            await asyncio.sleep(LEAVE_PAUSE)
            told = self._turns.take((channel.name,), lambda: self._told(channel, change, None))

    async def _told(self, channel: Channel, change: Unsubscribe, asked: _Asked | None) -> None:
        if self._hub.channels.get(channel.name) is not channel:
            return
        inside = channel.subscribers.get(change.user.name)
        if asked is None and inside is not None and self._hub.is_member(inside.user, channel):
            return  # the user has come back
        accepted = await self._accepted(channel.name, change, asked)
        note(channel, accepted)
        self._applied(channel, accepted)

    # ---- for engines that other nodes share ------------------------------

    async def _wait(self, turn: asyncio.Future[T]) -> T:
        """Wait for the result of a turn."""
        return await turn

    def _applied(self, channel: Channel, accepted: Accepted) -> None:
        """Record that an accepted change has been applied."""

    # ---- the engine ------------------------------------------------------

    def _ask(self, name: str, change: Change) -> _Asked:
        try:
            asked = self._engine.propose(name, change)
        except (EngineError, NotOpen) as error:
            raise refusal(name, error) from None
        # Start immediately, rather than when the turn is taken.
        return asked if isinstance(asked, Accepted) else asyncio.ensure_future(asked)

    async def _accepted(self, name: str, change: Change, asked: _Asked | None) -> Accepted:
        try:
            if asked is None:
                asked = self._ask(name, change)
            return asked if isinstance(asked, Accepted) else await asked
        except (EngineError, NotOpen) as error:
            raise refusal(name, error) from None
