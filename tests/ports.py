"""Ports for the servers of tests that run in parallel."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

#: Below those that Linux gives to connections that name none, so that none of these is taken
#: between the moment a port is chosen and the moment its server listens.
RANGE = range(20_000, 32_000)
FOLDER = Path(tempfile.gettempdir()) / f"djhookbox-test-ports-{os.getuid()}"

#: Locked for as long as this process lives.
_reserved: dict[int, IO[bytes]] = {}


def free_port() -> int:
    """Return a port that is free and not given to any other test."""
    FOLDER.mkdir(exist_ok=True)
    for _ in range(10 * len(RANGE)):
        port = random.choice(RANGE)
        if port not in _reserved and _reserve(port):
            return port
    raise RuntimeError(f"no port of {RANGE} is free")


def _reserve(port: int) -> bool:
    file = (FOLDER / str(port)).open("wb")
    try:
        # Not inherited by child processes, and released when this process ends, however it does.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        file.close()
        return False
    _reserved[port] = file
    return True
