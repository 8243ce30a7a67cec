"""Run a server as a process: its event loop, signals, and an end that nothing can delay."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from .app import Server
from .config import ServerConfig
from .repeats import Repeats
from .tasks import within

logger = logging.getLogger("djhookbox.server")


def run(
    config: ServerConfig,
    *,
    on_ready: Callable[[str], None] | None = None,
    listener: socket.socket | None = None,
    lifeline: socket.socket | None = None,
    on_alive: Callable[[], None] | None = None,
) -> None:
    """Run a server until SIGINT or SIGTERM, on uvloop if it is installed.

    Args:
        config: The validated configuration.
        on_ready: Called with the address once the server listens.
        listener: A listening socket, instead of the configured address.
        lifeline: A connected socket; the server stops when its other end is closed.
        on_alive: Called about once a second while the server listens.

    Raises:
        OSError: If the server cannot listen on the address.

    """
    loop = new_loop()
    try:
        loop.run_until_complete(_main(config, on_ready, listener, lifeline, on_alive))
    finally:
        loop.run_until_complete(_end_rest())
        loop.close()


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop: uvloop's, if that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _main(
    config: ServerConfig,
    on_ready: Callable[[str], None] | None,
    listener: socket.socket | None,
    lifeline: socket.socket | None,
    on_alive: Callable[[], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    server = Server(config)
    stopping = asyncio.Event()
    # Install these first: a process that sees the port open may send a signal immediately.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if lifeline is not None:

        def hung_up() -> None:
            loop.remove_reader(lifeline)  # it stays readable
            stopping.set()

        loop.add_reader(lifeline, hung_up)
    address = await server.start(listener)
    logger.info("Listening on %s, webhooks go to %s", address, config.shown(config.webhook_url))
    repeats = Repeats()
    repeats.install()
    summing_up = loop.create_task(repeats.run())
    if on_ready is not None:
        on_ready(address)
    beating = loop.create_task(_beat(on_alive or (lambda: None)))
    await stopping.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)  # a second signal ends the process immediately
        signal.signal(number, signal.SIG_DFL)
    logger.info("Stopping")
    _limit(config.grace_period)
    await server.stop()
    summing_up.cancel()
    beating.cancel()
    repeats.uninstall()
    logger.info("Stopped")


async def _beat(on_alive: Callable[[], None]) -> None:
    while True:
        on_alive()
        await asyncio.sleep(1.0)


def _limit(seconds: float) -> None:
    """Exit the process after this many seconds if something else delays it.

    A DNS look-up of the site's name, for example, runs in a thread that Python joins at exit.
    """

    def end() -> None:
        logger.error("The server did not stop within %g s; exiting now", seconds)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


async def _end_rest() -> None:
    """Cancel the remaining tasks; unlike `asyncio.run`, wait at most one second for them."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=1.0)
    with suppress(asyncio.TimeoutError):
        await within(1.0, asyncio.get_running_loop().shutdown_asyncgens())
