"""Create real Django projects in separate folders, with real processes and a real WebSocket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import requests

from . import forks
from .ports import free_port
from .stand_ins.waiting import PATIENCE, wait_for

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "x" * 50
DEBUG = True
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3",
                         "OPTIONS": {"timeout": 20}}}
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.messages", "django.contrib.sessions", "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]},
}]
STATIC_URL = "/static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def answers(url: str) -> bool:
    """Return whether an HTTP server answers, regardless of its answer."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def pytest_plugin() -> list[str]:
    """Return the options to load this package's plugin, which pytest does itself if installed."""
    installed = any(
        point.value == "djhookbox.pytest_plugin" for point in entry_points(group="pytest11")
    )
    return [] if installed else ["-p", "djhookbox.pytest_plugin"]


@cache
def _migrated(python: str) -> bytes:
    """Return the database of a site with this app, after the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), python)
        project.write_site(["djhookbox"], urls="urlpatterns = []\n")
        project.manage("migrate", "-v0")
        return (project.folder / "db.sqlite3").read_bytes()


class Project:
    """A Django project with its own settings and database, run by a given Python."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python
        self.site_port = free_port()
        self.hookbox_port = free_port()
        self._processes: list[tuple[str, subprocess.Popen[bytes] | forks.Forked, Path]] = []
        self._preloaded: forks.ForkServer | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.site_port}"

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.hookbox_port}/ws"

    @property
    def ports(self) -> str:
        """The settings that a project needs only because tests use different ports."""
        return (
            f"\nHOOKBOX_PORT = {self.hookbox_port}\nHOOKBOX_CBPORT = {self.site_port}\n"
            "HOOKBOX_AUTOSTART = False\n"
        )

    def write(self, path: str, text: str) -> None:
        """Write a file to the project."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def write_site(self, apps: list[str], *, urls: str, settings: str = "") -> None:
        """Write manage.py, settings and routes of a site with these apps."""
        self.write("manage.py", MANAGE)
        self.write("settings.py", f"{SETTINGS}\nINSTALLED_APPS += {apps!r}\n{settings}{self.ports}")
        self.write("urls.py", urls)

    def migrate(self) -> None:
        """Create the database of a site whose own apps have no models: a copy, which is cheaper."""
        (self.folder / "db.sqlite3").write_bytes(_migrated(self.python))

    def preload(self) -> None:
        """Run commands even faster afterwards: with Django set up, by settings that stay."""
        if self._may_fork():
            environment = self.environment(DJANGO_SETTINGS_MODULE="settings")
            self._preloaded = forks.ForkServer(
                *forks.MODULES, "urls", environment=environment, folder=self.folder
            )

    def create_users(self, *names: str) -> None:
        """Create superusers for `log_in`."""
        self.manage(
            "shell", "-c",
            "from django.contrib.auth.models import User\n"
            f"for name in {names!r}:\n"
            "    User.objects.create_superuser(name, password='secret of ' + name)",
        )  # fmt: skip

    def environment(self, **more: str) -> dict[str, str]:
        """Return this process's environment without the variables of the tests."""
        ours = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "PYTHONWARNINGS", "HOOKBOX_TEST_DB")
        environment = {k: v for k, v in os.environ.items() if k not in ours}
        # The child of runserver's reloader does not inherit -u.
        environment["PYTHONUNBUFFERED"] = "1"
        if self.python == sys.executable:  # another Python has the package installed
            environment["PYTHONPATH"] = str(ROOT)
        return environment | more

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a management command to its end and return what it printed."""
        command, own = ["manage.py", *arguments], self.environment(**environment)
        if self._preloaded is not None and "--settings" not in arguments:
            own["DJANGO_SETTINGS_MODULE"] = "settings"
            result = self._preloaded.run(command, folder=self.folder, environment=own, timeout=120)
        elif self._may_fork(*arguments):
            result = forks.shared().run(command, folder=self.folder, environment=own, timeout=120)
        else:
            result = subprocess.run(
                [self.python, *command],
                cwd=self.folder, env=own, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def _may_fork(self, *arguments: str) -> bool:
        """Return whether a command does not depend on how Python has started it."""
        reloads = "runserver" in arguments and "--noreload" not in arguments
        return forks.is_possible() and self.python == sys.executable and not reloads

    def start(self, *arguments: str) -> None:
        """Start a management command that keeps running."""
        log = self.folder / f"{arguments[0]}.log"
        log.unlink(missing_ok=True)
        if self._may_fork(*arguments):
            forked = forks.shared().start(
                ["manage.py", *arguments], log, folder=self.folder, environment=self.environment()
            )
            self._processes.append((arguments[0], forked, log))
            return
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.python, "manage.py", *arguments],
                cwd=self.folder, env=self.environment(),
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                # Whoever started the tests may ignore it, as shells do in the background.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        self._processes.append((arguments[0], process, log))

    def run(self) -> None:
        """Start Django and the Hookbox process as the README says, and wait for both."""
        self.start("runserver", "--noreload", f"127.0.0.1:{self.site_port}")
        self.wait_until(lambda: answers(f"{self.origin}/admin/login/"), "Django")
        self.start("runhookbox")
        self.wait_until(lambda: answers(f"http://127.0.0.1:{self.hookbox_port}/health"), "Hookbox")

    def wait_until(self, question: Callable[[], bool], what: str) -> None:
        """Wait while all processes live; if the wait fails, show their output."""

        def ask() -> bool:
            assert all(process.poll() is None for _, process, _ in self._processes)
            return question()

        try:
            wait_for(ask, what)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{self.logs()}") from error

    def logs(self) -> str:
        """Return the output of the processes."""
        return "\n".join(f"--- {name}\n{log.read_text()}" for name, _, log in self._processes)

    def stop(self) -> None:
        """Terminate all processes, and kill them if necessary."""
        for _name, process, _log in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for _name, process, _log in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()
        if self._preloaded is not None:
            self._preloaded.stop()
            self._preloaded = None

    def log_in(self, name: str, password: str = "", at: str = "") -> str:
        """Log in to the admin, at another origin if given, and return the Cookie header."""
        login = f"{at or self.origin}/admin/login/"
        with requests.Session() as browser:
            browser.trust_env = False
            browser.get(login, timeout=PATIENCE)
            browser.post(
                login,
                data={
                    "username": name,
                    "password": password or f"secret of {name}",
                    "csrfmiddlewaretoken": browser.cookies["csrftoken"],
                    "next": "/admin/",
                },
                allow_redirects=False,
                timeout=PATIENCE,
            )
            assert "sessionid" in browser.cookies, f"{name} could not log in"
            return f"sessionid={browser.cookies['sessionid']}"
