"""Open channels, and bring them up to date after something was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ....wire.options import CHANNEL_DEFAULTS, ChannelOptions
from ....wire.values import JSON
from ...core.changes import HistoryEntry, Snapshot
from ...core.stream import new_epoch
from ..base import EngineError, NotOpen
from . import codec, patrol
from .codec import raw
from .connecting import Reply
from .link import by_order
from .packing import Argument
from .replicas import Followed, Replica

if TYPE_CHECKING:
    from .engine import RedisEngine

logger = logging.getLogger("djhookbox.server")

#: Channels whose versions are compared, or which are loaded, at a time.
BATCH = 100
#: Seconds between renewals of the keys of a channel.
RENEW_SECONDS = 120.0
#: Seconds for which a change may wait for an earlier one, before the channel is loaded.
AHEAD_SECONDS = 1.0


class Openings:
    """The channels that this node reads."""

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        #: Changes of other nodes to channels that are being opened.
        self._early: dict[str, list[tuple[str, int, Followed]]] = {}
        self._reloading: set[str] = set()
        self._resyncing: asyncio.Task[None] | None = None
        #: Whether to compare everything again, and then whether Redis has lost data; or None.
        self._again: bool | None = None
        #: Channels that could not be loaded.
        self._failed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._patrol = patrol.Patrol(engine)
        #: Until when members may be missing because their nodes have not entered them again.
        self._lenient_until = 0.0
        #: Channels whose connections have changed, and those whose members must be checked.
        self._changed: set[str] = set()
        self._touched: set[str] = set()

    # ---- opening ---------------------------------------------------------

    async def open(
        self, name: str, at: float, options: ChannelOptions, given: Mapping[str, JSON]
    ) -> Snapshot:
        """Create a channel, or open it as it is.

        Raises:
            EngineError: If it was not opened.

        """
        history = given.get("history")
        entries = [(at, kind, data) for kind, data in history or ()]
        snapshot = await self._open(
            name, "create", at, self._content(options, given.get("state"), history, entries)
        )
        if snapshot is None:
            raise EngineError("Redis has not created the channel")
        return snapshot

    async def attach(self, name: str) -> Snapshot | None:
        """Open a channel if it exists; return it unless it is open already.

        Raises:
            EngineError: If that cannot be found out.

        """
        return await self._open(name, "attach", self._engine.nodes.clock(), ())

    def _content(
        self,
        options: ChannelOptions,
        state: Mapping[str, JSON] | None,
        history: object,
        entries: Sequence[HistoryEntry],
    ) -> list[Argument]:
        recovery = self._engine.recovery
        return [
            codec.whole(options), options.history_size,
            "1" if codec.has_stream(options, recovery) else "0", options.history_duration,
            new_epoch(), recovery, self._engine.most,
            "1" if codec.remembers(options) else "0", "0" if history is None else "1",
            *codec.pairs(state or {}), *codec.entries(entries),
        ]  # fmt: skip

    async def _open(
        self, name: str, mode: str, at: float, content: Iterable[Argument]
    ) -> Snapshot | None:
        early = self._early.setdefault(name, [])
        try:
            reply = await self._ask_open(name, mode, at, content)
        finally:
            if self._early.get(name) is early:
                del self._early[name]
        if reply[0] == b"NONE":
            return None
        snapshot = codec.snapshot(reply)
        replica = self._engine.replicas.get(name)
        if replica is not None:
            replica.fail(EngineError("the channel was opened anew"))
        replica = Replica(name, snapshot, self._engine.mirror, self._engine.node)
        self._engine.replicas[name] = replica
        replica.life = self._life
        replica.renewed = asyncio.get_running_loop().time()
        for opening, version, change in early:
            if opening == replica.id:
                replica.follow(version, change)
        return snapshot

    async def _ask_open(
        self, name: str, mode: str, at: float, content: Iterable[Argument]
    ) -> Reply:
        return await self._engine.ask("open", self._engine.arguments(name, "", at, mode, *content))

    def follow(self, name: str, opening: str, version: int, change: Followed) -> None:
        """Handle a change of another node."""
        replica = self._engine.replicas.get(name)
        if replica is None or name in self._early:
            early = self._early.get(name)
            if early is not None:
                early.append((opening, version, change))
                return
        if replica is None:
            return
        if replica.id != opening:
            if int(opening) > int(replica.id):  # a later life of the name
                replica.later.append((opening, version, change))
                self.reload(name)
            return
        replica.follow(version, change)
        if change.kind == "X" and replica.version >= version:
            self.drop(replica)

    def drop(self, replica: Replica) -> None:
        """Forget a channel that is destroyed."""
        if self._engine.replicas.get(replica.name) is replica:
            del self._engine.replicas[replica.name]
        replica.fail_held(NotOpen(replica.name))
        replica.fail(EngineError("the channel was destroyed"))

    async def release(self, name: str) -> None:
        """Stop reading a channel."""
        replica = self._engine.replicas.pop(name, None)
        if replica is not None:
            await self._engine.ask("release", self._engine.arguments(name, replica.id, 0.0))

    # ---- loading again ---------------------------------------------------

    def reload(self, name: str) -> None:
        """Reload a channel, in the background."""
        if name not in self._reloading:
            self._reloading.add(name)
            self._start(self._reload_one(name))

    def resync(self, *, restore: bool = False) -> None:
        """Compare all channels and users with Redis, in the background.

        Args:
            restore: Whether Redis has lost data, so that each must be written again.

        """
        if restore:
            self._lenient_until = asyncio.get_running_loop().time() + self._engine.lease
        self._again = bool(self._again) or restore
        if self._resyncing is None or self._resyncing.done():
            self._resyncing = self._start(self._resync())

    def _start(self, work: Coroutine[object, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Channels could not be reloaded", exc_info=error)

    async def _reload_one(self, name: str) -> None:
        try:
            await self._reload(name)
        except EngineError as error:
            logger.warning("The channel %r could not be reloaded: %s", name, error)
            self._failed.add(name)
        finally:
            self._reloading.discard(name)

    async def _resync(self) -> None:
        loop = asyncio.get_running_loop()
        while self._again is not None:
            restore, self._again = self._again, None
            try:
                await self._compare(restore)
            except EngineError as error:
                logger.warning("Channels could not be reloaded: %s", error)
                asked_again = self._again is not None
                self._again = bool(self._again) or restore
                if not asked_again:
                    return  # until `look`
            else:
                if restore:
                    # Users who have not come back by then are gone.
                    loop.call_later(self._engine.lease * 1.1, self._strict)

    async def _compare(self, restore: bool) -> None:
        """Load the channels that have moved, and repair the users.

        Raises:
            EngineError: If that was not done.

        """
        names = list(self._engine.replicas)
        for start in range(0, len(names), BATCH):
            moved = await self._moved(names[start : start + BATCH])
            await asyncio.gather(*(self._reload(name) for name in moved))
        await self._engine.users.repair(restore)

    def _strict(self) -> None:
        for name in list(self._engine.replicas):
            self.reload(name)

    async def _moved(self, names: list[str]) -> list[str]:
        found = []
        for told in await patrol.ask(self._engine, names):
            replica = self._engine.replicas.get(told.name)
            if replica is None:
                continue
            moved = told.id != replica.id or told.version != replica.version
            if moved or not told.reads or replica.life != self._life:
                found.append(told.name)
        return found

    @property
    def is_lenient(self) -> bool:
        """Whether Redis has lost data and other nodes may not have written theirs again."""
        return asyncio.get_running_loop().time() < self._lenient_until

    @property
    def _life(self) -> tuple[str, bytes]:
        """Which data of Redis this node works with."""
        return self._engine.link.run_id, self._engine.nodes.life

    async def _reload(self, name: str) -> None:
        engine = self._engine
        replica = engine.replicas.get(name)
        if replica is None:
            return
        engine.figures["snapshots_reloaded"] += 1
        replica.loading += 1
        try:
            await self._load(replica)
        except EngineError as error:
            if replica.loading == 1:
                replica.fail_held(error)
            raise
        finally:
            replica.loading -= 1
            if not replica.loading and engine.replicas.get(name) is replica:
                self._repeat(replica)

    async def _load(self, replica: Replica) -> None:
        engine, name = self._engine, replica.name
        mine = engine.mirror.dump(name) if replica.life != self._life else None
        if mine is not None:  # Redis has lost it since it was loaded
            options = CHANNEL_DEFAULTS.merged(mine.options)
            content = self._content(options, mine.state, mine.history, mine.history)
            reply = await self._ask_open(name, "restore", mine.at, content)
        else:
            reply = await self._ask_open(name, "attach", engine.nodes.clock(), ())
        if engine.replicas.get(name) is not replica:
            return
        if reply[0] == b"NONE":
            self.drop(replica)
            engine.mirror.gone(name)
            return
        lenient = self.is_lenient
        replica.audience = None
        replica.life = self._life
        replica.reload(codec.snapshot(reply), lenient=lenient)
        self._touched.add(name)
        later, replica.later = replica.later, []
        for each in later:
            self.follow(name, *each)
        if engine.mirror.idle(name):
            self.repair(replica)

    def _repeat(self, replica: Replica) -> None:
        """Make the changes that have waited until a channel is loaded, in their order."""
        held, replica.held = replica.held, []
        for proposal in sorted(held, key=by_order):
            try:
                proposal.address()
                self._engine.parking.put(proposal)
            except EngineError as error:
                proposal.fail(error)

    # ---- repairing -------------------------------------------------------

    def repair(self, replica: Replica) -> None:
        """Make what Redis has of this node in a channel what it should be."""
        present = self._engine.mirror.members(replica.name)
        known = replica.members
        wrong = [(name, flags) for name, flags in present.items() if known.get(name) is None]
        gone = [name for name in known if name not in present]
        for name, (shared, by_code) in wrong:
            known[name] = (shared, by_code)
            flags = ("1" if shared else "0", "1" if by_code else "0")
            self._repair(replica, "join", raw(name), *flags)
        for name in gone:
            del known[name]
            self._repair(replica, "leave", raw(name), "1", "0")

    def _repair(self, replica: Replica, script: str, *more: Argument) -> None:
        engine = self._engine

        def done(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception):
                self.reload(replica.name)  # to see what has happened
                return
            if reply[0] in (b"OK", b"AGAIN"):
                version = reply[1].split(b";")[0]
                if version:
                    replica.follow(int(version), Followed("Z", (), b""))
            else:
                self.reload(replica.name)

        arguments = engine.arguments(
            replica.name, replica.id, engine.nodes.clock(), *more, op=engine.number()
        )
        try:
            engine.submit(script, arguments, done)
        except EngineError as error:
            done(error)

    def look(self, loop_time: float) -> None:
        """Do what is due once a second."""
        engine = self._engine
        if self._again is not None:
            self.resync(restore=self._again)
        failed, self._failed = self._failed, set()
        for name in failed:
            self.reload(name)
        for replica in list(engine.replicas.values()):
            if replica.ahead_since is not None and loop_time - replica.ahead_since > AHEAD_SECONDS:
                engine.figures["versions_missed"] += 1
                replica.ahead_since = loop_time
                self.reload(replica.name)
            self._report(replica, loop_time)
        self._patrol.look(loop_time)
        for name in list(self._touched):
            checked = engine.replicas.get(name)
            if checked is None:
                self._touched.discard(name)
            elif engine.mirror.idle(name):
                self._touched.discard(name)
                self.repair(checked)

    def settle(self, name: str) -> None:
        """Enter the members of a channel that have come without being asked."""
        replica = self._engine.replicas.get(name)
        if replica is not None:
            self.touched(name)
            if self._engine.mirror.idle(name):
                self.repair(replica)

    def touched(self, name: str) -> None:
        """Report the number of connections in a channel soon, and check its members later."""
        if name not in self._engine.replicas:
            return
        self._touched.add(name)
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._report_changed)
        self._changed.add(name)

    def _report_changed(self) -> None:
        changed, self._changed = self._changed, set()
        now = asyncio.get_running_loop().time()
        for name in changed:
            replica = self._engine.replicas.get(name)
            if replica is not None:
                self._report(replica, now)

    def _report(self, replica: Replica, loop_time: float) -> None:
        """Report the number of connections, and renew the keys of a channel."""
        audience = self._engine.mirror.audience(replica.name)
        if audience == replica.audience and loop_time - replica.renewed < RENEW_SECONDS:
            return
        replica.audience, replica.renewed = audience, loop_time

        def done(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception) or reply[0] != b"OK":
                replica.audience = None
            if not isinstance(reply, Exception) and reply[0] == b"GONE":
                self.reload(replica.name)

        arguments = self._engine.arguments(replica.name, replica.id, 0.0, audience)
        try:
            self._engine.submit("audience", arguments, done)
        except EngineError as error:
            done(error)

    async def stop(self) -> None:
        """Stop what runs in the background."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
