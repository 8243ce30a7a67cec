"""Describe the Hookbox process: whether it runs, answers, and is ours.

The process is identified by the lock that it holds (see `lockfile.py`). Whether it answers is
checked with a REST call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from .. import client
from .._version import __version__
from ..conf import settings
from ..exceptions import HookboxError, HookboxRefused, HookboxUnreachable
from ..wire.urls import without_password
from . import spawning
from .lockfile import Holder, LockFile, ensure_run_dir, started_at
from .spawning import ProcessError
from .states import ProcessStatus, State

if TYPE_CHECKING:
    from ..wire.answers import ServerInfo

#: Seconds within which a started process must answer. Including the grace period, a restart takes
#: less than the 30 seconds after which web servers give up on a request.
START_TIMEOUT = 12.0


def status(ask: Callable[[], ServerInfo] | None = None) -> ProcessStatus:
    """Describe the process. Never raises: problems are part of the description.

    Args:
        ask: The function that calls the process, instead of `get_server_info`.

    """
    known = ProcessStatus(state=State.MISCONFIGURED, message="", control=False)
    try:
        known = replace(
            known, address=without_password(settings.rest_url), control=settings.process_control
        )
        lock = lock_file()
        holder = lock.holder()
        if holder is not None:
            known = replace(known, pid=holder.pid, identified=True)
        try:
            info = (ask or client.get_server_info)()
        except HookboxUnreachable as error:
            return _silent(error, lock, known)
        except HookboxRefused:
            return _undescribed(known)
        return _answered(info, holder, known)
    except HookboxError as error:
        if error.status in (502, 503, 504):
            return _silent(error, lock, known)
        # The error has a status if there was an answer, and none if a setting is wrong.
        state = State.MISCONFIGURED if error.status is None else State.NOT_HOOKBOX
        if error.code == "secret":
            state = State.SECRET_REFUSED
        return replace(known, state=state, message=str(error))
    except OSError as error:
        message = _("The lock file cannot be read: %(problem)s.") % {"problem": error}
        return replace(known, state=State.MISCONFIGURED, message=message, control=False)


def _silent(error: HookboxError, lock: LockFile, known: ProcessStatus) -> ProcessStatus:
    address = {"address": known.address}
    if lock.is_held():
        state = State.STARTING if lock.age() < START_TIMEOUT else State.UNREACHABLE
        message = _("The process is running but does not answer at %(address)s.") % address
    elif isinstance(error, HookboxUnreachable) and is_local() and is_listening():
        # Something accepts connections there: it may be a process that is stuck.
        state, message = State.UNREACHABLE, str(error)
    elif is_local():
        state = State.STOPPED
        message = _("Nothing answers at %(address)s. Browsers wait and reconnect.") % address
    else:
        state, message = State.UNREACHABLE, str(error)
    return replace(known, state=state, message=message)


def _undescribed(known: ProcessStatus) -> ProcessStatus:
    """Describe a process that cannot describe itself, such as the genuine server.

    Raises:
        HookboxError: It is not a Hookbox, or it does not accept the secret.

    """
    with suppress(HookboxRefused):  # the channel need not exist
        # It has refused the first call without checking the secret.
        client.get_channel_info("/")
    state = State.VERSION_DIFFERS
    message = _("It answers but does not describe itself; it may be another server.")
    if settings.executable:
        state = State.RUNNING
        message = _(
            "The program set in HOOKBOX_EXECUTABLE answers. It does not report who is "
            "connected, and the audit log lacks everything that it does not ask this site "
            "about."
        )
    return replace(known, state=state, message=message)


def _answered(info: ServerInfo, holder: Holder | None, known: ProcessStatus) -> ProcessStatus:
    version = info.version
    if holder is None:
        known = replace(known, pid=info.pid)
    elif holder.pid not in (info.pid or holder.pid, info.supervisor) and not settings.executable:
        # Another process has taken the address: the one that answers is not the one we started.
        known = replace(known, pid=info.pid, identified=False)
    state, message = State.RUNNING, _("Everything is fine.")
    if version and version != __version__:
        state = State.VERSION_DIFFERS
        message = _(
            "The process runs version %(running)s, but the site runs version %(site)s. "
            "Restart the process."
        ) % {"running": version, "site": __version__}
    elif len(versions := {version, *(n.version for n in info.nodes if n.alive)} - {""}) > 1:
        state = State.VERSION_DIFFERS
        message = _(
            "Processes run different versions: %(versions)s. Restart those whose version "
            "differs from the site's, %(site)s."
        ) % {"versions": ", ".join(sorted(versions)), "site": __version__}
    elif known.control and not known.identified:
        message = not_identified(info.pid)
    return replace(
        known,
        state=state, message=message, version=version,
        uptime=info.uptime,
        engine=info.engine or "",
        connections=info.connections, users=info.users, channels=info.channels,
        messages_in=info.messages_in, messages_out=info.messages_out, info=info,
    )  # fmt: skip


def finite(value: object) -> float | None:
    """Return a finite number from an answer, or None: Python's JSON also allows infinite ones."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def log_tail() -> str:
    """Return the last lines of the process's log file, or ""."""
    try:
        ensure_run_dir(settings.run_dir)
        return spawning.tail(log_path())
    except (OSError, HookboxError):
        return ""


# ---- places ----------------------------------------------------------------------------------


def lock_file() -> LockFile:
    """Return the lock that the process holds."""
    return LockFile(settings.run_dir / "hookbox.lock")


def log_path() -> Path:
    """Return the path of the process's log file."""
    return settings.run_dir / "hookbox.log"


def is_local() -> bool:
    """Return whether the process is called at the address where runhookbox would listen."""
    parts = urlsplit(settings.rest_url)
    hosts = ("127.0.0.1", "::1", "localhost", settings.interface)
    return parts.hostname in hosts and parts.port == settings.port


def is_listening() -> bool:
    """Return whether something listens at the address, although it does not answer."""
    try:
        return spawning.is_address_taken()
    except ProcessError:
        return False


def not_identified(pid: int | None) -> str:
    """Explain how to stop a process that answers but does not hold our lock."""
    if pid is None or not is_local() or not started_at(pid):
        return _("It was not started from here. Stop it where it was started.")
    return _(
        "The process (PID %(pid)d) was not started from here, or its lock file "
        "%(path)s was deleted, so it cannot be stopped from here. Stop it where it was "
        "started, or with “kill %(pid)d”, and start it again."
    ) % {"pid": pid, "path": lock_file().path}
