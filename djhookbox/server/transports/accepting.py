"""Accept sockets, even when the process has run out of file descriptors.

In that case asyncio logs a traceback for each place in the backlog, hundreds of times a second,
and keeps trying.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger("djhookbox.server")

#: Sockets to accept before yielding to other tasks.
TURN = 100
#: Seconds to pause accepting when file descriptors, or memory for them, run out.
PAUSE = 1.0

_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accept sockets until stopped.

    Args:
        listener: A bound, listening, non-blocking socket; closed at the end.
        make: Creates the protocol for a socket.

    """

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._beginning: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start accepting."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop accepting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._listener.close()

    # ---- parts -----------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        while True:
            try:
                client, _address = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _SHORT:
                    logger.warning(
                        "No connections are accepted for %g s: %s. Raise the limit of open files "
                        "(ulimit -n, or LimitNOFILE of systemd)",
                        PAUSE, error.strerror,
                    )  # fmt: skip
                    await asyncio.sleep(PAUSE)
                elif error.errno == errno.EBADF:
                    return
                else:  # the client left before it was accepted
                    await asyncio.sleep(0)
                continue
            task = loop.create_task(self._begin(client))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)
            accepted += 1
            if accepted % TURN == 0:
                await asyncio.sleep(0)

    async def _begin(self, client: socket.socket) -> None:
        try:
            client.setblocking(False)
            with suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(self._make, client)
        except OSError as error:
            logger.debug("A client was gone before it was served: %s", error)
            client.close()
