"""The unsent bytes of all clients together, and which clients to drop if there are too many.

Each connection limits its own unsent bytes, but a thousand clients that do not read could still
use a thousand times that limit.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger("djhookbox.server")


class Reader(Protocol):
    """The part of a connection's interface that is used here."""

    @property
    def unsent(self) -> int:
        """Number of bytes waiting for the client."""

    def shed(self) -> None:
        """End the connection as too slow, and release its waiting bytes within a second."""

    def __hash__(self) -> int: ...


class Unsent:
    """Track the connections that have unsent bytes.

    A socket does not report when its client has read. Connections that had unsent bytes are
    therefore checked again every second, and whenever the total may exceed the limit.

    Args:
        limit: Maximum number of unsent bytes in total.

    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slow: dict[Reader, None] = {}
        #: The total at the last check, plus what was written to slow clients since.
        self._estimate = 0
        self._soon = False

    @property
    def clients(self) -> int:
        """The number of clients with unsent bytes at the last check."""
        return len(self._slow)

    @property
    def total(self) -> int:
        """The number of unsent bytes, estimated since the last check."""
        return self._estimate

    def wrote(self, reader: Reader, size: int) -> None:
        """Record a write to a client that has not read everything yet."""
        self._slow[reader] = None
        self._estimate += size
        if self._estimate > self._limit and not self._soon:
            # Not immediately: the caller is iterating over the channel's audience.
            self._soon = True
            asyncio.get_running_loop().call_soon(self.look)

    def look(self) -> None:
        """Count the unsent bytes; if there are too many, drop the clients that have most."""
        self._soon = False
        waiting = {reader: size for reader in self._slow if (size := reader.unsent)}
        self._slow = dict.fromkeys(waiting)
        self._estimate = sum(waiting.values())
        if self._estimate <= self._limit:
            return
        dropped = 0
        for reader in sorted(waiting, key=waiting.__getitem__, reverse=True):
            # Make some room, so that the next byte does not start this again.
            if self._estimate <= self._limit * 7 // 8:
                break
            self._estimate -= waiting[reader]
            reader.shed()
            dropped += 1
        logger.warning(
            "Clients that do not read were dropped: %d, because more than %d bytes waited for all "
            "clients (HOOKBOX_MAX_UNSENT_TOTAL)",
            dropped, self._limit,
        )  # fmt: skip
