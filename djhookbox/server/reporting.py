"""The report that the server publishes about itself, for the site's admin.

To subscribers, its channel is like any other: the site decides about them in the usual webhooks.
But its name is reserved, so that nobody else can publish there. The report is not stored, not
counted as an event, and needs no decision.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire.names import RESERVED_PREFIX
from ..wire.values import JSONObject
from .channels.proposals import Proposals
from .core.announcing import compose
from .runtime import Runtime

#: The channel of the reports.
CHANNEL = f"{RESERVED_PREFIX}server"
#: The capability of a site that keeps the channel closed to everyone but its operators. Another
#: application would admit anyone who asks for a channel of that name.
CAPABILITY = "report"
#: Seconds between reports.
INTERVAL = 3.0


class Reporter:
    """Publish reports while the channel has subscribers."""

    def __init__(
        self, runtime: Runtime, proposals: Proposals, report: Callable[[], JSONObject]
    ) -> None:
        self._hub = runtime.hub
        self._proposals = proposals
        self._webhooks = runtime.webhooks
        self._report = report
        self._due = 0.0
        self._readers = 0

    def tick(self, now: float) -> None:
        """Publish a report if it is due; called about once a second."""
        channel = self._hub.channels.get(CHANNEL)
        before, self._readers = self._readers, len(channel.audience) if channel else 0
        if not channel or not self._readers or CAPABILITY not in self._webhooks.accepted:
            return
        # Send new readers a report immediately. A tick may be slightly early, and a clock that was
        # set back must not delay it.
        if self._readers <= before and 0.5 < self._due - now <= INTERVAL:
            return
        self._due = now + INTERVAL
        self._proposals.submit(channel, compose(channel, self._report(), None, now))
