"""Run a supervisor in this process: signals, systemd and the command of its workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..process import spawning
from ..server.systemd import Systemd
from ..wire.urls import bracketed
from .place import Options
from .supervisor import Supervisor

logger = logging.getLogger("djhookbox.workers")

#: Options that are not passed on: those of the supervisor itself, and Django's, which have had
#: their effect on the environment.
OWN = frozenset({
    "worker", "workers", "owner", "log_prefix", "settings", "pythonpath", "stdout", "stderr",
    "verbosity", "traceback", "no_color", "force_color", "skip_checks",
})  # fmt: skip


def supervise(
    listeners: Sequence[socket.socket],
    options: Options,
    grace_period: float,
    on_ready: Callable[[str], None],
) -> None:
    """Run workers until SIGINT or SIGTERM; SIGHUP replaces them one at a time.

    In a terminal, SIGHUP means that the terminal is gone, and stops them.

    Args:
        listeners: One listening socket for each worker.
        options: The options of `runhookbox`.
        grace_period: Seconds that a worker has to stop.
        on_ready: Called with the address once all workers serve.

    Raises:
        ProcessError: The settings are not in a module, or no Python was found.
        WorkersFailed: A worker did not start.

    """
    command = [spawning.interpreter(), "-m", "django", "runhookbox", "--skip-checks", "--worker"]
    supervisor = Supervisor(
        listeners,
        command,
        spawning.environment(),
        {name: value for name, value in options.items() if name not in OWN},
        grace_period,
    )
    try:
        asyncio.run(_supervise(supervisor, lambda: on_ready(_url(listeners[0]))))
    finally:
        for listener in listeners:
            listener.close()


async def _supervise(supervisor: Supervisor, on_ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    systemd = Systemd()

    def stop() -> None:
        systemd.stopping()
        supervisor.stop()

    def ready() -> None:
        systemd.ready()
        on_ready()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    hang_up = stop if has_terminal() else supervisor.roll_over
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await supervisor.run(ready, lambda: systemd.alive(loop.time()))


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{bracketed(host)}:{port}"
