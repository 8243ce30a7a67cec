"""A Redis server that runs as long as the demo, for several workers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

HOST = "127.0.0.1"
#: Seconds in which Redis must start to answer.
START_TIMEOUT = 10.0


class NoRedis(Exception):
    """Redis cannot be started; the message says why and what to do."""


@contextlib.contextmanager
def own_redis() -> Iterator[str]:
    """Run a Redis or Valkey server on a free port; yield its address.

    Raises:
        NoRedis: It cannot be started.

    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NoRedis(
            "redis-server is not installed. Install Redis or Valkey, or name one that is running: "
            'make demo ARGS="--workers 2 --redis redis://127.0.0.1:6379/0".'
        )
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hookbox-demo-") as folder:
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", HOST, "--save", "", "--dir", folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait(server, port)
            yield f"redis://{HOST}:{port}/0"
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        if server.poll() is not None or time.monotonic() > deadline:
            raise NoRedis("redis-server was started but does not answer.")
        time.sleep(0.05)
