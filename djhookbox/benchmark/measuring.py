"""Start the temporary server, and measure it."""

from __future__ import annotations

import json
import os
import resource
import secrets
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from ..process import spawning
from .crowd import CHANNEL, ORIGIN, QUIET, BenchmarkFailed, Crowd

#: Descriptors that each of the two processes needs besides those of the connections.
SPARE = 100
#: Ports of the loopback interface limit the connections to one address.
MOST = 20_000
#: Seconds that opening all connections may take.
OPENING = 60.0
#: Publishers that work at the same time.
PUBLISHERS = 4
#: Seconds after which the server is killed if it does not end.
STOPPING = 10.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What happened in some seconds.

    Attributes:
        count: How often it happened.
        seconds: In how many seconds.
        per_second: The quotient.
        server_cpu: The share of one processor that the server used, 1.0 for all of it.

    """

    count: int
    seconds: float
    per_second: float
    server_cpu: float


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured. Sizes are in bytes, times in seconds.

    Attributes:
        connections: Connecting, including one subscription each.
        memory_per_connection: Of the server; None if the system does not tell.
        memory: Of the server with all connections.
        publications: To a channel without subscribers.
        deliveries: Messages to all connections.
        delay: The median time until the last connection had a single message.
        size: The size of each message.

    """

    connections: Rate
    memory_per_connection: int | None
    memory: int | None
    publications: Rate
    deliveries: Rate
    delay: float
    size: int

    def as_json(self) -> dict[str, object]:
        """Return it for output as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the server uses: bytes of memory, or None if unknown, and seconds of CPU time."""

    memory: int | None
    cpu: float


class Rehearsal:
    """The temporary server. Use `rehearsal()`."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._in = requests
        self._out = answers
        self.secret = secrets.token_hex(16)
        self.port = 0

    def begin(self, settings: dict[str, object]) -> None:
        """Pass the configuration on, and wait until the server listens."""
        self.port = urlsplit(str(self._ask(json.dumps(settings))["address"])).port or 0

    def figures(self) -> Figures:
        """Return what the server uses."""
        answer = self._ask("")
        memory, cpu = answer["memory"], answer["cpu"]
        return Figures(
            memory if isinstance(memory, int) else None, cpu if isinstance(cpu, float) else 0.0
        )

    def _ask(self, line: str) -> dict[str, object]:
        """Send a line and return the answer."""
        answer = ""
        with suppress(BrokenPipeError):
            self._in.write(f"{line}\n")
            self._in.flush()
            answer = self._out.readline()
        if not answer:
            raise BenchmarkFailed(_("The temporary server has ended; see its output above."))
        found: dict[str, object] = json.loads(answer)
        return found


@contextmanager
def rehearsal(connections: int) -> Iterator[Rehearsal]:
    """Run a temporary server until the block ends.

    Raises:
        BenchmarkFailed: It does not start.
        HookboxError: There is no interpreter to start.

    """
    process = subprocess.Popen(
        [spawning.interpreter(), "-m", "djhookbox.server.rehearsal"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=spawning.environment(), start_new_session=True,
    )  # fmt: skip
    with _ended(process) as (requests, answers):
        server = Rehearsal(requests, answers)
        server.begin(
            {
                "rest_secrets": [server.secret],
                "allowed_origins": [ORIGIN],
                "max_connections": connections + SPARE,
                "max_unconnected": connections + SPARE,
                "max_unconnected_per_address": connections + SPARE,
                "max_unsent_total": 1 << 30,
                "ping_interval": 3600.0,
                "grace_period": 3.0,
            }
        )
        yield server


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[tuple[IO[str], IO[str]]]:
    """Yield the pipes of a process that ends when the first one is closed, and end it."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("the process needs pipes")
    try:
        yield process.stdin, process.stdout
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextmanager
def open_files(wanted: int) -> Iterator[None]:
    """Raise the limit of open files until the block ends; the server inherits it.

    Raises:
        BenchmarkFailed: The system does not allow it.

    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < wanted:
        raise BenchmarkFailed(
            _(
                "This shell may open %(limit)d files at most, but %(wanted)d are needed. Raise "
                "the limit (ulimit -n), or use fewer --connections."
            )
            % {"limit": hard, "wanted": wanted}
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def measure(
    connections: int, seconds: float, size: int, tell: Callable[[str], None] = lambda text: None
) -> Results:
    """Measure a temporary server.

    Args:
        connections: How many connections to open.
        seconds: How long each of the measurements lasts.
        size: The size of a message in bytes.
        tell: Called with a sentence before each measurement.

    Raises:
        BenchmarkFailed: It could not be measured.

    """
    with open_files(connections + SPARE), rehearsal(connections) as server:
        crowd = Crowd(server.port, server.secret, size)
        try:
            return _measure(server, crowd, connections, seconds, size, tell)
        except OSError as error:
            problem = os.strerror(error.errno) if error.errno else str(error)
            raise BenchmarkFailed(
                _("The connections cannot be used: %(problem)s") % {"problem": problem}
            ) from error
        finally:
            crowd.close()


def _measure(
    server: Rehearsal, crowd: Crowd, connections: int, seconds: float, size: int,
    tell: Callable[[str], None],
) -> Results:  # fmt: skip
    crowd.publish(QUIET, 0.2, PUBLISHERS)  # so that everything has been loaded
    empty = server.figures()
    tell(_("Opening %(count)d connections …") % {"count": connections})
    connecting = _timed(server, lambda: (connections, crowd.connect(connections, OPENING)))
    full = server.figures()
    tell(_("Publishing for %(seconds)g s …") % {"seconds": seconds})
    publishing = _timed(server, lambda: crowd.publish(QUIET, seconds, PUBLISHERS))
    tell(_("Delivering to all connections for %(seconds)g s …") % {"seconds": seconds})
    received = crowd.received
    delivering = _timed(server, lambda: crowd.publish(CHANNEL, seconds, PUBLISHERS))
    delivering = _rate(crowd.received - received, delivering.seconds, delivering.server_cpu)
    delay = statistics.median(crowd.delays(seconds / 2))
    each: int | None = None
    if full.memory is not None and empty.memory is not None:
        each = round((full.memory - empty.memory) / connections)
    return Results(connecting, each, full.memory, publishing, delivering, round(delay, 5), size)


def _timed(server: Rehearsal, work: Callable[[], tuple[int, float]]) -> Rate:
    """Do something, and return how often it happened and what it cost the server."""
    before = server.figures().cpu
    count, seconds = work()
    return _rate(count, seconds, (server.figures().cpu - before) / seconds)


def _rate(count: int, seconds: float, cpu: float) -> Rate:
    return Rate(count, round(seconds, 3), round(count / seconds, 1), round(cpu, 3))
