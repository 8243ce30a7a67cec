"""Start the Hookbox process from a web process.

The web process may be any program that embeds Python, with any working folder, open files and
signal masks, and must be able to end without ending the Hookbox process.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from django.conf import ENVIRONMENT_VARIABLE
from django.utils.translation import gettext as _

from ..conf import settings
from ..exceptions import HookboxError

#: Environment variables of the web process that the detached child must not inherit.
FOREIGN_VARIABLES = ("RUN_MAIN", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC")
#: Timeout in seconds of the intermediate step between the web process and the server.
STEP_TIMEOUT = 10.0


class ProcessError(HookboxError):
    """The process could not be started or stopped; the message says why and what to do.

    Attributes:
        log: The last lines of the process's log, if they may explain more.

    """

    def __init__(self, reason: str, *, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def is_address_taken() -> bool:
    """Return whether something already listens on the address of the process.

    Raises:
        ProcessError: Nothing can listen on the address.

    """
    host, port = settings.interface, settings.port
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise ProcessError(
            _("Cannot listen on HOOKBOX_INTERFACE %(host)s, HOOKBOX_PORT %(port)d: %(problem)s.")
            % {"host": host, "port": port, "problem": error.strerror}
        ) from error
    return False


def interpreter() -> str:
    """Return the Python that runs this site.

    `sys.executable` is the web server's own program if that embeds Python (uWSGI, mod_wsgi).

    Raises:
        ProcessError: No interpreter was found.

    """
    name = re.compile(r"(python|pypy)[\d.]*$")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        sys.executable,
        *(f"{sys.prefix}/bin/{base}" for base in (f"python{version}", "python3", "python")),
        shutil.which(f"python{version}"),
    ]
    for path in candidates:
        if path and name.match(os.path.basename(path)) and os.access(path, os.X_OK):
            return path
    raise ProcessError(
        _("The Python interpreter was not found. Start the process with “manage.py runhookbox”.")
    )


#: The process with which those started from here end: `runserver`, if it started one itself.
_owner: int | None = None


def end_with(pid: int) -> None:
    """Let every Hookbox process that is started from here end together with another process."""
    global _owner
    _owner = pid


def command() -> list[str]:
    """Return the command of the process: `manage.py runhookbox`, but without manage.py."""
    owner = [] if _owner is None else ["--owner", str(_owner)]
    return [interpreter(), "-m", "django", "runhookbox", *owner]


def environment() -> dict[str, str]:
    """Return an environment in which the child finds the same modules and settings.

    Raises:
        ProcessError: The settings are not in a module.

    """
    if not os.environ.get(ENVIRONMENT_VARIABLE):
        raise ProcessError(
            _("The settings are not in a module, so another process cannot load them.")
        )
    variables = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
    # An empty entry is the current folder, which the child shares.
    variables["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    variables["PYTHONUNBUFFERED"] = "1"  # otherwise a crash would lose its last output
    return variables


def spawn(lock_fd: int, path: Path) -> None:
    """Start the process, detached; it inherits the lock and writes to the log.

    Raises:
        ProcessError: It could not be started. If it was, the caller must check that it runs.

    """
    arguments, variables = command(), environment()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        log = os.open(path, flags, 0o600)
    except OSError as error:
        raise _not_started(error) from error
    try:
        os.write(log, f"$ {shlex.join(['python', *arguments[1:]])}\n".encode())
        step = subprocess.run(
            [arguments[0], "-m", "djhookbox.process.lockfile", str(lock_fd), *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=variables, pass_fds=(lock_fd,), start_new_session=True,
            timeout=STEP_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _not_started(error) from error
    finally:
        os.close(log)
    if step.returncode:
        raise ProcessError(_("The process could not be started."), log=tail(path))


def _not_started(error: Exception) -> ProcessError:
    return ProcessError(_("The process could not be started: %(problem)s.") % {"problem": error})


def tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or "" if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 64_000))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
