"""Notify systemd: `Type=notify`, and its watchdog."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Systemd:
    """Tell systemd the state of the process; without systemd, nothing happens.

    Args:
        environment: The environment variables.

    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        # A child of the service has the variables too, but they are not meant for it.
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micros = environment.get("WATCHDOG_USEC", "") if mine else ""
        #: Seconds between signs of life, half of what systemd waits for; 0 without a watchdog.
        self.interval = int(micros) / 2_000_000 if micros.isdecimal() else 0.0
        self._alive = 0.0

    def ready(self) -> None:
        """Report that the process listens."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the process stops."""
        self._send("STOPPING=1")

    def alive(self, now: float) -> None:
        """Report that the event loop runs, as often as the watchdog wants; called once a second."""
        if self.interval and now - self._alive >= self.interval - 1:
            self._alive = now
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # An address with @ is in the abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.setblocking(False)
                notify.sendto(text.encode(), address)
        except OSError:
            pass  # systemd then acts as it is configured to
