"""Mark every line that this process writes, where it shares a terminal with another one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: File descriptors of standard output and standard error.
_OUT, _ERR = 1, 2
#: Seconds to wait at the end until everything has been written.
_PATIENCE = 2.0


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Put a text before each line that is written to standard output and standard error.

    Works on file descriptors, because the handlers of LOGGING have already opened their streams.
    Both end up on standard error, where `runserver` writes its own lines.

    Args:
        prefix: The text; with "", nothing is changed.

    """
    if not prefix:
        yield
        return
    _flush()
    before = os.dup(_OUT), os.dup(_ERR)
    reader, writer = os.pipe()
    os.dup2(writer, _OUT)
    os.dup2(writer, _ERR)
    os.close(writer)
    copying = threading.Thread(
        target=_copy, args=(reader, before[1], prefix.encode()), name="hookbox-prefix", daemon=True
    )
    copying.start()
    try:
        yield
    finally:
        _flush()
        os.dup2(before[0], _OUT)
        os.dup2(before[1], _ERR)
        copying.join(_PATIENCE)
        os.close(before[0])
        if not copying.is_alive():
            os.close(before[1])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a closed terminal or stream
            stream.flush()


def _copy(reader: int, target: int, prefix: bytes) -> None:
    """Copy lines to a file until nothing can be written to the pipe any more."""
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            # If the terminal is closed, the process must not block on a full pipe.
            with suppress(OSError):
                os.write(target, prefix + line.rstrip(b"\r\n") + b"\n")
