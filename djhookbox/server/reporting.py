"""The report that the server publishes about itself, for the page in the site's admin.

To a channel like any other, as far as its subscribers are concerned: the site decides who they
are, on the very webhooks. But its name is reserved, so that nobody else publishes there; and the
report is neither kept, nor counted as an event, nor asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..wire.names import RESERVED_PREFIX
from .channels.streams import Streams
from .core.publishing import compose
from .runtime import Runtime

#: Where the reports go.
CHANNEL = f"{RESERVED_PREFIX}server"
#: What the site says that it accepts if it keeps the channel closed to all but its operators.
#: Another application would let anybody in who asks for a channel of that name.
CAPABILITY = "report"
#: Seconds between reports.
INTERVAL = 3.0


class Reporter:
    """Publishes reports while somebody reads them."""

    def __init__(
        self, runtime: Runtime, streams: Streams, report: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._hub = runtime.hub
        self._streams = streams
        self._webhooks = runtime.webhooks
        self._report = report
        self._due = 0.0
        self._readers = 0

    def tick(self, now: float) -> None:
        """Publish if it is time to; called about once a second."""
        channel = self._hub.channels.get(CHANNEL)
        before, self._readers = self._readers, len(channel.audience) if channel else 0
        if not channel or not self._readers or CAPABILITY not in self._webhooks.accepted:
            return
        # Who comes gets one at once. A tick may come a little early, and a clock that was set
        # back must not hold it up.
        if self._readers <= before and 0.5 < self._due - now <= INTERVAL:
            return
        self._due = now + INTERVAL
        self._streams.submit(channel, compose(channel, self._report(), None, now))
