"""Users whose connections are on several nodes: state machines of their own in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ....wire.fields import ABSENT
from ....wire.options import UserOptions
from ....wire.values import dumps
from ...core.changes import Subscribe, Unsubscribe
from ..base import EngineError
from .codec import name_of, raw, read
from .connecting import Reply

if TYPE_CHECKING:
    from .engine import RedisEngine

logger = logging.getLogger("djhookbox.server")

#: Users to compare at a time.
BATCH = 100


class Followers:
    """Carries out what other nodes decide about users; this one does nothing."""

    def options(self, name: str, given: dict[str, Any]) -> None:
        """Replace the options of a user."""

    def joins(self, name: str, channel: str, details: dict[str, Any]) -> None:
        """Let all connections of a user join a channel."""

    def leaves(self, name: str, channel: str, details: dict[str, Any]) -> None:
        """Let connections of a user leave a channel."""

    def present(self) -> dict[str, tuple[UserOptions, list[str]]]:
        """Return the users who are connected here, with the channels that all connections share."""
        return {}

    def shares(self, name: str, channels: list[str]) -> None:
        """Let a user be in exactly these channels with all connections."""


class Users:
    """What this node tells others about its users, and the reverse."""

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self.followers = Followers()

    # ---- what happens here -----------------------------------------------

    async def arrive(self, name: str, options: UserOptions) -> tuple[bool, bool, list[str]]:
        """Record that a user has a connection here.

        Returns:
            Whether it is the user's first node, whether the state of a channel shows the user,
            and the channels that all connections of the user are in.

        Raises:
            EngineError: If it was not done.

        """
        engine = self._engine
        arguments = engine.nodes.arguments(name, dumps(asdict(options)))
        reply = await engine.ask("arrive", arguments)
        return reply[1] == b"1", reply[2] == b"1", [name_of(each) for each in reply[3]]

    async def depart(self, name: str) -> tuple[bool, bool]:
        """Record that a user has no connection here any more.

        Returns:
            Whether the user is gone from all nodes, and whether the state of a channel shows it.

        Raises:
            EngineError: If it was not done.

        """
        engine = self._engine
        reply = await engine.ask("depart", engine.nodes.arguments(name, engine.node))
        return reply[1] == b"1", reply[2] == b"1"

    def joins(self, name: str, channel: str, change: Subscribe) -> None:
        """Tell the user's other nodes about a subscription for all connections."""
        details: dict[str, Any] = {"by_code": change.by_code}
        if change.initial_data is not ABSENT:
            details["initial_data"] = change.initial_data
        self._share("+", name, channel, details)

    def leaves(self, name: str, channel: str, change: Unsubscribe) -> None:
        """Tell the user's other nodes that connections leave a channel."""
        everyone = change.connection is None or change.user.options.global_unsubscriptions
        self._share("-", name, channel, {"everyone": everyone, "reason": change.reason})

    def left(self, name: str, channel: str) -> None:
        """Record that a user has left a channel with the last connection."""
        self._share("-", name, channel, {"everyone": False, "reason": ""})

    def _share(self, sign: str, name: str, channel: str, details: dict[str, Any]) -> None:
        engine = self._engine
        arguments = engine.nodes.arguments(name, sign, raw(channel), dumps(details))

        def done(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception):
                logger.warning("Other nodes were not told about %r: %s", name, reply)

        try:
            engine.submit("share", arguments, done)
        except EngineError as error:
            done(error)

    # ---- questions -------------------------------------------------------

    async def nodes_of(self, name: str) -> list[str]:
        """Return the nodes that have connections of a user.

        Raises:
            EngineError: If that cannot be found out.

        """
        reply = await self._engine.ask("whereis", self._engine.nodes.arguments(name))
        return [node.decode() for node in reply[1]]

    async def watch(self, names: list[str], now: float) -> None:
        """Record whose presence the states of channels show.

        Raises:
            EngineError: If it was not done.

        """
        if names:
            arguments = self._engine.nodes.arguments("", repr(now), *map(raw, names))
            await self._engine.ask("watch", arguments)

    async def spend(self, digest: str, connection: str, seconds: float) -> bool:
        """Use a token that is valid for one connection; return whether it is this one.

        Raises:
            EngineError: If that cannot be found out.

        """
        arguments = self._engine.nodes.arguments(digest, int(seconds * 1000), connection)
        reply = await self._engine.ask("spend", arguments)
        return bool(reply[1] == b"1")

    # ---- what others do --------------------------------------------------

    def follow(self, name: str, kind: str, head: str, body: bytes) -> None:
        """Handle a message about a user."""
        if kind == "O":
            self.followers.options(name, read(body))
            return
        size = int(head)
        channel, details = name_of(body[:size]), read(body[size:])
        act: Callable[[str, str, dict[str, Any]], None] = self.followers.leaves
        if kind == "+":
            act = self.followers.joins
        act(name, channel, details)

    async def repair(self) -> None:
        """Compare all users of this node with Redis.

        Raises:
            EngineError: If it was not done.

        """
        present = list(self.followers.present().items())
        for start in range(0, len(present), BATCH):
            await asyncio.gather(
                *(self._repair(name, *known) for name, known in present[start : start + BATCH])
            )

    async def _repair(self, name: str, options: UserOptions, channels: list[str]) -> None:
        first, _, shared = await self.arrive(name, options)
        if first:
            # Redis knew nothing of the user: what this node has is what there is.
            for channel in channels:
                self._share("+", name, channel, {"by_code": False})
            shared = channels
        self.followers.shares(name, shared)
