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
        #: The sockets for which transports are being made.
        self._beginning: dict[asyncio.Task[object], socket.socket] = {}
        #: Ends a pause.
        self._timer: asyncio.TimerHandle | None = None
        with suppress(OSError):  # a Unix socket
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited

    def start(self) -> None:
        """Start accepting, or continue after a pause."""
        self._timer = None
        # Not `sock_accept`: its futures, and a task for it, cost as much as a whole handshake.
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Stop accepting."""
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()

    # ---- parts -----------------------------------------------------------

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(TURN):
            try:
                client, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    logger.warning(
                        "No connections are accepted for %g s: %s. Raise the limit of open files "
                        "(ulimit -n, or LimitNOFILE of systemd)",
                        PAUSE, error.strerror,
                    )  # fmt: skip
                    self._pause()
                    self._timer = loop.call_later(PAUSE, self.start)
                    return
                continue  # the client left before it was accepted
            client.setblocking(False)
            task: asyncio.Task[object] = loop.create_task(
                loop.connect_accepted_socket(self._make, client)
            )
            self._beginning[task] = client
            task.add_done_callback(self._begun)

    def _pause(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _begun(self, task: asyncio.Task[object]) -> None:
        client = self._beginning.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OSError):  # not a client that has gone
            logger.error("A connection could not be served", exc_info=error)
        if error is not None or task.cancelled():
            client.close()
