"""Ask the site about a session when it expires, so that its connections do not outlive it."""

from __future__ import annotations

import asyncio

from ..runtime import Runtime
from .confirming import Confirming

#: Seconds between looks at the clock, and until the site is asked again if it does not answer.
LOOK, RETRY_SECONDS = 1.0, 5.0


class Expiring:
    """Confirm the identities of connections whose sessions should have expired.

    A session may have been prolonged in the meantime; then the site names the new time.
    """

    def __init__(self, runtime: Runtime, confirming: Confirming) -> None:
        self._connections = runtime.connections
        self._expiries = runtime.expiries
        self._confirming = confirming

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Ask about the sessions that should have expired by now."""
        due = self._expiries.due()
        if due and not await self._confirming.confirm(due, strictly=True):
            for connection in due:
                self._expiries.set(connection, RETRY_SECONDS)
        self._expiries.tidy(len(self._connections))
