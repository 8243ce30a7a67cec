"""The Hookbox processes of a run, which can be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

from bench.procfs import children
from tests.ports import free_port
from tests.stand_ins.waiting import wait_for

#: Seconds to wait for anything.
PATIENCE = 120.0


class Hookbox:
    """A Hookbox process.

    Args:
        port: Where it listens.
        folder: Its run folder.
        options: Options of `runhookbox`.

    """

    def __init__(self, port: int, folder: Path, *options: str) -> None:
        self._port = port
        self._options = options
        self._environment = {
            "RESUME_HOOKBOX_PORT": str(port),
            "RESUME_NODE_URL": f"http://127.0.0.1:{free_port()}",
            "RESUME_RUN_FOLDER": str(folder),
        }
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "django", "runhookbox", *self._options],
            env={**os.environ, **self._environment},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(self._answers, "the Hookbox process to answer", PATIENCE, 0.02)

    def _answers(self) -> bool:
        address = f"http://127.0.0.1:{self._port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    def info(self, channel: str) -> dict[str, Any] | None:
        """Return what it knows about a channel, or None if it does not answer."""
        from djhookbox.conf import settings

        form = {"secret": settings.rest_secrets[0], "channel_name": channel}
        address = f"http://127.0.0.1:{self._port}/rest/get_channel_info"
        try:
            with urllib.request.urlopen(address, urlencode(form).encode(), timeout=5) as answer:
                success, found = json.load(answer)
        except (OSError, ValueError):
            return None
        return found if success else None

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


class Workers(Hookbox):
    """Several nodes behind one port, with a supervisor."""

    def __init__(self, port: int, folder: Path, count: int) -> None:
        super().__init__(port, folder, "--workers", str(count))
        self.count = count

    def kill(self) -> None:
        """Kill the supervisor, and wait until its workers have noticed it."""
        workers = self._workers()
        super().kill()
        wait_for(lambda: not any(map(_is_alive, workers)), "the workers to end", PATIENCE)

    def infos(self, channel: str) -> list[dict[str, Any] | None]:
        """Return what the worker that happens to answer knows about a channel, several times."""
        return [self.info(channel) for _ in range(4 * self.count)]

    def strike(self, chance: random.Random) -> None:
        """Kill one of the workers."""
        os.kill(chance.choice(self._workers()), signal.SIGKILL)

    def roll_over(self) -> None:
        """Let the supervisor replace all workers, and wait until it has."""
        assert self._child is not None
        before = set(self._workers())
        self._child.send_signal(signal.SIGHUP)
        wait_for(lambda: not before & set(self._workers()), "the workers to be replaced", PATIENCE)

    def pause(self, chance: random.Random, seconds: float) -> None:
        """Stop one of the workers; the supervisor may kill it in the meantime."""
        worker = chance.choice(self._workers())
        os.kill(worker, signal.SIGSTOP)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)

    def _workers(self) -> list[int]:
        return [] if self._child is None else children(self._child.pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Hookboxes:
    """One process, or several nodes that share a Redis."""

    def __init__(self, ports: list[int], folder: Path) -> None:
        self.count = len(ports)
        self._all = [Hookbox(port, folder / f"run{number}") for number, port in enumerate(ports)]

    def start(self) -> None:
        """Start all."""
        for hookbox in self._all:
            hookbox.start()

    def infos(self, channel: str) -> list[dict[str, Any] | None]:
        """Return what each knows about a channel."""
        return [hookbox.info(channel) for hookbox in self._all]

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


#: What the runs start and strike.
Servers: TypeAlias = Hookboxes | Workers
