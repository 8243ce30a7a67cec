"""What a worker gets from its supervisor: a number, a listening socket and a lifeline.

The lifeline is a pair of connected sockets. The supervisor writes the job to it. The worker answers
once it listens, and then sends a byte every second. Each side notices that the other has ended when
the stream ends.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

#: The options of the command that starts the supervisor, as argparse returns them.
Options: TypeAlias = Mapping[str, Any]

#: What a worker writes to its lifeline once it listens.
READY = b"ready\n"
#: What it writes every second from then on.
ALIVE = b"."


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a worker.

    Attributes:
        number: Which of the workers it is, from 1. Two living workers never share a number.
        listener: The listening socket, which the supervisor keeps open too.
        lifeline: The worker's end of the lifeline.
        supervisor: The process id of the supervisor.
        options: The options of the command that started the supervisor.

    """

    number: int
    listener: socket.socket
    lifeline: socket.socket
    supervisor: int
    options: Options

    def ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        self.lifeline.sendall(READY)

    def alive(self) -> None:
        """Tell the supervisor that the event loop of this worker runs."""
        with suppress(OSError):  # a supervisor that does not read, or has ended
            self.lifeline.send(ALIVE, socket.MSG_DONTWAIT)


def job(number: int, listener: socket.socket, options: Options) -> bytes:
    """Return what the supervisor writes to the lifeline of a new worker."""
    entry = {
        "number": number,
        "listener": listener.fileno(),
        "supervisor": os.getpid(),
        "options": dict(options),
    }
    return json.dumps(entry).encode() + b"\n"


def take(descriptor: int) -> Place:
    """Return the place that this worker was started for.

    Args:
        descriptor: The inherited file descriptor of the lifeline.

    Raises:
        ValueError: The descriptor is not a lifeline.

    """
    try:
        lifeline = socket.socket(fileno=descriptor)
        with lifeline.makefile("rb") as stream:
            text = stream.readline()  # the only thing that is sent
        entry = json.loads(text)
        listener = socket.socket(fileno=entry["listener"])
        for inherited in (lifeline, listener):
            inherited.set_inheritable(False)
        return Place(
            number=entry["number"],
            listener=listener,
            lifeline=lifeline,
            supervisor=entry["supervisor"],
            options=entry["options"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError("only the Hookbox process itself starts workers") from error
