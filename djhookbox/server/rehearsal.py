"""A temporary server whose site allows everything: what `manage.py hookbox bench` measures.

    python -m djhookbox.server.rehearsal

It listens on a free port of the loopback interface and ends with its standard input. The first line
there is the configuration; for each further line, it prints its memory and CPU time. Webhooks are
answered in this process, so what is measured is the server alone.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..wire import replies
from ..wire.replies import ConnectReply
from ..wire.values import dumps, loads
from .app import Server
from .config import ServerConfig
from .inprocess import DirectWebhooks, SiteAnswer
from .metrics import Metrics
from .running import new_loop

#: What the site says that it accepts.
ACCEPTED = {"X-Hookbox-Accepts": "events, recheck, message, prune"}
#: What the site decides about the only channel.
OPTIONS = {"moderated": False, "history_size": 0, "presenceful": False}


class AllowingSite:
    """Answers webhooks at once; each connection belongs to another user."""

    def __init__(self) -> None:
        self._users = 0

    async def __call__(self, hook: str, body: bytes, headers: Mapping[str, str]) -> SiteAnswer:
        """Allow it."""
        reply: object = [True, OPTIONS if hook == "create_channel" else {}]
        if hook == "connect":
            self._users += 1
            name = f"user{self._users:06d}"
            reply = replies.write(ConnectReply(name, identity=f"session:{name}"))
        return SiteAnswer(200, ACCEPTED, dumps(reply).encode())


def figures() -> dict[str, object]:
    """Return the resident memory in bytes, or None if the system does not tell, and CPU seconds."""
    memory: int | None = None
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                memory = int(line.split()[1]) * 1024
    return {"memory": memory, "cpu": time.process_time()}


async def serve(settings: Mapping[str, object]) -> None:
    """Serve until standard input ends.

    Args:
        settings: Fields of `ServerConfig`.

    """
    config = ServerConfig(**{**settings, "port": 0, "interface": "127.0.0.1"})  # type: ignore[arg-type]
    server = Server(config, webhooks=DirectWebhooks(config, Metrics(time.time()), AllowingSite()))
    address = await server.start()
    loop = asyncio.get_running_loop()
    say({"address": address})
    try:
        while await loop.run_in_executor(None, sys.stdin.readline):
            say(figures())
    finally:
        await server.stop()


def say(value: object) -> None:
    """Print a line of JSON."""
    sys.stdout.write(f"{dumps(value)}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the configuration and serve."""
    logging.basicConfig(level=logging.ERROR)  # the lines of each connection would be measured too
    settings = loads(sys.stdin.readline())
    if not isinstance(settings, dict):
        raise SystemExit("the first line must be a JSON object")
    loop = new_loop()
    try:
        loop.run_until_complete(serve(settings))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
