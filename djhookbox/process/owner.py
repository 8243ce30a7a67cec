"""End the Hookbox process together with the process that it was started for.

`runserver` may be killed at any moment and cannot clean up then. Therefore the Hookbox process
watches it, rather than the other way round.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from .lockfile import Holder, started_at

#: Seconds between two checks.
INTERVAL = 0.5


def terminate() -> None:
    """Ask this process to stop, as systemd or `kill` would."""
    os.kill(os.getpid(), signal.SIGTERM)


class OwnerWatch(threading.Thread):
    """Calls a function once when another process has ended.

    Args:
        pid: The process to watch. If it has already ended, the function is called immediately.
        gone: The function.
        seconds: The interval between two checks.

    """

    def __init__(
        self, pid: int, gone: Callable[[], object] = terminate, seconds: float = INTERVAL
    ) -> None:
        super().__init__(name="hookbox-owner-watch", daemon=True)
        # The start time distinguishes it from a later process with the same pid.
        self._owner = Holder(pid, started_at(pid))
        self._gone = gone
        self._seconds = seconds
        self._ended = threading.Event()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def run(self) -> None:
        """Check until the other process ends, or `end()` is called."""
        while self._owner.is_alive():
            if self._ended.wait(self._seconds):
                return
        self._gone()
