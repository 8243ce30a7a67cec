"""The sockets that the server listens on, and what identifies a process."""

from __future__ import annotations

import errno
import hashlib
import socket
from contextlib import ExitStack
from pathlib import Path

#: Size of the kernel's send buffer for each client, in addition to `max_unsent`. Without this cap,
#: Linux may hold up to 4 MiB more for a client that does not read. The kernel doubles the value.
SEND_BUFFER = 65_536
#: Connections that may wait to be accepted.
BACKLOG = 1024


def listen(interface: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        OSError: It cannot; the text says why.

    """
    return _listen(interface, port, shared=False)


def listen_shared(interface: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets that all listen on one address; the kernel spreads connections over them.

    Args:
        interface: The address of this machine.
        port: The port; 0 chooses a free one for all sockets.
        count: How many sockets to open.

    Raises:
        OSError: It cannot; the text says why.

    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise OSError(errno.EOPNOTSUPP, "this system cannot share a port between workers")
    # Shared sockets would also join those of another process, so that both answer by chance.
    with _listen(interface, port, shared=False) as probe:
        port = probe.getsockname()[1]
    with ExitStack() as opened:
        listeners = [
            opened.enter_context(_listen(interface, port, shared=True)) for _ in range(count)
        ]
        opened.pop_all()
    return listeners


def _listen(interface: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # inherited
        listener.bind((interface.strip("[]"), port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"port {port} on {interface or '*'} is in use") from None
        raise
    return listener


def address_of(port: int, worker: int) -> str:
    """Return an address that distinguishes this process from those on other machines and ports.

    Args:
        port: The port of the process.
        worker: Its number among the workers that share the port, or 0.

    """
    place = f"{port}/{worker}" if worker else str(port)
    return f"{machine()}:{place}"


def machine() -> str:
    """Return what distinguishes this machine from others.

    Machines may share a host name, so part of the result is derived from the machine's id, if it
    has one. The id itself must not leave the machine.
    """
    try:
        number = Path("/etc/machine-id").read_bytes()
    except OSError:
        number = b""
    digest = hashlib.sha256(b"djhookbox.node" + number).hexdigest()[:8]
    return f"{socket.gethostname()[:64]}-{digest}"
