"""The server under test: `djhookbox.server` with its defaults, configured by options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import time
from pathlib import Path

from djhookbox.server.config import ServerConfig
from djhookbox.server.running import run

from .load import ORIGIN

#: Seconds between two ticks.
TICK = 0.002


def watch(file: Path) -> None:
    """Tick in the running loop; write by how much a tick was late at most, at each SIGUSR1.

    The second number is how much processor time the loop used instead, at most. On a machine that
    shares its processors, a tick is also late because somebody else had the processor.
    """
    loop = asyncio.get_running_loop()
    latest = busiest = 0.0

    def told() -> None:
        nonlocal latest, busiest
        file.write_text(f"{latest} {busiest}\n")
        latest = busiest = 0.0

    async def tick() -> None:
        nonlocal latest, busiest
        while True:
            begin, used = loop.time(), time.thread_time()
            await asyncio.sleep(TICK)
            late = loop.time() - begin - TICK
            latest = max(latest, late)
            busiest = max(busiest, min(late, time.thread_time() - used))

    loop.add_signal_handler(signal.SIGUSR1, told)
    watching.append(loop.create_task(tick()))


#: Keeps the task.
watching: list[asyncio.Task[None]] = []


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook-url", required=True)
    parser.add_argument("--rest-secret", required=True)
    parser.add_argument("--log-level", default="WARNING")
    parser.add_argument("--connect-timeout", type=float, default=10.0)
    parser.add_argument("--webhook-secret", default="")
    parser.add_argument("--accepts", default="", help="what the site accepts, separated by commas")
    parser.add_argument("--per-address", type=int, default=100)
    parser.add_argument("--recovery", type=float, default=60.0, help="seconds; 0 for none")
    parser.add_argument("--engine", default="memory")
    parser.add_argument("--blocks", type=Path, help="where to write how long the loop blocked")
    options = parser.parse_args()
    # As on a site that logs warnings; five thousand "connection open" lines measure the log.
    logging.basicConfig(level=options.log_level)
    run(
        ServerConfig(
            port=options.port,
            connect_timeout=options.connect_timeout,
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret,
            webhook_accepts=frozenset(filter(None, options.accepts.split(","))),
            max_unconnected=max(2000, options.per_address),
            max_unconnected_per_address=options.per_address,
            recovery_seconds=options.recovery,
            engine=options.engine,
            rest_secrets=(options.rest_secret,),
            allowed_origins=(ORIGIN,),
        ),
        on_ready=(lambda address: watch(options.blocks)) if options.blocks else None,
    )


if __name__ == "__main__":
    main()
