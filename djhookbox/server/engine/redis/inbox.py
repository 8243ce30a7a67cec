"""The numbered inbox of this node: what other nodes' scripts send to it.

The numbers show what was lost. Nothing is replayed: what may have changed is compared with Redis.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ...tasks import within
from ..base import Unusable
from .codec import name_of
from .connecting import Replies, ask, identify, open_connection
from .link import PAUSES, LinkDown
from .replicas import Followed

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from .engine import RedisEngine

logger = logging.getLogger("djhookbox.server")


class Inbox:
    """Receives messages of other nodes over its own connection."""

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self._number = 0
        self._seen_behind = -1
        self._broken: asyncio.Future[None] | None = None
        self.is_up = False
        self._connections = 0

    async def serve(self) -> None:
        """Receive until cancelled."""
        attempts = 0
        while True:
            try:
                await self._receive()
            except Unusable as problem:
                if attempts == 1:
                    logger.warning("%s", problem)
            except Exception as error:
                logger.warning("The inbox of Redis was lost: %s", str(error) or repr(error))
            if self.is_up:
                attempts = 0
            self.is_up = False
            await asyncio.sleep(PAUSES[min(attempts, len(PAUSES) - 1)])
            attempts += 1

    async def _receive(self) -> None:
        engine = self._engine
        connection = await open_connection(engine.address)
        try:
            await identify(connection, engine.address)
            name = f"{engine.address.prefix}i:{engine.node}"
            # Before subscribing: what follows is either received or noticed as missing.
            self._number, self._seen_behind = int(await ask(connection, "GET", name) or 0), -1
            await ask(connection, "SUBSCRIBE", name)
            self._broken = asyncio.get_running_loop().create_future()
            self.is_up = True
            self._connections += 1
            if self._connections > 1:
                engine.figures["inbox_reconnects"] += 1
                engine.openings.resync()
            reading = asyncio.ensure_future(self._read(connection))
            try:
                await asyncio.wait({reading, self._broken}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
                raise LinkDown("messages are missing")
            finally:
                reading.cancel()
                with suppress(BaseException):
                    await reading
        finally:
            with suppress(Exception):
                await within(1.0, connection.disconnect(nowait=True))

    async def _read(self, connection: AbstractConnection) -> None:
        replies = Replies(connection)
        while True:
            for message in await replies.read():
                if isinstance(message, Exception):
                    raise message
                if message[0] == b"message":
                    try:
                        self.take(message[2])
                    except Exception:
                        logger.exception(
                            "Unexpected error: a message of another node could not be handled"
                        )
                        self._engine.openings.resync()

    def take(self, data: bytes) -> None:
        """Handle one message."""
        head, _, body = data.partition(b"\n")
        words = head.decode().split(" ")
        number = int(words[0])
        if number != self._number + 1:
            self._engine.figures["versions_missed"] += 1
            logger.warning("%d messages of Redis were missed", number - self._number - 1)
            self._engine.openings.resync()
        self._number = number
        if words[1] == "C":
            size = int(words[2])
            change = Followed(words[5], tuple(words[6:]), body[size:])
            self._engine.openings.follow(name_of(body[:size]), words[3], int(words[4]), change)
        elif words[1] == "U":
            size = int(words[2])
            self._engine.users.follow(name_of(body[:size]), words[3], words[4], body[size:])
        elif words[1] == "N":
            self._engine.peers.follow(words[2], words[3], words[4], body)

    def compare(self, number: int) -> None:
        """Compare with the number in Redis; called about once a second."""
        if not self.is_up:
            return
        if number <= self._number:
            self._seen_behind = -1
            return
        # It may still be on its way; but nothing that was there at the last comparison.
        if self._seen_behind >= 0 and self._number < self._seen_behind:
            self._engine.figures["versions_missed"] += 1
            logger.warning("Messages of Redis are missing; connecting again")
            self.reconnect()
        self._seen_behind = number

    def reconnect(self) -> None:
        """Open another connection, which compares everything."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(None)
