"""The processes of a run: servers under test, their load generators, and the site."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_port

from . import nchan
from .webhooks import ACCEPTED

SECRET = "bench-rest-secret"
#: What is measured, in the order of the table's columns. `bare` and `exchange` only accept
#: connections.
KINDS = ("hookbox", "baseline", "channels")
ALL_KINDS = (*KINDS, "nchan", "bare", "exchange")


class BenchError(Exception):
    """A measurement could not be made."""


def channels_installed() -> bool:
    """Return whether Django Channels and Daphne are installed for the comparison."""
    return all(importlib.util.find_spec(name) for name in ("channels", "daphne"))


def own_cpu(index: int) -> set[int]:
    """Return the processor for servers (0) or for everything else (1), if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return set(cpus)
    return {cpus[0]} if index == 0 else set(cpus[1:])


def python(*arguments: str, **options: Any) -> contextlib.AbstractContextManager[Any]:
    """Run `python -m …`; see `program`."""
    return program([sys.executable, "-m", *arguments], **options)


@contextlib.contextmanager
def program(
    command: list[str], *, cpu: int, port: int = 0, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on its processor while the block runs; wait until its port answers."""
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        os.sched_setaffinity(process.pid, own_cpu(cpu))
        deadline = time.monotonic() + 30
        while port:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{' '.join(command[:3])} did not start")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


class Target:
    """A server under test and its load generator."""

    def __init__(
        self, kind: str, pid: int, port: int, load: subprocess.Popen[str], folder: str
    ) -> None:
        self.kind, self.pid, self.port = kind, pid, port
        self._blocks = Path(folder, "blocks")
        self._load = load

    def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command to the load generator; return what it measured."""
        assert self._load.stdin is not None
        assert self._load.stdout is not None
        self._load.stdin.write(json.dumps([command, arguments]) + "\n")
        self._load.stdin.flush()
        line = self._load.stdout.readline()
        if not line:
            raise BenchError(f"the load generator of {self.kind} ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self.kind}: {command}: {answer['error']}")
        return answer

    def longest_block(self) -> tuple[float, float]:
        """Return for how long our server's loop has blocked at most since the last call.

        Returns:
            Milliseconds by the clock, and of processor time.

        """
        self._blocks.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                late, used = self._blocks.read_text().split()
                return float(late) * 1e3, float(used) * 1e3
            time.sleep(0.02)
        raise BenchError("the server did not tell how long it blocked")

    def private_memory(self) -> int:
        """Return the bytes that only this server's process uses (USS)."""
        total = 0
        with open(f"/proc/{self.pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
        return total


@contextlib.contextmanager
def target(kind: str, *options: str, ticking: bool = False) -> Iterator[Target]:
    """Run a new server of this kind and its load generator.

    Args:
        kind: What is measured.
        options: Further options of our server.
        ticking: Whether our server measures for how long its loop blocks, which costs CPU.

    """
    # The load generator raises its limit itself; aiohttp and Daphne take what they get.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = free_port()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench"))
        if kind in ("hookbox", "exchange"):
            site = free_port()
            stack.enter_context(python("bench.webhooks", "--port", str(site), cpu=1, port=site))
        if kind == "hookbox":
            command = [
                "bench.server", "--port", str(port), "--rest-secret", SECRET,
                "--webhook-url", f"http://127.0.0.1:{site}/hookbox",
                "--accepts", ",".join(ACCEPTED), "--per-address", "100000",
                *(("--blocks", f"{folder}/blocks") if ticking else ()), *options,
            ]  # fmt: skip
        elif kind == "exchange":
            url = f"http://127.0.0.1:{site}/hookbox"
            command = ["bench.exchange", "--port", str(port), "--webhook-url", url]
        elif kind in ("baseline", "bare"):
            command = [f"bench.{kind}", "--port", str(port)]
        elif kind == "nchan":
            command = nchan.command(port, folder)
        else:
            command = [
                "daphne", "-v", "0", "-p", str(port), "--websocket_connect_timeout", "60",
                "--application-close-timeout", "120",
                "bench.channels_app:application",
            ]  # fmt: skip
        if kind != "nchan":
            command = [sys.executable, "-m", *command]
        server = stack.enter_context(program(command, cpu=0, port=port))
        load = stack.enter_context(
            python(
                "bench.load", "--kind", kind, "--port", str(port), "--pid", str(server.pid),
                "--secret", SECRET, cpu=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        yield Target(kind, server.pid, port, load, folder)
