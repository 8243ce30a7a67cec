"""Remind the site once a day to prune its logs."""

from __future__ import annotations

import asyncio
import logging

from ...wire import capabilities, webhooks
from ..refusals import Refusal
from .webhooks import Webhooks

logger = logging.getLogger("djhookbox.server")

#: Seconds before the first reminder: the site is busy right after the server starts.
FIRST = 60.0
DAY = 86_400.0
#: Seconds to wait after a failure.
HOUR = 3600.0
#: Seconds between calls while the site reports more work: each call does only a little of it.
BREATH = 2.0


class Housekeeping:
    """Make the webhook `prune`, if the site has reported that it supports it."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def run(self) -> None:
        """Remind the site periodically until cancelled."""
        pause = FIRST
        while True:
            await asyncio.sleep(pause)
            pause = await self.remind()

    async def remind(self) -> float:
        """Make the webhook; return the seconds until the next one."""
        if capabilities.PRUNE not in self._webhooks.accepted:
            return FIRST  # nobody has connected yet, or the site is another application
        try:
            reply = await self._webhooks.send(webhooks.Prune())
            done = reply.check()
        except Refusal as refusal:
            logger.warning("The logs were not pruned: %s", refusal.reason)
            return HOUR
        return BREATH if done.more else DAY
