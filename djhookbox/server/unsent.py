"""What waits for all clients together, and whom to drop if it is too much.

Each connection bounds what waits for it; a thousand that do not read could still take a thousand
times as much.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger("djhookbox.server")


class Reader(Protocol):
    """A connection, as far as it matters here."""

    @property
    def unsent(self) -> int:
        """Bytes that wait for the client."""

    def shed(self) -> None:
        """End the connection as too slow, and let go of what waits within a second."""

    def __hash__(self) -> int: ...


class Unsent:
    """Knows the connections for which something waits.

    A socket does not say when its client has read. So those for which something waited are looked
    at again every second, and when it could have become too much.

    Args:
        limit: Bytes that may wait for all of them.

    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slow: dict[Reader, None] = {}
        #: What waited at the last look, and what was written to slow clients since.
        self._estimate = 0
        self._soon = False

    def wrote(self, reader: Reader, size: int) -> None:
        """Note that so many bytes were written to a client that has not read everything yet."""
        self._slow[reader] = None
        self._estimate += size
        if self._estimate > self._limit and not self._soon:
            # Not at once: whoever writes is going through the channel's audience.
            self._soon = True
            asyncio.get_running_loop().call_soon(self.look)

    def look(self) -> None:
        """Count what waits, and drop those for whom most is waiting if it is too much."""
        self._soon = False
        waiting = {reader: size for reader in self._slow if (size := reader.unsent)}
        self._slow = dict.fromkeys(waiting)
        self._estimate = sum(waiting.values())
        if self._estimate <= self._limit:
            return
        dropped = 0
        for reader in sorted(waiting, key=waiting.__getitem__, reverse=True):
            # Some room is made, so that the next byte does not begin it all again.
            if self._estimate <= self._limit * 7 // 8:
                break
            self._estimate -= waiting[reader]
            reader.shed()
            dropped += 1
        logger.warning(
            "%d clients that do not read were dropped: more than %d bytes waited for all of them "
            "(HOOKBOX_MAX_UNSENT_TOTAL)",
            dropped, self._limit,
        )  # fmt: skip
