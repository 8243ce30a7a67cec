"""Users whose connections are on several nodes: state machines of their own in Redis."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from ....wire.fields import ABSENT
from ....wire.options import UserOptions
from ....wire.values import JSON, JSONObject, dumps
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

    def options(self, name: str, options: UserOptions) -> None:
        """Replace the options of a user."""

    def joins(
        self,
        name: str,
        channel: str,
        *,
        by_code: bool,
        initial_data: JSON,
        displaced: list[JSON] | None = None,
    ) -> None:
        """Let all connections of a user join a channel.

        Args:
            name: The user.
            channel: The channel.
            by_code: Whether the site's code has subscribed the user.
            initial_data: What the site has returned for the subscriber, or `ABSENT`.
            displaced: The history entries that the arrival of the user displaced, or None.

        """

    def leaves(self, name: str, channel: str, *, everyone: bool, reason: str) -> None:
        """Let connections of a user leave a channel.

        Args:
            name: The user.
            channel: The channel.
            everyone: Whether connections with subscriptions of their own leave too.
            reason: Why, for the pages; may be empty.

        """

    def present(self) -> dict[str, tuple[UserOptions, list[str]]]:
        """Return the users who are connected here, with the channels that all connections share."""
        return {}

    def shares(self, name: str, joined: list[str], left: list[str]) -> None:
        """Let all connections of a user join some channels, and leave others."""


class Users:
    """What this node tells others about its users, and the reverse."""

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self.followers = Followers()
        #: Departures since Redis lost data: other nodes may not have been notified.
        self._left: dict[tuple[str, str], JSONObject] = {}

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
        self._left.pop((name, channel), None)
        details: JSONObject = {"by_code": change.by_code}
        displaced = self._engine.mirror.displaced(channel, name)
        if displaced is not None:
            details["displaced"] = displaced
        if change.initial_data is not ABSENT:
            details["initial_data"] = change.initial_data
        self._share("+", name, channel, details)

    def leaves(self, name: str, channel: str, change: Unsubscribe) -> None:
        """Tell the user's other nodes that connections leave a channel."""
        everyone = change.connection is None or change.user.options.global_unsubscriptions
        details: JSONObject = {"everyone": everyone, "reason": change.reason}
        if self._engine.openings.is_lenient:
            self._left[name, channel] = details
        else:
            self._left.clear()
        self._share("-", name, channel, details)

    def left(self, name: str, channel: str) -> None:
        """Record that a user has left a channel with the last connection."""
        self._share("-", name, channel, {"everyone": False, "reason": ""})

    def _share(self, sign: str, name: str, channel: str, details: JSONObject) -> None:
        engine = self._engine
        arguments = engine.nodes.arguments(name, sign, raw(channel), dumps(details))

        def done(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception):
                logger.warning("Other nodes were not notified about %r: %s", name, reply)

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
            self.followers.options(name, UserOptions(**read(body)))
            return
        size = int(head)
        channel, details = name_of(body[:size]), read(body[size:])
        left = self._left.get((name, channel))
        if kind == "+" and details.get("restored") and left is not None:
            self._share("-", name, channel, left)
        elif kind == "+":
            initial = details.get("initial_data", ABSENT)
            self.followers.joins(
                name, channel, by_code=bool(details["by_code"]), initial_data=initial,
                displaced=details.get("displaced"),
            )  # fmt: skip
        else:
            self.followers.leaves(
                name, channel, everyone=bool(details["everyone"]), reason=details["reason"]
            )

    async def repair(self, restore: bool) -> None:
        """Compare all users of this node with Redis.

        Args:
            restore: Whether Redis has lost data: what other nodes have not entered yet is kept.

        Raises:
            EngineError: If it was not done.

        """
        present = list(self.followers.present().items())
        for start in range(0, len(present), BATCH):
            await asyncio.gather(
                *(
                    self._repair(name, *known, restore)
                    for name, known in present[start : start + BATCH]
                )
            )

    async def _repair(
        self, name: str, options: UserOptions, channels: list[str], restore: bool
    ) -> None:
        first, _, shared = await self.arrive(name, options)
        # Only channels that differed at that time: here, the user may have moved on since.
        joined = [channel for channel in shared if channel not in channels]
        left = [channel for channel in channels if channel not in shared]
        if first or restore:
            for channel in left:
                self._share("+", name, channel, {"by_code": False, "restored": True})
            left = []
        self.followers.shares(name, joined, left)
