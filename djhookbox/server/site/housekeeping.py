"""What the site should do once a day and has nobody else to remind it of: prune its logs."""

from __future__ import annotations

import asyncio
import logging

from ...wire import capabilities, webhooks
from .webhooks import Refusal, Webhooks

logger = logging.getLogger("djhookbox.server")

#: The site has other things to do when the server has just started.
FIRST = 60.0
DAY = 86_400.0
#: After a failure.
HOUR = 3600.0
#: Between calls while the site says that there is more to do: it does a little in each.
BREATH = 2.0


class Housekeeping:
    """Makes the webhook `prune`, where the site has said that it knows it."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def run(self) -> None:
        """Remind for ever; cancelled at the end."""
        pause = FIRST
        while True:
            await asyncio.sleep(pause)
            pause = await self.remind()

    async def remind(self) -> float:
        """Make the webhook; return the seconds until the next one."""
        if capabilities.PRUNE not in self._webhooks.accepted:
            return FIRST  # nobody has connected yet, or the site is another application
        try:
            reply = await self._webhooks.call(webhooks.Prune())
            done = reply.check()
        except Refusal as refusal:
            logger.warning("The logs were not pruned: %s", refusal.reason)
            return HOUR
        return BREATH if done.get("more") is True else DAY
