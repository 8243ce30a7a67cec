"""Start many Python processes quickly: fork a process that has imported everything already.

`python -m tests.integration.preloaded MODULE…` imports the modules and waits for requests, each a
line of JSON on standard input: `["start", log, arguments]` or `["poll", pid]`. The answer to each
is a line too: the process id, or the status. A process that is started is the child of this one,
and as real as any other; it only does not have to import Django first.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

from ..projects import ROOT


class Preloaded:
    """A process that starts others.

    Args:
        environment: The environment of all of them.
        modules: The modules to import.

    """

    def __init__(self, environment: dict[str, str], *modules: str) -> None:
        self._lock = threading.Lock()
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-m", __name__, *modules],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, arguments: tuple[str, ...], log: Path) -> Forked:
        """Run Python with these arguments, of which the first must be `-m`."""
        return Forked(self, self.ask("start", str(log), arguments))

    def ask(self, *request: object) -> int:
        """Send a request, and return its answer."""
        to, back = self._child.stdin, self._child.stdout
        assert to is not None
        assert back is not None
        with self._lock:
            to.write(json.dumps(request).encode() + b"\n")
            to.flush()
            return int(back.readline())

    def stop(self) -> None:
        """End it; those that it has started go on."""
        self._child.kill()
        self._child.communicate()


class Forked:
    """One of the processes that were started, with the methods of `Popen`."""

    def __init__(self, by: Preloaded, pid: int) -> None:
        self._by = by
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its status; None if it runs."""
        if self.returncode is None:
            answer = self._by.ask("poll", self.pid)
            self.returncode = None if answer == _RUNS else answer
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        """Wait for its end, and return its status.

        Raises:
            TimeoutExpired: It still runs.

        """
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


# ---- the process that forks ----------------------------------------------------------------------

#: The answer for a process that has not ended; no status is that large.
_RUNS = 1_000_000


def _answer(kind: str, *arguments: Any) -> int:
    """Return the answer to a request."""
    if kind == "start":
        pid = os.fork()
        if not pid:
            _run(*arguments)
        return pid
    (pid,) = arguments
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else _RUNS


def _run(log: str, arguments: list[str]) -> NoReturn:
    """Do in a new process what `python -m MODULE …` does, and end it."""
    status = 1
    try:
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        for number, mode in ((0, os.O_RDONLY), (1, append), (2, append)):
            opened = os.open(log if number else os.devnull, mode)
            os.dup2(opened, number)
            os.close(opened)
        flag, module, *rest = arguments
        assert flag == "-m", arguments
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(modules: list[str], requests: IO[str]) -> None:
    """Import the modules, and serve until the requests end."""
    import django

    django.setup()
    for module in modules:
        importlib.import_module(module)
    for line in requests:
        print(_answer(*json.loads(line)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin)
