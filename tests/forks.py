"""Start many Python processes quickly: fork a process that has imported everything already.

A command of Django spends most of its start importing modules. A process that is started here is
a real one, with its own arguments, environment, folder and output, but does not have to import
`MODULES` again. It is a child of the server, the process that has imported them.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent

#: What processes of Django and Hookbox import that needs no settings.
MODULES = (
    "django.contrib.admin",
    "django.contrib.admin.views.main",
    "django.contrib.auth.hashers",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.core.cache.backends.locmem",
    "django.core.handlers.asgi",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.management.commands.runserver",
    "django.core.management.commands.shell",
    "django.core.wsgi",
    "django.db.backends.sqlite3.base",
    "djhookbox.bans.rules",
    "djhookbox.client.calls",
    "djhookbox.decisions.written",
    "djhookbox.diagnosis",
    "djhookbox.doctor.echo",
    "djhookbox.genuine.payloads",
    "djhookbox.guards",
    "djhookbox.options",
    "djhookbox.outbox.statements",
    "djhookbox.policy.coverage",
    "djhookbox.process.control",
    "djhookbox.process.reachability",
    "djhookbox.server.app",
    "djhookbox.server.running",
    "djhookbox.tracing",
    "djhookbox.users.identity",
    "djhookbox.wire.events",
)


class ForkServer:
    """A process that starts others.

    Args:
        modules: The modules to import.
        environment: The environment to import them in, with the settings of Django; if it is None,
            Django is not set up, and each process may have settings of its own. If it is set up, a
            process with another environment reads the settings again: they must not differ in
            what Django does when it is set up, such as the apps.
        folder: Its working directory, where modules are found, too.

    """

    def __init__(
        self,
        *modules: str,
        environment: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self._lock = threading.Lock()
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-m", __name__, *modules],
            cwd=folder, env=environment or _without_settings(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        errors: Path | None = None,
        folder: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> Forked:
        """Run Python with these arguments: a script or `-m` and a module, and what these take.

        Args:
            arguments: The arguments.
            log: Where its output is appended.
            errors: Where its errors are appended, if that is another file.
            folder: Its working directory.
            environment: Its environment, if it is not that of the server.

        """
        files = [str(log), str(errors or log)]
        return Forked(self, self.ask("start", files, str(folder), environment, arguments))

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path = ROOT,
        environment: Mapping[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Do the same, and wait for its end, as `subprocess.run` does."""
        with tempfile.TemporaryDirectory() as files:
            output, errors = Path(files, "output"), Path(files, "errors")
            process = self.start(
                arguments, output, errors=errors, folder=folder, environment=environment
            )
            try:
                status = process.wait(timeout)
            except BaseException:
                process.kill()
                process.wait()
                raise
            return subprocess.CompletedProcess(
                arguments, status, output.read_text(), errors.read_text()
            )

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
        """End it; the processes that it has started continue."""
        self._child.kill()
        self._child.communicate()


@cache
def shared() -> ForkServer:
    """Return the server of this process, for processes with any settings."""
    server = ForkServer(*MODULES)
    atexit.register(server.stop)
    return server


def is_possible() -> bool:
    """Return whether processes may be forked: coverage does not measure them."""
    return "COVERAGE_PROCESS_CONFIG" not in os.environ


class Forked:
    """One of the processes that were started, with the methods of `Popen`."""

    def __init__(self, by: ForkServer, pid: int) -> None:
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
            time.sleep(0.01)
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


def _without_settings() -> dict[str, str]:
    omitted = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTHONWARNINGS")
    return {name: value for name, value in os.environ.items() if name not in omitted}


# ---- the process that forks ----------------------------------------------------------------------

#: The answer for a process that has not ended; no status is that large.
_RUNS = 1_000_000

#: The files, folder, environment and arguments of a process.
_Job = tuple[list[str], str, dict[str, str] | None, list[str]]


def _serve(requests: IO[str]) -> _Job | None:
    """Answer requests until they end; in each process that is started, return what it does."""
    for line in requests:
        kind, *arguments = json.loads(line)
        if kind == "start":
            pid = os.fork()
            if not pid:
                files, folder, environment, words = arguments
                return files, folder, environment, words
            print(pid, flush=True)
        else:
            (pid,) = arguments
            found, status = os.waitpid(pid, os.WNOHANG)
            print(os.waitstatus_to_exitcode(status) if found else _RUNS, flush=True)
    return None


def _become(files: list[str], folder: str, environment: dict[str, str] | None) -> None:
    """Get the files, the folder, the environment and the session of the process."""
    os.setsid()
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in enumerate([os.devnull, *files]):
        opened = os.open(path, append if number else os.O_RDONLY, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it lives as long as the process
    # The program that started the tests may ignore it, as shells do in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
        _read_settings()


def _read_settings() -> None:
    """Read the settings for this environment, if Django was set up with those for another."""
    from django.apps import apps
    from django.conf import settings
    from django.db import connections
    from django.utils.functional import empty

    if apps.ready:
        importlib.reload(sys.modules[os.environ["DJANGO_SETTINGS_MODULE"]])
        settings._wrapped = empty
        for connection in connections.all(initialized_only=True):
            del connections[connection.alias]
        connections.settings = connections.configure_settings(None)


def _run(arguments: list[str]) -> None:
    """Do what Python does with these arguments."""
    name, *rest = arguments
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if name == "-m":
        module, *rest = rest
        sys.path[:1] = [os.getcwd(), *given]
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path[:1] = [os.path.dirname(os.path.abspath(name)), *given]
        sys.argv = [name, *rest]
        runpy.run_path(name, run_name="__main__")


def main(modules: list[str]) -> None:
    """Import the modules, and serve until the requests end."""
    import django

    if "DJANGO_SETTINGS_MODULE" in os.environ:
        django.setup()
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    job = _serve(sys.stdin)
    if job is not None:
        *where, arguments = job
        _become(*where)
        _run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
