"""Log recurring problems once, then count them.

While the site is down, thousands of clients meet the same failure. Logging it hundreds of times
a second would hide everything else and fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..wire import loglines

#: Seconds after which recurring problems are summed up.
INTERVAL = 10.0
#: Maximum number of different texts per kind to log in an interval.
MOST_TEXTS = 5

_SERVER = tuple(name for name in loglines.LOGGERS if name.startswith("djhookbox.server"))


@dataclass(slots=True)
class _Kind:
    """A kind of problem: all log records from the same line of code.

    Attributes:
        since: When counting began.
        texts: The texts that have been logged since.
        more: The number of records that have not been logged.
        last: The text of the last of these.

    """

    since: float
    texts: set[str] = field(default_factory=set)
    more: int = 0
    last: str = ""


class Repeats(logging.Filter):
    """Let new problems pass, and sum up repeated ones.

    Args:
        interval: Seconds between summaries.
        clock: Returns the time.

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
        """Install the filter on the server's loggers."""
        for name in _SERVER:
            logging.getLogger(name).addFilter(self)

    def uninstall(self) -> None:
        """Remove the filter, and log the remaining counts."""
        for name in _SERVER:
            logging.getLogger(name).removeFilter(self)
        self.sum_up(all_of_it=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; records below WARNING always pass."""
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
        """Log how often problems have recurred, if their interval has passed."""
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
            # A problem that continues is not new: log only its next count.
            self._kinds[name, level, message] = _Kind(now, kind.texts)
            self._summing = True
            try:
                logging.getLogger(name).log(
                    level, "%d more in %d s: %s", kind.more, round(now - kind.since), kind.last
                )
            finally:
                self._summing = False

    async def run(self) -> None:
        """Sum up periodically until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._interval))
            self.sum_up()
