"""The channels that this node reads: apply their changes in the order of their versions.

The answer to a change of this node comes over another connection than the changes of other nodes,
so each waits until everything before it has been applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ....wire.options import CHANNEL_DEFAULTS
from ....wire.values import JSON
from ...core.changes import (
    Accepted,
    Change,
    Publish,
    SetOptions,
    SetState,
    Snapshot,
    Unsubscribe,
)
from . import codec
from .changing import Direct, Proposal, Sink
from .packing import Packed, pack


@dataclass(frozen=True, slots=True)
class Followed:
    """A change that another node has made.

    Attributes:
        kind: A letter, as in the scripts.
        head: The words that follow it.
        body: The rest.

    """

    kind: str
    head: tuple[str, ...]
    body: bytes


class Mirror:
    """Applies changes to the core; this one has no core, as in tests of engines."""

    def follow(self, name: str, version: int, change: Followed) -> None:
        """Apply a change of another node."""

    def reconcile(self, name: str, snapshot: Snapshot, *, lenient: bool) -> None:
        """Bring a channel to the level of a snapshot.

        Args:
            name: The channel.
            snapshot: All of it.
            lenient: Whether to keep members that may still be about to enter again.

        """

    def gone(self, name: str) -> None:
        """Destroy a channel that is lost."""

    def members(self, name: str) -> dict[str, tuple[bool, bool]]:
        """Return who has connections in a channel here: shared, by code."""
        return {}

    def audience(self, name: str) -> int:
        """Return how many connections here are in a channel."""
        return 0

    def size(self, name: str) -> int | None:
        """Return how many users of all nodes are in a channel, or None if that is not known."""
        return None

    def idle(self, name: str) -> bool:
        """Return whether no change of a channel waits for an answer."""
        return True

    def stays(self, name: str, change: Unsubscribe) -> bool:
        """Return whether the user still has connections in a channel here after a change."""
        return False

    def displaced(self, name: str, user: str) -> list[JSON] | None:
        """Return the history entries that the arrival of a user displaces, or None."""
        return None

    def dump(self, name: str) -> Snapshot | None:
        """Return a channel as this node has it, to restore it; None if it is gone."""
        return None


class _Own(NamedTuple):
    change: Change
    accepted: Accepted
    sink: Sink


#: Changes whose effect a snapshot of a later version contains.
_COVERED = (Publish, SetState, SetOptions)


class Replica:
    """A channel that this node reads.

    Attributes:
        id: The channel's opening.
        version: The last version that was applied.
        changed: The version of the last change of options.
        members: The users that this node has entered in Redis, or is entering: shared, by code; or
            None if a change has failed, so that it is not known what Redis has.
        options: The options as of that version.
        audience: The number of connections that was reported to Redis, or None.
        renewed: When its keys were renewed, in the loop's time.
        ended: The version with which this node has destroyed the channel, or 0.
        ahead_since: Since when changes wait for an earlier one, in the loop's time.
        life: Which data of Redis it was loaded from.
        loading: How many times it is being loaded.
        held: Changes of this node that wait until it is loaded.
        later: Changes of other nodes to a later life of the name: opening, version, change.

    """

    __slots__ = (
        "_begun", "_busy", "_head", "_mirror", "_node", "_slots", "_snapshot", "ahead_since",
        "audience", "changed", "ended", "held", "id", "later", "life", "loading", "members", "name",
        "options", "renewed", "version",
    )  # fmt: skip

    def __init__(self, name: str, snapshot: Snapshot, mirror: Mirror, node: str) -> None:
        self.name = name
        self._mirror = mirror
        self._slots: dict[int, _Own | Followed] = {}
        self._node = node
        #: Until the channel exists in the core, nothing is applied.
        self._begun, self._busy = False, True
        self._snapshot: Snapshot | None = None
        self.ahead_since: float | None = None
        self.audience: int | None = None
        self.renewed = 0.0
        self.ended = 0
        self.life: tuple[str, bytes] = ("", b"")
        self.loading = 0
        self.held: list[Proposal] = []
        self.later: list[tuple[str, int, Followed]] = []
        self._take(snapshot, node)

    def _take(self, snapshot: Snapshot, node: str) -> None:
        self.id = snapshot.id
        #: The first arguments of scripts that change it, and the run_id that they name.
        self._head: tuple[str, Packed] | None = None
        self.version = snapshot.version
        self.changed = snapshot.changed
        self.options = CHANNEL_DEFAULTS.merged(snapshot.options)
        self.members: dict[str, tuple[bool, bool] | None] = {
            each.name: (each.shared, each.by_code)
            for each in snapshot.members
            if node in each.nodes
        }

    def head(self, prefix: str, run_id: str) -> Packed:
        """Return the first arguments of scripts that change the channel."""
        if self._head is None or self._head[0] != run_id:
            name = codec.raw(prefix + self.name)
            self._head = (run_id, pack((2, prefix, name, self._node, run_id, self.id)))
        return self._head[1]

    @property
    def is_loading(self) -> bool:
        """Whether new changes must wait, behind those that will be repeated."""
        return bool(self.loading or self.held)

    def own(self, version: int, change: Change, accepted: Accepted, sink: Sink) -> None:
        """Let a change of this node be applied when its turn comes."""
        if version <= self.version:
            self._covered(_Own(change, accepted, sink))
            return
        self._slots[version] = _Own(change, accepted, sink)
        self.drain()

    def follow(self, version: int, change: Followed) -> None:
        """Apply a change of another node when its turn comes."""
        if version > self.version and version not in self._slots:
            self._slots[version] = change
            self.drain()

    def applied(self, version: int) -> None:
        """Record that the change of this node with that version has been applied."""
        if not self._begun:
            self._begun, self._busy = True, False
        elif version == self.version + 1:
            self._busy = False
            self.version = version
        if self._busy:
            return  # this one was covered by a snapshot
        if self._snapshot is not None:
            snapshot, self._snapshot = self._snapshot, None
            self.reload(snapshot)
        self.drain()

    def reload(self, snapshot: Snapshot, *, lenient: bool = False) -> None:
        """Continue with a snapshot."""
        if self._busy:
            self._snapshot = snapshot  # lenience is for those who have lost everything
            return
        if snapshot.id == self.id and snapshot.version < self.version:
            return
        self._take(snapshot, self._node)
        self._reconcile(snapshot, lenient)
        self.drain()

    def fail(self, error: Exception) -> None:
        """Refuse the changes of this node that wait."""
        for own in self._owns():
            if not own.sink.done():
                own.sink.set_exception(error)
        self._slots.clear()
        self.fail_held(error)

    def fail_held(self, error: Exception) -> None:
        """Refuse the changes of this node that wait until the channel is loaded."""
        held, self.held = self.held, []
        for proposal in held:
            proposal.fail(error)

    def drain(self) -> None:
        """Apply what is due."""
        while not self._busy and (slot := self._slots.pop(self.version + 1, None)) is not None:
            version = self.version + 1
            if isinstance(slot, _Own):
                if slot.sink.done() or isinstance(slot.sink, Direct):
                    self.version = version
                    if not slot.sink.done():
                        slot.sink.set_result(slot.accepted)
                    continue
                # `applied` continues: nothing may come in between.
                self._busy = True
                slot.sink.set_result(slot.accepted)
                break
            self.version = version
            self._mirror.follow(self.name, version, slot)
            if slot.kind == "O":
                self.options = self.options.merged(codec.read(slot.body))
                self.changed = version
        if self._slots and not self._busy:
            if self.ahead_since is None:
                self.ahead_since = asyncio.get_running_loop().time()
        else:
            self.ahead_since = None

    def _reconcile(self, snapshot: Snapshot, lenient: bool) -> None:
        self._mirror.reconcile(self.name, snapshot, lenient=lenient)
        for version in [version for version in self._slots if version <= self.version]:
            slot = self._slots.pop(version)
            if isinstance(slot, _Own):
                self._covered(slot)

    def _covered(self, own: _Own) -> None:
        if own.sink.done():
            return
        void = isinstance(own.change, _COVERED)
        own.sink.set_result(own.accepted._replace(void=void, version=self.version))

    def _owns(self) -> Iterator[_Own]:
        return (slot for slot in self._slots.values() if isinstance(slot, _Own))
