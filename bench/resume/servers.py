"""The Hookbox processes of a run, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.ports import free_port
from tests.stand_ins.waiting import wait_for

#: Seconds to wait for anything.
PATIENCE = 120.0


class Hookbox:
    """A Hookbox process.

    Args:
        port: Where it listens.
        folder: Its run folder.

    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._environment = {
            "RESUME_HOOKBOX_PORT": str(port),
            "RESUME_NODE_URL": f"http://127.0.0.1:{free_port()}",
            "RESUME_RUN_FOLDER": str(folder),
        }
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "django", "runhookbox"],
            env={**os.environ, **self._environment},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(self._answers, "the Hookbox process to answer", PATIENCE, 0.02)

    def _answers(self) -> bool:
        address = f"http://127.0.0.1:{self._port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """Kill it without a chance to close its connections."""
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()

    def pause(self, seconds: float) -> None:
        """Stop it from running for some seconds, with its connections open."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._child.send_signal(signal.SIGCONT)


class Hookboxes:
    """One process, or several nodes that share a Redis."""

    def __init__(self, ports: list[int], folder: Path) -> None:
        self._all = [Hookbox(port, folder / f"run{number}") for number, port in enumerate(ports)]

    def start(self) -> None:
        """Start all."""
        for hookbox in self._all:
            hookbox.start()

    def kill(self) -> None:
        """Kill all."""
        for hookbox in self._all:
            hookbox.kill()

    def strike(self, chance: random.Random) -> None:
        """Kill one of them, and start it again after up to a second."""
        hookbox = chance.choice(self._all)
        hookbox.kill()
        time.sleep(chance.uniform(0.0, 1.0))
        hookbox.start()

    def pause(self, chance: random.Random, seconds: float) -> None:
        """Stop one of them from running for some seconds."""
        chance.choice(self._all).pause(seconds)
