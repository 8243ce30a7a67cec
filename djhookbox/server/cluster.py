"""This node among others: users, messages and calls that concern all nodes.

The engine handles channels; this module handles what needs no common order. A single server does
not use it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

from ..wire import records
from ..wire.answers import NodeInfo
from ..wire.events import Unsubscribed
from ..wire.options import UserOptions
from ..wire.rest import Disconnect
from ..wire.values import JSON, JSONObject
from .channels.outcomes import EngineFailed
from .channels.replication import Replication
from .channels.shared import SharedProposals
from .core.messages import message
from .engine.base import EngineError
from .refusals import Refusal
from .routes import Route
from .runtime import Runtime

if TYPE_CHECKING:
    from .engine.redis.engine import RedisEngine
    from .engine.redis.peers import Answer

logger = logging.getLogger("djhookbox.server")

#: Seconds to wait for other nodes to close connections.
DISCONNECT_SECONDS = 0.5
#: Seconds between attempts to record a departure.
PAUSE = 1.0
#: Seconds between renewals of whose presence is watched.
WATCH_SECONDS = 60.0


class _Message(TypedDict):
    """A message from one user to another, as nodes pass it on."""

    sender: str
    recipient: str
    payload: JSON
    at: float
    reflect: bool


class Cluster:
    """What this node tells and asks the others.

    Args:
        shared: The engine that they share.

    """

    def __init__(self, shared: RedisEngine) -> None:
        self.shared = shared
        self._arriving: Counter[str] = Counter()
        #: How other nodes reach this one.
        self.route = Route()
        self._watched_at = 0.0
        self._departing = 0
        #: Whether other nodes are being woken, and whether they must be again after that.
        self._waking = self._wakes_again = False
        self._runtime: Runtime
        self._proposals: SharedProposals

    def bind(self, runtime: Runtime, proposals: SharedProposals) -> None:
        """Set the parts of the server, once they exist."""
        self._runtime, self._proposals = runtime, proposals
        shared = self.shared
        Replication(runtime, proposals, shared)
        shared.nodes.about = self._about
        shared.nodes.departed = self._reaped
        shared.nodes.disappeared = self._disappeared
        shared.peers.answers |= {
            "message": self._on_message,
            "disconnect": self._on_disconnect,
            "presence": self._on_presence,
        }

    def clock(self, own: Callable[[], float]) -> Callable[[], float]:
        """Return the clock of all nodes, given this one's, which is used until it is known."""
        self.shared.nodes.clock.fallback = own
        return self.shared.nodes.clock

    def answer(self, kind: str, call: Answer) -> None:
        """Answer calls of other nodes."""
        self.shared.peers.answers[kind] = call

    def wake_others(self) -> None:
        """Let the other nodes pull what the site has committed, with one message at a time."""
        self._wakes_again = True
        if not self._waking:
            self._waking = True
            self._runtime.tasks.start(self._wake_others())

    async def _wake_others(self) -> None:
        try:
            while self._wakes_again:
                self._wakes_again = False
                with suppress(EngineError):  # they look by themselves
                    await self.shared.peers.tell("poke", None)
        finally:
            self._waking = False

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Return all nodes by address: this one as of now, the others as of the last heartbeat."""
        own = {self.shared.node: self._about()}
        found = [
            records.read(
                NodeInfo,
                {**own.get(node, known.about), "id": node, "alive": known.alive},
                lenient=True,
            )
            for node, known in self.shared.nodes.known.items()
        ]
        return tuple(sorted(found, key=lambda node: (node.address, node.id)))

    def route_to(self, node: str) -> Route | None:
        """Return the route to another node, or None if there is no such node."""
        known = self.shared.nodes.known.get(node)
        if known is None or not known.alive:
            return None
        return records.read(Route, known.about.get("route", {}), lenient=True)

    async def start(self) -> None:
        """Connect.

        Raises:
            Unusable: If Redis cannot be used.

        """
        clock = self.shared.nodes.clock
        before = clock.fallback() - self._runtime.metrics.started
        await self.shared.start()
        self._runtime.metrics.started = clock() - before

    async def stop(self) -> None:
        """Leave, once the departures of the clients are stored."""
        deadline = asyncio.get_running_loop().time() + 2.0
        while self._departing and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self.shared.stop()

    def _about(self) -> JSONObject:
        runtime = self._runtime
        return {
            "host": socket.gethostname()[:64],
            "port": runtime.config.port,
            "address": runtime.events.address,
            "pid": os.getpid(),
            "version": runtime.config.version,
            "started": runtime.metrics.started,
            "connections": len(runtime.connections),
            "users": len(runtime.hub.users),
            "channels": len(runtime.hub.channels),
            "lag": round(runtime.metrics.loop_lag, 4),
            "round_trip": self.shared.link.latest,
            **self.shared.figures,
            "route": asdict(self.route),
        }

    # ---- users who come and go -------------------------------------------

    async def arrive(self, name: str, options: UserOptions) -> None:
        """Enter a user before a connection joins, and open the channels that it then joins.

        Raises:
            EngineFailed: If that is impossible.

        """
        self._arriving[name] += 1
        try:
            first, watched, channels = await self.shared.users.arrive(name, options)
            outcomes = await asyncio.gather(
                *(self._proposals.attach(channel) for channel in channels), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, Refusal):
                    raise outcome
        except EngineError as error:
            logger.error("The engine failed for the user %r: %s", name, error)
            raise EngineFailed from None
        finally:
            self._arriving[name] -= 1
            if not self._arriving[name]:
                del self._arriving[name]
        if first and watched:
            self._runtime.tasks.start(self._tell_presence(name))

    def here(self, name: str) -> bool:
        """Return whether a user is connected here, or about to be."""
        return name in self._runtime.hub.users or name in self._arriving

    async def depart(self, name: str) -> bool:
        """Record that a user has no connection here, until it succeeds.

        Returns:
            Whether that was the user's last node.

        """
        self._departing += 1
        try:
            while not self.here(name):
                try:
                    last, watched = await self.shared.users.depart(name)
                except EngineError:
                    await asyncio.sleep(PAUSE)
                    continue
                if self.here(name):  # came back in the meantime
                    user = self._runtime.hub.users.get(name)
                    if user is not None:
                        self._runtime.tasks.start(self._again(name, user.options))
                    return False
                if last and watched:
                    self._runtime.tasks.start(self._tell_presence(name))
                return last
            return False
        finally:
            self._departing -= 1

    async def _again(self, name: str, options: UserOptions) -> None:
        try:
            await self.shared.users.arrive(name, options)
        except EngineError as error:
            logger.warning("The user %r could not be registered again: %s", name, error)

    async def is_anywhere(self, name: str) -> bool:
        """Return whether a user is connected to any node.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        return name in self._runtime.hub.users or bool(await self.nodes_of(name))

    async def nodes_of(self, name: str) -> list[str]:
        """Return the other nodes that have connections of a user.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        try:
            nodes = await self.shared.users.nodes_of(name)
        except EngineError as error:
            logger.error("The engine failed for the user %r: %s", name, error)
            raise EngineFailed from None
        return [node for node in nodes if node != self.shared.node]

    # ---- presence that states show ---------------------------------------

    async def _tell_presence(self, name: str) -> None:
        try:
            await self.shared.peers.tell("presence", name)
        except EngineError as error:
            logger.warning(
                "Could not tell other nodes whether %r is connected here: %s", name, error
            )
        await self._on_presence(name)

    async def _on_presence(self, name: str) -> None:
        delivery, hub = self._runtime.delivery, self._runtime.hub
        delivery.perform(hub.presence_due(name))

    async def watch(self, now: float) -> None:
        """Record whose presence the channels here show; called about once a second."""
        if abs(now - self._watched_at) < WATCH_SECONDS:
            return
        self._watched_at = now
        await self.watch_now(now)

    async def watch_now(self, now: float) -> None:
        """Record whose presence the channels here show."""
        names = {
            name
            for channel in self._runtime.hub.watching
            for name in channel.options.server_user_presence
        }
        try:
            await self.shared.users.watch(sorted(names), now)
        except EngineError as error:
            logger.warning("Could not store in Redis whose presence is shown: %s", error)

    # ---- messages --------------------------------------------------------

    async def message(
        self, sender: str, recipient: str, payload: JSON, reflect: bool
    ) -> int | None:
        """Send a user a message on all nodes, at most once.

        Returns:
            The number of connections, or None if there is no such user.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        hub, now = self._runtime.hub, self._runtime.clock()
        nodes = await self.nodes_of(recipient)
        if not nodes and recipient not in hub.users:
            return None
        effects, delivered = message(
            hub, sender, recipient, payload, now, reflect, elsewhere=bool(nodes)
        )
        self._runtime.delivery.perform(effects)
        mirrors = await self.nodes_of(sender) if reflect and sender != recipient else []
        call: _Message = {
            "sender": sender, "recipient": recipient, "payload": payload, "at": now,
            "reflect": reflect,
        }  # fmt: skip
        try:
            asked = await self.shared.peers.ask("message", call, [*{*nodes, *mirrors}])
        except EngineError as error:
            logger.error("A message to %r did not reach other nodes: %s", recipient, error)
            raise EngineFailed from None
        reached: int = delivered + sum(asked.by_node.values())
        return reached

    async def _on_message(self, call: _Message) -> int:
        effects, delivered = message(
            self._runtime.hub, call["sender"], call["recipient"], call["payload"], call["at"],
            call["reflect"], elsewhere=True,
        )  # fmt: skip
        self._runtime.delivery.perform(effects)
        return delivered

    # ---- connections -----------------------------------------------------

    async def disconnect(self, request: Disconnect) -> tuple[int, list[str]]:
        """Close connections on the other nodes.

        Returns:
            Their number, and the nodes that did not answer in time.

        """
        try:
            asked = await self.shared.peers.ask(
                "disconnect", asdict(request), seconds=DISCONNECT_SECONDS
            )
        except EngineError as error:
            logger.error("Other nodes were not asked to close connections: %s", error)
            return 0, self.shared.nodes.others
        if asked.missing:
            logger.warning("No answer to a disconnect from %s", ", ".join(asked.missing))
        return sum(asked.by_node.values()), asked.missing

    def disconnect_later(self, request: Disconnect) -> None:
        """Close connections on the other nodes, in the background."""

        async def work() -> None:
            await self.disconnect(request)

        self._runtime.tasks.start(work())

    async def _on_disconnect(self, call: JSONObject) -> int:
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in call.items()}
        return self._runtime.connections.disconnect(Disconnect(**values))

    async def spend(self, token: str, connection: str, seconds: float) -> bool:
        """Use a token that is valid for one connection; return whether it is this one.

        Raises:
            EngineFailed: If that cannot be found out.

        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        try:
            return await self.shared.users.spend(digest, connection, seconds)
        except EngineError as error:
            logger.error("The engine failed for a token: %s", error)
            raise EngineFailed from None

    # ---- dead nodes ------------------------------------------------------

    def _reaped(self, channel: str, names: list[str]) -> None:
        """Report who left a channel with a dead node; an empty one is destroyed when idle."""
        for name in names:
            self._runtime.events.add(Unsubscribed(channel, name, by="disconnect"))
        self._runtime.tasks.start(self._adopt(channel))

    async def _adopt(self, name: str) -> None:
        try:
            await self._proposals.attach(name)
        except Refusal as refusal:
            logger.warning("The channel %r of a dead node could not be opened: %s", name, refusal)

    def _disappeared(self, names: list[str]) -> None:
        for name in names:
            self._runtime.tasks.start(self._tell_presence(name))
