"""Problems that come again and again: told at once, and then counted.

While the site is down each of thousands of clients meets the same failure. A log that says so
hundreds of times a second hides everything else, and fills the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..wire import loglines

#: Seconds after which the problems of a kind are summed up.
INTERVAL = 10.0
#: Different texts of a kind that are logged in that time.
MOST_TEXTS = 5

_SERVER = tuple(name for name in loglines.LOGGERS if name.startswith("djhookbox.server"))


@dataclass(slots=True)
class _Kind:
    """A kind of problem: all records that come from one line of code.

    Attributes:
        since: When counting began.
        texts: What has been logged since.
        more: How many records have not been.
        last: The text of the last of them.

    """

    since: float
    texts: set[str] = field(default_factory=set)
    more: int = 0
    last: str = ""


class Repeats(logging.Filter):
    """Lets through what is new, and sums up the rest.

    Args:
        interval: Seconds after which it is summed up.
        clock: Tells the time.

    """

    def __init__(
        self, interval: float = INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._interval = interval
        self._clock = clock
        self._kinds: dict[tuple[str, int, object], _Kind] = {}
        self._summing = False

    def install(self) -> None:
        """Filter what the loggers of the server log."""
        for name in _SERVER:
            logging.getLogger(name).addFilter(self)

    def uninstall(self) -> None:
        """Filter it no longer, and log what has not been summed up."""
        for name in _SERVER:
            logging.getLogger(name).removeFilter(self)
        self.sum_up(all_of_it=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is logged; all below WARNING are."""
        if record.levelno < logging.WARNING or self._summing:
            return True
        key = (record.name, record.levelno, record.msg)
        kind = self._kinds.setdefault(key, _Kind(self._clock()))
        text = record.getMessage()
        if text not in kind.texts and len(kind.texts) < MOST_TEXTS:
            kind.texts.add(text)
            return True
        kind.more += 1
        kind.last = text
        return False

    def sum_up(self, *, all_of_it: bool = False) -> None:
        """Log how often problems have come again, if their interval has passed."""
        now = self._clock()
        due = [
            key
            for key, kind in self._kinds.items()
            if all_of_it or now - kind.since >= self._interval
        ]
        for name, level, message in due:
            kind = self._kinds.pop((name, level, message))
            if not kind.more:
                continue
            # What goes on is not new: only its next count is told.
            self._kinds[name, level, message] = _Kind(now, kind.texts)
            self._summing = True
            try:
                logging.getLogger(name).log(
                    level, "%d more in %d s: %s", kind.more, round(now - kind.since), kind.last
                )
            finally:
                self._summing = False

    async def run(self) -> None:
        """Sum up for ever; cancelled at the end."""
        while True:
            await asyncio.sleep(min(1.0, self._interval))
            self.sum_up()
