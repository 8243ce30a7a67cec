"""The memory that the cookies of all connections use."""

from __future__ import annotations

import logging

from ..budget import Budget
from ..connection import BUSY, Connection
from ..refusals import Refusal

#: Bytes of cookies that are kept for each connection whatever the others have.
MIN_COOKIES = 1024

logger = logging.getLogger("djhookbox.server")


class KeptCookies:
    """Limit the cookies of all connections together; each of them is limited elsewhere.

    Args:
        most: Maximum bytes, not counting connections with at most `MIN_COOKIES`.

    """

    def __init__(self, most: int) -> None:
        self._budget = Budget(most)
        self._held: dict[Connection, int] = {}

    def keep(self, connection: Connection, cookies: str) -> None:
        """Record the cookies of a connection.

        Raises:
            Refusal: If there is no room for them.

        """
        self.forget(connection)
        size = len(cookies)
        if size <= MIN_COOKIES:
            return
        if self._budget.used + size > self._budget.limit:
            logger.warning(
                "A connection with %d bytes of cookies was refused: those of all connections may "
                "use %d (HOOKBOX_MAX_COOKIE_BYTES)",
                size, self._budget.limit,
            )  # fmt: skip
            raise Refusal(BUSY, "unavailable")
        self._held[connection] = size
        self._budget.take(size)

    def forget(self, connection: Connection) -> None:
        """Release the cookies of a connection."""
        self._budget.give(self._held.pop(connection, 0))
