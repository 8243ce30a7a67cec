"""Subscribe clients to channels, one or many at a time, and unsubscribe them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ...wire import capabilities, webhooks
from ...wire.events import Subscribed, Unsubscribed
from ...wire.replies import CreateReply, Decided, Refused, SubscribeReply, Unusable
from ...wire.webhooks import Wanted
from ..channels.lifecycle import Lifecycle
from ..channels.locks import KeyedLocks
from ..channels.outcomes import ChannelGone
from ..channels.proposals import Proposals
from ..connection import Connection
from ..core.changes import Change, Subscribe, Unsubscribe
from ..core.effects import Effect, Send
from ..core.model import Channel, User
from ..core.stream import Position
from ..refusals import Refusal, WebhookFailed
from ..runtime import Runtime
from ..site.authorize import Authorizer, user_of
from ..site.order import traces
from ..site.queue import patience

logger = logging.getLogger("djhookbox.server")

R = TypeVar("R")

#: Codes of refusals that every further webhook of the connection would get too.
HOPELESS = frozenset({"unavailable", "session_expired"})
#: The reply about a subscription that needs no decision.
_UNASKED = SubscribeReply()


class _Batch:
    """Channels requested together, and the site's decisions about them.

    Attributes:
        wanted: The channels, and the client's position in each.
        refused: The reason for each channel that was refused.
        replies: What the site granted, for the channels whose subscription it decided.

    """

    def __init__(self, wanted: Mapping[str, Position | None]) -> None:
        self.wanted = wanted
        self.refused: dict[str, Refusal] = {}
        self.replies: dict[str, SubscribeReply] = {}
        self.decided: Mapping[str, Decided] = {}
        self._hopeless: Refusal | None = None

    async def ask(self, ask: Callable[[], Awaitable[R]]) -> R:
        """Make a webhook, unless an earlier one failed in a way that this one would too.

        Raises:
            Refusal: If the webhook was refused, or not made.

        """
        if self._hopeless is not None:
            raise self._hopeless
        try:
            return await ask()
        except Refusal as refusal:
            if refusal.code in HOPELESS:
                self._hopeless = refusal
            raise

    def remaining(self) -> list[str]:
        """Return the channels that were not refused."""
        return [name for name in self.wanted if name not in self.refused]

    def created(self, name: str) -> CreateReply | None:
        """Return the decision to create a channel, or None if there is none.

        Raises:
            Refusal: If the site refused, or its decision is unusable.

        """
        decided = self.decided.get(name)
        return _granted(name, decided.create) if decided is not None else None

    def subscribed(self, name: str) -> SubscribeReply | None:
        """Return the decision to subscribe; in other respects like `created`."""
        decided = self.decided.get(name)
        return _granted(name, decided.subscribe) if decided is not None else None


def _granted(name: str, decision: R | Refused | Unusable | None) -> R | None:
    if isinstance(decision, Refused):
        raise Refusal(decision.reason, decision.code)
    if isinstance(decision, Unusable):
        logger.error(
            "The site's reply to subscribe_many is unusable for %r: %s", name, decision.problem
        )
        raise WebhookFailed
    return decision


class Subscriptions:
    """Subscribe and unsubscribe clients.

    Operations of one user on one channel run in sequence, including their webhooks (D05, D17).
    """

    def __init__(
        self, runtime: Runtime, proposals: Proposals, lifecycle: Lifecycle, authorizer: Authorizer
    ) -> None:
        self._hub = runtime.hub
        self._proposals = proposals
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._clock = runtime.clock
        self._lifecycle = lifecycle
        self._authorizer = authorizer
        #: Locks by user and channel.
        self._turns = KeyedLocks()

    async def subscribe(
        self, connection: Connection, wanted: Mapping[str, Position | None]
    ) -> dict[str, Refusal]:
        """Subscribe a connection's user to channels, with as few webhooks as possible.

        Args:
            connection: The connection that asks.
            wanted: The channels, and the client's position in each. It receives everything after
                that, even if it is already subscribed.

        Returns:
            The reason for each channel that was refused.

        """
        user = user_of(connection)
        # Take user locks before channel locks, each in a fixed order, to avoid deadlock.
        turns = self._turns.hold(*((user.name, name) for name in sorted(wanted)))
        async with turns:
            with self._lifecycle.pinned(wanted):
                self._authorizer.still_here(connection)
                batch = _Batch(wanted)
                if self._is_decided(batch, user, connection):
                    self._check_room(batch, user)
                else:
                    await self._decide(batch, user, connection)
                await self._enter_all(batch, user, connection)
        return batch.refused

    async def unsubscribe(self, connection: Connection, name: str) -> None:
        """Unsubscribe a connection, and its user unless other pages keep the user subscribed.

        Raises:
            Refusal: If the site refuses.

        """
        user = user_of(connection)
        async with (
            self._lifecycle.using(name, connection) as channel,
            self._turns.hold((user.name, name)),
        ):
            self._authorizer.still_here(connection)
            if not self._hub.is_subscribed(user, channel, connection):
                return
            # If the user stays subscribed through another page, there is nothing to decide.
            leaves = self._hub.leaves_with(user, channel, connection)
            asks = leaves and channel.options.asks("unsubscribe")
            asked = asks and capabilities.LEAVING not in self._webhooks.accepted
            if asked:
                webhook = webhooks.Unsubscribe(name, user.name)
                reply = await self._authorizer.ask(webhook, connection)
                await self._authorizer.follow_up(connection, reply)
                self._authorizer.still_here(connection)
            with suppress(ChannelGone):  # which means that the user has left it
                change = Unsubscribe(user, self._clock(), connection=connection)
                await self._proposals.propose(channel, change)
            if leaves and not asked:
                event = Unsubscribed(
                    channel.name, user.name, connection.id, "client", signal=asks or None
                )
                self._events.add(event, traces(connection) if asks else ())

    # ---- parts -----------------------------------------------------------

    def _is_decided(self, batch: _Batch, user: User, connection: Connection) -> bool:
        """Return whether a batch needs nothing from the site, as with most open channels."""
        return self._lifecycle.exist(batch.wanted) and all(
            since is None and self._needed(user, name, connection) is None
            for name, since in batch.wanted.items()
        )

    async def _decide(self, batch: _Batch, user: User, connection: Connection) -> None:
        """Get what a batch needs from the site: decisions, and what the client lacks."""
        if capabilities.SUBSCRIBE_MANY not in self._webhooks.accepted:
            await self._create_each(batch, user, connection)
        elif self._lifecycle.exist(batch.wanted):
            await self._decide_together(batch, user, connection)
        else:
            async with self._lifecycle.missing(batch.wanted) as missing:
                await self._decide_together(batch, user, connection, missing)
        await self._load_back(batch)
        await self._complete(batch, user, connection)

    def _change(
        self, connection: Connection, reply: SubscribeReply, since: Position | None
    ) -> Subscribe:
        """Return the change that subscribes a connection's user as the site granted it."""
        return Subscribe(
            user_of(connection),
            connection,
            self._clock(),
            initial_data=reply.initial_data,
            since=since,
        )

    def _needed(self, user: User, name: str, connection: Connection) -> Wanted | None:
        """Return the decisions that a subscription needs from the site, or None."""
        channel = self._hub.channels.get(name)
        if channel is None:
            return Wanted(name, create=True)
        if self._hub.is_subscribed(user, channel, connection):
            return None
        if not channel.options.asks("subscribe"):
            return None
        return Wanted(name, subscribe=True)

    def _check_room(self, batch: _Batch, user: User) -> None:
        """Refuse the channels of a batch that would exceed the user's limit."""
        new = 0
        for name in batch.wanted:
            channel = self._hub.channels.get(name)
            if channel is None or user.name not in channel.subscribers:
                try:
                    self._authorizer.check_room(user, new)
                except Refusal as refusal:
                    batch.refused[name] = refusal
                else:
                    new += 1

    async def _decide_together(
        self,
        batch: _Batch,
        user: User,
        connection: Connection,
        missing: frozenset[str] = frozenset(),
    ) -> None:
        """Ask the site once, and create the missing channels if it allows them."""
        self._check_room(batch, user)
        needed = [
            needed
            for name in batch.remaining()
            if (needed := self._needed(user, name, connection)) is not None
        ]
        # A single decision to subscribe has its own webhook.
        if len(needed) > 1 or any(each.create for each in needed):
            many = webhooks.SubscribeMany(tuple(needed), user.name)
            longer = patience(len(needed))
            try:
                reply = await batch.ask(
                    partial(self._authorizer.ask, many, connection, patience=longer)
                )
            except Refusal as refusal:
                batch.refused.update({each.channel_name: refusal for each in needed})
            else:
                batch.decided = reply.channels
        if missing:
            # Together: the streams of durable channels are loaded with one call.
            names = sorted(missing - batch.refused.keys())
            await asyncio.gather(*(self._create(batch, name) for name in names))

    async def _create(self, batch: _Batch, name: str) -> None:
        try:
            created = batch.created(name)
            # None: code created the channel while this waited for the others.
            if created is not None:
                await self._lifecycle.create(name, created.options)
        except Refusal as refusal:
            batch.refused[name] = refusal

    async def _load_back(self, batch: _Batch) -> None:
        """Load what the client lacks of durable channels, if the server has no longer all of it."""
        found = [
            (name, channel, since)
            for name, since in batch.wanted.items()
            if since is not None and (channel := self._hub.channels.get(name)) is not None
        ]
        if not found:
            return
        outcomes = await asyncio.gather(
            *(self._proposals.durable.load_back(channel, since) for _, channel, since in found),
            return_exceptions=True,
        )
        for (name, _, _), outcome in zip(found, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                batch.refused[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome

    async def _create_each(self, batch: _Batch, user: User, connection: Connection) -> None:
        """Create the channels with a webhook of 0.3.3 for each, for sites that know no other."""
        self._check_room(batch, user)
        for name in batch.remaining():
            async with self._lifecycle.missing((name,)) as missing:
                if missing:
                    try:
                        await batch.ask(partial(self._create_alone, name, connection))
                    except Refusal as refusal:
                        batch.refused[name] = refusal
            self._authorizer.still_here(connection)

    async def _create_alone(self, name: str, connection: Connection) -> None:
        reply = await self._webhooks.send(webhooks.CreateChannel(name), connection)
        await self._lifecycle.create(name, reply.check().options)

    async def _complete(self, batch: _Batch, user: User, connection: Connection) -> None:
        """Ask for the remaining decisions to subscribe, and carry out what the site grants."""
        # Repeat, because this takes time: an open channel may have become moderated since.
        while undecided := self._undecided(batch, user, connection):
            for name in undecided:
                try:
                    reply = batch.subscribed(name)
                    if reply is None:
                        webhook = webhooks.Subscribe(name, user.name)
                        reply = await batch.ask(partial(self._authorizer.ask, webhook, connection))
                    await self._authorizer.follow_up(connection, reply)
                except Refusal as refusal:
                    batch.refused[name] = refusal
                else:
                    batch.replies[name] = reply
        self._authorizer.still_here(connection)

    def _undecided(self, batch: _Batch, user: User, connection: Connection) -> list[str]:
        """Return the channels of a batch that still need a decision."""
        return [
            name
            for name in batch.remaining()
            if name in self._hub.channels
            and name not in batch.replies
            and self._needed(user, name, connection) is not None
        ]

    async def _enter_all(self, batch: _Batch, user: User, connection: Connection) -> None:
        """Subscribe the user to all channels in one step, and send all snapshots in one piece."""
        proposals: list[tuple[Channel, Change]] = []
        unasked = []
        for name in batch.remaining():
            channel = self._hub.channels.get(name)
            if channel is None:
                batch.refused[name] = ChannelGone()
                continue
            reply = batch.replies.get(name)
            if reply is None and user.name not in channel.subscribers:
                unasked.append(channel)
            proposals.append(
                (channel, self._change(connection, reply or _UNASKED, batch.wanted[name]))
            )

        def is_own(effect: Effect) -> bool:
            return isinstance(effect, Send) and effect.connections == (connection,)

        refusals = await self._proposals.propose_all(proposals, last=is_own)
        for (channel, _), refusal in zip(proposals, refusals, strict=True):
            if refusal is not None:
                batch.refused[channel.name] = refusal
        self._authorizer.still_here(connection)
        for channel in unasked:
            if channel.name not in batch.refused:
                self._authorizer.report(Subscribed, channel, user, connection, "client")
