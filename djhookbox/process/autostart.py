"""Start the Hookbox process together with `runserver`, so that one terminal is enough.

`runserver` consists of two processes: one that watches the files, and its child, which is replaced
whenever a file changes. The child starts the Hookbox process, which watches the parent and ends
with it (see `owner.py`), however that ends. Its connections therefore survive a change of the
code; it is only replaced if a setting that it depends on has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings as django_settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.core.management.commands.runserver import Command as RunServer
from django.core.management.commands.runserver import naiveip_re
from django.utils.translation import gettext as _

from .._version import __version__
from ..conf import PROPERTIES, WILDCARD_INTERFACES, settings
from ..exceptions import HookboxError
from . import control, routine, spawning
from .lockfile import Holder, RunDirError, ensure_run_dir, started_at
from .states import ANSWERING

#: Apps whose `runserver` is Django's own.
DJANGO = ("django.core", "django.contrib.staticfiles")
#: What each line of the process starts with.
PREFIX = "[hookbox] "
#: Seconds between two checks of whether a process has ended.
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """Where `runserver` listens."""

    host: str
    port: str


def address(arguments: Sequence[str], environment: Mapping[str, str]) -> Address | None:
    """Return where this process serves the site; None if it does not, or must not autostart.

    Args:
        arguments: The command line (`sys.argv`).
        environment: The environment variables.

    """
    if len(arguments) < 2 or arguments[1] != "runserver":
        return None
    rest = list(arguments[2:])
    if "-h" in rest or "--help" in rest or "--version" in rest:
        return None
    if "--noreload" not in rest and environment.get("RUN_MAIN") != "true":
        return None  # this is the parent, which only watches files
    wanted = settings.autostart
    if wanted is False:
        return None
    command, is_djangos = _command()
    if wanted is None and not (is_djangos and settings.debug):
        return None
    with suppress(SystemExit):  # the command reports wrong options itself
        given, _unknown = command.create_parser("manage.py", "runserver").parse_known_args(rest)
        return _parse(command, getattr(given, "addrport", None) or "", given)
    return None


def _command() -> tuple[BaseCommand, bool]:
    """Return the `runserver` command, and whether it is Django's own."""
    found = get_commands().get("runserver", "django.core")
    if isinstance(found, BaseCommand):
        return found, False
    return load_command_class(found, "runserver"), found in DJANGO


def _parse(command: BaseCommand, addrport: str, given: object) -> Address:
    ipv6 = bool(getattr(given, "use_ipv6", False))
    default = RunServer.default_addr_ipv6 if ipv6 else RunServer.default_addr
    host, port = default, str(getattr(command, "default_port", RunServer.default_port))
    if match := naiveip_re.match(addrport):
        found, _ipv4, _ipv6, _fqdn, port = match.groups()
        host = (found or default).strip("[]")
    if host in WILDCARD_INTERFACES or host == "0":
        host = "::1" if ":" in host else "127.0.0.1"
    return Address(host, port)


def begin(arguments: Sequence[str] | None = None) -> Autostart | None:
    """Start the process in the background if this is `runserver` and it should; never raise."""
    try:
        found = address(sys.argv if arguments is None else arguments, os.environ)
        if found is None:
            return None
        reloading = os.environ.get("RUN_MAIN") == "true"
        work = Autostart(found, os.getppid() if reloading else os.getpid())
        routine.hide(settings.webhook_path)
    except HookboxError as error:
        say(str(error))
        return None
    work.start()
    return work


def say(sentence: str) -> None:
    """Print a line as if it came from the process."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{PREFIX}{sentence}\n")
        sys.stderr.flush()


class Autostart(threading.Thread):
    """Starts the Hookbox process, unless it is running, and reports if it ends.

    Args:
        address: Where `runserver` listens.
        owner: The process with which the Hookbox process ends.
        say: Called with each sentence for the developer.

    """

    def __init__(self, address: Address, owner: int, say: Callable[[str], None] = say) -> None:
        super().__init__(name="hookbox-autostart", daemon=True)
        self._address = address
        self._owner = owner
        self._say = say

    def run(self) -> None:
        """Start the process and wait until it ends."""
        try:
            process = self.launch()
        except (HookboxError, OSError) as error:
            self._say(_("The Hookbox process was not started: %(problem)s") % {"problem": error})
            return
        if process is None:
            return
        status = process.wait()
        if status:
            self._say(
                _(
                    "The Hookbox process has ended (status %(status)d); see its output above. "
                    "Save a file, or restart runserver, to start it again."
                )
                % {"status": status}
            )

    def launch(self) -> subprocess.Popen[bytes] | None:
        """Start the process; None if it is running, or must be started elsewhere.

        Raises:
            HookboxError: It cannot be started.

        """
        if settings.executable:
            self._say(_("HOOKBOX_EXECUTABLE is set: start it with “manage.py runhookbox”."))
            return None
        if not settings.process_control:
            return None  # somebody else starts it, such as Docker Compose
        spawning.end_with(self._owner)
        folder = settings.run_dir
        try:
            ensure_run_dir(folder)
        except RunDirError as error:
            raise spawning.ProcessError(
                _("%(problem)s. Remove it, or set HOOKBOX_RUN_DIR.") % {"problem": error}
            ) from error
        notes = folder / "autostart.json"
        print_ = fingerprint(self._address)
        earlier, its_print = _read(notes)
        if earlier is not None and earlier.is_alive():
            if its_print == print_:
                return None  # it survived a change of the code
            self._end(earlier)
        if (now := control.status()).state in ANSWERING:
            self._say(
                _("Using the Hookbox process that is already running at %(address)s.")
                % {"address": now.address}
            )
            return None
        if now.identified:
            self._say(now.message)
            return None
        if spawning.is_address_taken():
            self._say(
                _(
                    "The Hookbox process was not started: port %(port)d is used by another "
                    "program. Stop that program, or set HOOKBOX_PORT. To start the process "
                    "yourself, set HOOKBOX_AUTOSTART = False."
                )
                % {"port": settings.port}
            )
            return None
        process = subprocess.Popen(
            [*spawning.command(), "--log-prefix", PREFIX, *self._callback()],
            stdin=subprocess.DEVNULL, env=spawning.environment(),
        )  # fmt: skip
        _write(notes, process.pid, print_)
        return process

    def _callback(self) -> list[str]:
        """Return the options that send webhooks to where `runserver` really listens."""
        if any(
            getattr(django_settings, name, None) is not None
            for name in ("HOOKBOX_WEBHOOK_URL", "HOOKBOX_CBHOST", "HOOKBOX_CBPORT")
        ):
            return []
        return ["--cbhost", self._address.host, "--cbport", self._address.port]

    @staticmethod
    def _end(process: Holder) -> None:
        """Stop a process that has other settings, and wait for it."""
        process.send(signal.SIGTERM)
        deadline = time.monotonic() + settings.grace_period + 1
        while process.is_alive():
            if time.monotonic() > deadline:
                process.send(signal.SIGKILL)
            time.sleep(POLL)


def fingerprint(address: Address) -> str:
    """Return a hash of everything that the process reads from the settings.

    Raises:
        HookboxMisconfigured: A setting is invalid.

    """
    values = [f"{name}={getattr(settings, name)!r}" for name in sorted(PROPERTIES)]
    values += [__version__, repr(address), repr(getattr(django_settings, "LOGGING", None))]
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


def _read(path: Path) -> tuple[Holder | None, str]:
    try:
        notes = json.loads(path.read_text())
        return Holder(int(notes["pid"]), str(notes["started"])), str(notes["settings"])
    except (OSError, ValueError, TypeError, KeyError):
        return None, ""


def _write(path: Path, pid: int, settings_: str) -> None:
    text = json.dumps({"pid": pid, "started": started_at(pid), "settings": settings_})
    path.touch(mode=0o600)
    path.write_text(text)
