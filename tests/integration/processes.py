"""A site and a Hookbox process, each a process of its own, and how tests speak to them."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import requests

from djhookbox.conf import settings as hookbox_settings
from djhookbox.process.lockfile import Holder, LockFile

from ..forks import MODULES as FORKED
from ..forks import Forked, ForkServer, is_possible, shared
from ..ports import free_port
from ..projects import ROOT, answers
from ..stand_ins.waiting import PATIENCE, wait_for


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


#: Settings that Django does not need before the first request or command.
LATE = ("HOOKBOX_", "DATABASE", "ATOMIC_REQUESTS")

#: What the processes of a pair import that needs settings.
MODULES = (
    "django.contrib.sessions.backends.db",
    "django.core.management.commands.migrate",
    "django.core.wsgi",
    "djhookbox.management.commands.runhookbox",
    "djhookbox.server.running",
    "djhookbox.views",
    "tests.integration.doings",
)


@cache
def _with_apps() -> ForkServer:
    """Return a server for processes whose settings differ in what is read late only."""
    server = ForkServer(*FORKED, *MODULES, environment=environment({"DATABASE": ""}))
    atexit.register(server.stop)
    return server


def server(environment: Mapping[str, str]) -> ForkServer:
    """Return what starts processes in an environment of a pair."""
    own = json.loads(environment["HOOKBOX_SITE"])
    return _with_apps() if all(name.startswith(LATE) for name in own) else shared()


def environment(own: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of processes with these settings."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.integration.settings",
        "PYTHONPATH": str(ROOT),
        "HOOKBOX_SITE": json.dumps(own),
    }


class Process:
    """A Python process with a log, in a folder."""

    #: Those whose logs may tell why a test failed.
    running: ClassVar[set[Process]] = set()

    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self.log_path = folder / f"{name}.log"
        Process.running.add(self)
        self._environment = environment
        self._child: subprocess.Popen[bytes] | Forked | None = None
        self._preloaded: ForkServer | None = None
        #: Seconds after which something that needs it is given up.
        self.patience = PATIENCE

    def preload(self, *modules: str) -> None:
        """Start it even faster afterwards: with these modules, and with Django set up."""
        self._preloaded = ForkServer(*modules, environment=self._environment)

    def start(self, *arguments: str) -> None:
        """Run Python with these arguments."""
        if self._preloaded is not None:
            self._child = self._preloaded.start(arguments, self.log_path)
            return
        if is_possible():
            environment = self._environment
            self._child = server(environment).start(
                arguments, self.log_path, environment=environment
            )
            return
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-u", *arguments],
                cwd=ROOT, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def child(self) -> subprocess.Popen[bytes] | Forked:
        """The process."""
        assert self._child is not None, "it has not been started"
        return self._child

    def log(self) -> str:
        """Return what it has printed."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def until(self, happened: Callable[[], Any], what: str) -> None:
        """Wait for something that needs the process alive."""

        def ask() -> Any:
            assert self.child.poll() is None, f"{what}: it ended\n{self.log()}"
            return happened()

        wait_for(ask, f"{what}\n{self.log()}", self.patience)

    def set(self, **settings: Any) -> None:
        """Let it have other settings than its partner."""
        own = {**json.loads(self._environment["HOOKBOX_SITE"]), **settings}
        self._environment = {**self._environment, "HOOKBOX_SITE": json.dumps(own)}

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self.child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self.child.kill()
        self.child.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its end; return its status, negative after a signal."""
        return self.child.wait(seconds)

    def freeze(self) -> None:
        """Let it hang: it lives, and does nothing."""
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        self.child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, politely first."""
        Process.running.discard(self)
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
            try:
                self._child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._preloaded is not None:
            self._preloaded.stop()
            self._preloaded = None


class Hookbox(Process):
    """A Hookbox process."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        super().__init__(folder, "hookbox", environment)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.websocket = f"ws://127.0.0.1:{port}/ws"

    def run(self, *options: str, wait: bool = True) -> None:
        """Start it and wait until it answers."""
        self.start("-m", "django", "runhookbox", *options)
        if wait:
            self.until(lambda: answers(f"{self.url}/health"), "Hookbox to listen")

    def rest(self, call: str, /, **form: str) -> list[Any]:
        """Make a REST call and return the answer."""
        form["secret"] = hookbox_settings.rest_secrets[0]
        answer = requests.post(f"{self.url}/rest/{call}", form, timeout=PATIENCE)
        value: list[Any] = answer.json()
        return value

    def subscribers(self, channel: str) -> list[str]:
        """Return who is in a channel; nobody if there is none."""
        success, info = self.rest("get_channel_info", channel_name=channel)
        return sorted(info["subscribers"]) if success else []

    def connections(self, name: str = "") -> int:
        """Return how many connections a user has, or all."""
        count: int = self.rest("list_connections", name=name)[1]["total"]
        return count


class Site(Process):
    """A Django site."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        super().__init__(folder, "site", environment)
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        #: The origin that pages have: the proxy's, if there is one.
        self.pages = self.origin
        #: What a proxy in front of the site would add.
        self.headers: dict[str, str] = {}

    def run(self, workers: str = "many") -> None:
        """Start it and wait until it answers."""
        if workers == "gunicorn":  # which keeps connections and threads, as real sites do
            self.start(
                "-m", "gunicorn", "django.core.wsgi:get_wsgi_application()",
                "-b", f"127.0.0.1:{self.port}", "-w", "1", "-k", "gthread", "--threads", "4",
                "--keep-alive", "5", "--no-control-socket",
            )  # fmt: skip
        else:
            self.start("-m", "tests.integration.serve", str(self.port), workers)
        self.until(lambda: listens(self.port), "Django to listen")

    def do(self, name: str, /, *args: Any, session: str = "", **kwargs: Any) -> Any:
        """Let the site do something (see doings.py), in the session given."""
        answer = self.ask(name, *args, session=session, **kwargs)
        assert "result" in answer, answer.get("error")
        return answer["result"]

    def ask(self, name: str, /, *args: Any, session: str = "", **kwargs: Any) -> dict[str, Any]:
        """Do the same and return all that it answers, which may be an error."""
        answer = requests.post(
            f"{self.origin}/do/",
            json=[name, args, kwargs],
            cookies={"sessionid": session} if session else {},
            headers=self.headers,
            timeout=self.patience,
            allow_redirects=False,
        )
        try:
            value: dict[str, Any] = answer.json()
        except ValueError:
            raise AssertionError(f"{answer.status_code} {answer.text[:2000]}") from None
        return value

    def rows(self, model: str, least: int = 0, /, **filters: Any) -> list[dict[str, Any]]:
        """Return rows of a log, once there are so many; events come in half a second."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = self.do("rows", model, **filters)
            return len(found) >= least

        try:
            wait_for(enough, f"{least} rows of {model}", 10)
        except AssertionError as error:
            raise AssertionError(f"{error} with {filters}; there are {found}") from None
        return found


class Pair:
    """A site and its Hookbox process, which know of each other."""

    def __init__(self, folder: Path, database: Path, settings: dict[str, Any]) -> None:
        site_port, hookbox_port = free_port(), free_port()
        self.folder = folder
        own = {
            "DATABASE": str(database),
            "HOOKBOX_PORT": hookbox_port,
            "HOOKBOX_CBPORT": site_port,
            "HOOKBOX_RUN_DIR": str(folder / "run"),
            **settings,
        }
        self.environment = environment(own)
        self.site = Site(folder, self.environment, site_port)
        self.hookbox = Hookbox(folder, self.environment, hookbox_port)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        command = ["-m", "django", *arguments]
        if is_possible():
            return server(self.environment).run(command, environment=self.environment, timeout=300)
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def holder(self) -> Holder | None:
        """Return the process that holds the lock."""
        return LockFile(self.folder / "run" / "hookbox.lock").holder()

    def stop(self) -> None:
        """End both, and a Hookbox process that the site has started."""
        self.hookbox.stop()
        self.site.stop()
        holder = self.holder()
        if holder is not None and holder.send(signal.SIGKILL):
            wait_for(lambda: not holder.is_alive(), "the Hookbox process to end")
