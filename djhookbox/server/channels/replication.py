"""Apply what other nodes have done: the core follows the engine.

A single server does not use this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...wire.fields import ABSENT
from ...wire.options import UserOptions
from ...wire.values import JSON
from ..core import replicas
from ..core.announcing import announce, announce_numbered
from ..core.changes import Publish, Snapshot, Subscribe, Unsubscribe
from ..core.effects import Effect, Emptied, PresenceDue
from ..core.model import Channel, User
from ..core.stream import StreamState
from ..engine.redis import codec
from ..engine.redis.replicas import Followed, Mirror
from ..engine.redis.users import Followers
from ..refusals import Refusal
from ..runtime import Runtime

if TYPE_CHECKING:
    from ..engine.redis.engine import RedisEngine
    from .shared import SharedProposals

logger = logging.getLogger("djhookbox.server")


class _Elsewhere:
    """Stands for a connection of another node that unsubscribes for all connections."""

    id = ""
    user: User | None = None
    apart = False


_ELSEWHERE = _Elsewhere()


def _did_not_empty(change: Followed) -> bool:
    """Return whether a departure left the channel with subscribers, who may have left since."""
    return change.kind == "L" and change.head[3] == "0"


class Replication(Mirror, Followers):
    """Applies to the core what the engine reports."""

    def __init__(self, runtime: Runtime, proposals: SharedProposals, shared: RedisEngine) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._proposals = proposals
        self._shared = shared
        shared.mirror = self
        shared.users.followers = self

    # ---- channels --------------------------------------------------------

    def follow(self, name: str, version: int, change: Followed) -> None:
        """Apply a change of another node."""
        channel = self._hub.channels.get(name)
        if channel is None:
            return
        effects = self._effects(channel, change)
        if channel.version < version:
            channel.version = version
        # The node that made the change handles its consequences. But if users of several nodes
        # leave at once, each node may take another one's for the last; Redis knows which it was.
        others = (PresenceDue,) if _did_not_empty(change) else (PresenceDue, Emptied)
        self._perform(e for e in effects if not isinstance(e, others))

    def _effects(self, channel: Channel, change: Followed) -> list[Effect]:
        kind, head, body = change.kind, change.head, change.body
        if kind == "Z":
            return []
        at = float(head[0])
        if kind == "P":
            offset = int(head[1])
            if offset and channel.stream is not None:
                return announce_numbered(channel, codec.publication(offset, at, body))
            return announce(channel, Publish(codec.read(body), at), None)
        if kind == "K":
            updates, deletes = codec.read(body)
            return self._hub.states.change(channel, updates, deletes)
        self._delivery.flush()
        if kind == "J":
            user = codec.name_of(body)
            return replicas.joined(
                self._hub, channel, user, head[1], at, head[2] == "1", head[3] == "1"
            )
        if kind == "L":
            node = None if head[1] == "-" else head[1]
            return replicas.left(self._hub, channel, codec.name_of(body), node, at, head[2] == "1")
        if kind == "O":
            stream = None if head[1] == "-" else StreamState(head[1])
            return self._hub.set_options(channel, codec.read(body), at, stream)
        if kind == "X":
            return self._hub.destroy_channel(channel, at)
        logger.warning("A newer node has made an unknown change to %r", channel.name)
        self._shared.openings.reload(channel.name)
        return []

    def reconcile(self, name: str, snapshot: Snapshot, *, lenient: bool) -> None:
        """Bring a channel to the level of a snapshot."""
        channel = self._hub.channels.get(name)
        if channel is not None:
            self._delivery.flush()
            self._perform(
                replicas.reconcile(
                    self._hub, channel, snapshot, self._shared.node, self._clock(), lenient
                )
            )

    def gone(self, name: str) -> None:
        """Destroy a channel that is lost."""
        channel = self._hub.channels.get(name)
        if channel is not None:
            self._delivery.flush()
            self._perform(self._hub.destroy_channel(channel, self._clock()))

    def members(self, name: str) -> dict[str, tuple[bool, bool]]:
        """Return who has connections in a channel here: shared, by code."""
        channel = self._hub.channels.get(name)
        if channel is None:
            return {}
        return {
            user: (subscription.shared, subscription.by_code)
            for user, subscription in channel.subscribers.items()
            if self._hub.is_member(subscription.user, channel)
        }

    def audience(self, name: str) -> int:
        """Return how many connections here are in a channel."""
        channel = self._hub.channels.get(name)
        return 0 if channel is None else len(channel.audience)

    def size(self, name: str) -> int | None:
        """Return how many users of all nodes are in a channel, or None if it is gone."""
        channel = self._hub.channels.get(name)
        return None if channel is None else len(channel.subscribers)

    def idle(self, name: str) -> bool:
        """Return whether no change of a channel waits for an answer."""
        return self._proposals.is_idle(name)

    def stays(self, name: str, change: Unsubscribe) -> bool:
        """Return whether the user still has connections in a channel here after a change."""
        channel = self._hub.channels.get(name)
        if channel is None:
            return False
        return any(
            other in channel.audience and not self._hub.parts(change.user, other, change.connection)
            for other in change.user.connections
        )

    def displaced(self, name: str, user: str) -> list[JSON] | None:
        """Return the history entries that the arrival of a user displaces, or None."""
        channel = self._hub.channels.get(name)
        return None if channel is None else replicas.displaced(channel, user)

    def dump(self, name: str) -> Snapshot | None:
        """Return a channel as this node has it."""
        channel = self._hub.channels.get(name)
        if channel is None:
            return None
        history = [(e.at, e.kind, e.data) for e in channel.entries(self._clock())]
        options = replicas.options_of(channel.options)
        return Snapshot("", 0, 0, options, channel.state, history, (), None, channel.created, False)

    def _perform(self, effects: Iterable[Effect]) -> None:
        self._delivery.perform(effects)

    # ---- users -----------------------------------------------------------

    def options(self, name: str, options: UserOptions) -> None:
        """Replace the options of a user: those of the latest connect apply."""
        user = self._hub.users.get(name)
        if user is not None:
            self._hub.set_user_options(user, options)

    def joins(
        self,
        name: str,
        channel: str,
        *,
        by_code: bool,
        initial_data: JSON,
        displaced: list[JSON] | None = None,
    ) -> None:
        """Let all connections of a user join a channel."""
        user = self._hub.users.get(name)
        if user is not None:
            self._tasks.start(self._join(user, channel, initial_data, by_code, displaced))

    async def _join(
        self, user: User, name: str, initial: JSON, by_code: bool, displaced: list[JSON] | None
    ) -> None:
        try:
            channel = await self._proposals.attach(name)
            # The user may still be on the way into a channel that exists only then.
            if channel is None or self._hub.users.get(user.name) is not user:
                return
            joining = [c for c in user.connections if by_code or not c.apart]
            if not joining:
                return
            change = Subscribe(
                user, None, self._clock(), initial, by_code, told=True, displaced=displaced
            )  # fmt: skip
            await self._proposals.propose(channel, change)
        except Refusal as refusal:
            logger.warning("%r did not join %r here: %s", user.name, name, refusal)

    def leaves(self, name: str, channel: str, *, everyone: bool, reason: str) -> None:
        """Let connections of a user leave a channel."""
        user, found = self._hub.users.get(name), self._hub.channels.get(channel)
        if user is None or found is None or not self._hub.is_member(user, found):
            return
        connection = None if everyone else _ELSEWHERE
        change = Unsubscribe(user, self._clock(), reason, connection=connection, told=True)
        self._proposals.submit(found, change)

    def present(self) -> dict[str, tuple[UserOptions, list[str]]]:
        """Return the users who are connected here, with the channels that all connections share."""
        return {
            name: (
                user.options,
                [
                    channel.name
                    for channel in user.subscriptions.values()
                    if not channel.reserved and channel.subscribers[name].shared
                ],
            )
            for name, user in self._hub.users.items()
        }

    def shares(self, name: str, joined: list[str], left: list[str]) -> None:
        """Let all connections of a user join some channels, and leave others."""
        user = self._hub.users.get(name)
        if user is None:
            return
        for channel in joined:
            inside = user.subscriptions.get(channel)
            if inside is None or not inside.subscribers[name].shared:
                self.joins(name, channel, by_code=False, initial_data=ABSENT)
        for channel in left:
            inside = user.subscriptions.get(channel)
            if inside is not None and inside.subscribers[name].shared:
                self.leaves(name, channel, everyone=False, reason="")
