"""The leases of all nodes: renew this one's, and clean up after nodes whose leases have ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....wire.values import JSONObject, dumps, loads
from ..base import EngineError
from .clock import SharedClock
from .codec import name_of, raw
from .link import WAIT_SECONDS, Trial
from .packing import Argument

if TYPE_CHECKING:
    from .engine import RedisEngine

logger = logging.getLogger("djhookbox.server")

#: Seconds between heartbeats.
BEAT_SECONDS = 1.0
#: Channels or users to clean up at a time.
BATCH = 100


@dataclass(frozen=True, slots=True)
class Known:
    """A node, as of the last heartbeat.

    Attributes:
        about: What it says about itself.
        alive: Whether it has a lease.

    """

    about: JSONObject
    alive: bool


class Nodes:
    """The lease of this node, and what is known about the others.

    Attributes:
        known: All nodes by id, this one included.
        clock: The clock that all nodes use.
        about: Returns what this node says about itself.
        departed: Called with a channel and the users who have left it with a dead node.
        disappeared: Called with users who have no node left.

    """

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self.known: dict[str, Known] = {}
        self.clock = SharedClock()
        self.about: Callable[[], JSONObject] = dict
        self.departed: Callable[[str, list[str]], None] = lambda channel, names: None
        self.disappeared: Callable[[list[str]], None] = lambda names: None
        self._registering: asyncio.Task[None] | None = None
        self._calm_since = 0.0
        #: The id of the data of Redis, as of the last registration.
        self.life = b""
        self._reaping: asyncio.Task[None] | None = None

    def arguments(self, user: str, *more: Argument) -> list[Argument]:
        """Return the arguments of a script that concerns nodes or a user."""
        engine = self._engine
        prefix = engine.address.prefix
        return [2, prefix, raw(prefix + user), engine.node, engine.keep_ms, *more]

    def _registration(self) -> list[Argument]:
        return self.arguments(
            "", int(self._engine.lease * 1000), dumps(self.about()), secrets.token_hex(8)
        )

    def trial(self) -> Trial:
        """Return scripts that show whether Redis permits what is needed, and the same channel."""
        scripts = {
            "register": self._registration(),
            "unregister": self.arguments("", self._engine.node),
        }
        return scripts, f"{self._engine.address.prefix}i:{self._engine.node}"

    def _is_emptied(self, life: bytes) -> bool:
        """Return whether Redis has lost everything since this node registered."""
        before, self.life = self.life, life
        return before not in (b"", life)

    # ---- registering -----------------------------------------------------

    async def register_at_once(self) -> bool:
        """Register before anything else is sent over a new connection.

        Returns:
            Whether Redis has lost everything.

        """
        self._calm_since = asyncio.get_running_loop().time()
        asked = self.clock.elapsed()
        reply = await self._engine.link.at_once("register", self._registration())
        self.clock.read(reply[3], asked)
        return self._is_emptied(reply[2])

    async def register(self) -> None:
        """Register again, and compare everything: others may have cleaned up after this node.

        Raises:
            EngineError: If it was not done.

        """
        if self._registering is None or self._registering.done():
            self._registering = asyncio.ensure_future(self._register())
        await asyncio.shield(self._registering)

    def lost(self) -> None:
        """Register again, in the background."""
        task = asyncio.ensure_future(self.register())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _register(self) -> None:
        engine = self._engine
        engine.parking.close()
        self._calm_since = asyncio.get_running_loop().time()
        logger.warning("This node had lost its lease")
        engine.figures["leases_lost"] += 1
        reply = await engine.link.run("register", self._registration())
        emptied = self._is_emptied(reply[2])
        engine.openings.resync(restore=emptied)
        engine.parking.resend()

    async def leave(self) -> None:
        """Remove what Redis has of this node; its clients have left before."""
        for name in list(self._engine.replicas):
            await self._engine.openings.release(name)
        await self._engine.link.run("unregister", self.arguments("", self._engine.node))

    # ---- heartbeats ------------------------------------------------------

    async def beat(self) -> None:
        """Renew the lease every second until cancelled."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._engine.parking.give_up(asyncio.get_running_loop().time() - WAIT_SECONDS)
            try:
                if self._engine.link.is_up:
                    await self.beat_once()
            except EngineError:
                pass  # the link reports it
            except Exception:
                logger.exception("Unexpected error: the heartbeat failed")

    async def beat_once(self) -> None:
        """Renew the lease, compare the inbox, and clean up after dead nodes.

        Raises:
            EngineError: If it was not done.

        """
        engine, asked = self._engine, self.clock.elapsed()
        reply = await engine.link.run("beat", self._registration())
        if reply[0] == b"LEASE":
            await self.register()
            return
        if self._registering is None or self._registering.done():
            engine.parking.resend()  # if a registration has failed, but another has not
        self.clock.read(reply[3], asked)
        engine.inbox.compare(int(reply[1]))
        flat = reply[2]
        self.known = {
            node.decode(): Known(loads(about), bool(alive))
            for node, about, alive in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        }
        now = asyncio.get_running_loop().time()
        engine.openings.look(now)
        dead = [node for node, known in self.known.items() if not known.alive]
        # After Redis was away, the leases of living nodes have ended as well.
        calm = now - max(self._calm_since, engine.link.up_since) > engine.lease
        if dead and calm and (self._reaping is None or self._reaping.done()):
            self._reaping = asyncio.ensure_future(self._reap(dead))
            self._reaping.add_done_callback(_report)

    @property
    def others(self) -> list[str]:
        """The other nodes that have a lease."""
        return [n for n, known in self.known.items() if known.alive and n != self._engine.node]

    # ---- dead nodes ------------------------------------------------------

    async def _reap(self, dead: list[str]) -> None:
        engine = self._engine
        for node in dead:
            reply = await engine.ask("left", self.arguments("", node))
            if reply[0] != b"OK":
                continue
            channels, users = map(name_of, reply[1]), map(name_of, reply[2])
            for name in channels:
                arguments = engine.arguments(name, "", self.clock(), node)
                answer = await engine.ask("reap", arguments)
                if answer[0] == b"ALIVE":
                    break
                if len(answer) > 1 and answer[1]:
                    self.departed(name, [name_of(user) for user in answer[1]])
                elif len(answer) > 2 and answer[2] == b"1":
                    self.departed(name, [])  # empty, and perhaps no node is left that knows it
            gone = []
            for name in users:
                answer = await engine.ask("depart", self.arguments(name, node))
                if answer[0] == b"OK" and answer[1] == b"1":
                    gone.append(name)
            self.disappeared(gone)
            await engine.ask("unregister", self.arguments("", node))
            logger.warning("Cleaned up after node %s, which no longer responds", node)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        if isinstance(error, EngineError):
            logger.warning("Cleaning up after a node failed: %s", error)
        else:
            logger.error("Cleaning up after a node failed", exc_info=error)
