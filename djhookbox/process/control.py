"""Start, stop and describe the Hookbox process, for the admin page and for scripts.

The process is identified by the lock that it holds (see `lockfile.py`), and only a process that
provably holds it is ever signalled. Whether it answers is checked with a REST call. Only one
operation runs at a time, so that two people who press Start get one server, and a second press of
Stop does not send a second signal (which would end the server without its grace period).
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from .. import client, isolation
from .._version import __version__
from ..conf import settings
from ..exceptions import HookboxError, HookboxRefused, HookboxUnreachable
from ..wire.urls import without_password
from . import spawning
from .lockfile import Holder, Keeper, LockFile, RunDirError, ensure_run_dir, started_at
from .spawning import ProcessError
from .states import ANSWERING as ANSWERING
from .states import ProcessStatus as ProcessStatus
from .states import State as State

if TYPE_CHECKING:
    from ..wire.answers import ServerInfo

#: Seconds within which a started process must answer. Including the grace period, a restart takes
#: less than the 30 seconds after which web servers give up on a request.
START_TIMEOUT = 12.0
#: Seconds between two checks while waiting.
POLL = 0.05


# ---- describing ------------------------------------------------------------------------------


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
        lock = _lock()
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
    elif isinstance(error, HookboxUnreachable) and _is_local() and _is_listening():
        # Something accepts connections there: it may be a process that is stuck.
        state, message = State.UNREACHABLE, str(error)
    elif _is_local():
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
        message = _not_identified(info.pid)
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
        return spawning.tail(_log_path())
    except (OSError, HookboxError):
        return ""


# ---- acting ----------------------------------------------------------------------------------


def start() -> ProcessStatus:
    """Start the process and wait until it answers; if it is already running, only describe it.

    Raises:
        ProcessError: It is not running afterwards.

    """
    with _operation():
        return _start()


def stop(pid: int | None = None) -> ProcessStatus:
    """Stop the process: SIGTERM, the grace period, SIGKILL.

    Args:
        pid: The process that is meant; if another one is running, nothing is done.

    Raises:
        OtherProcess: Another process is running by now.
        ProcessError: It is not running, or it is not identified.

    """
    with _operation() as waited:
        _require(pid)
        _stop(waited)
        return status()


def restart(pid: int | None = None) -> ProcessStatus:
    """Stop the process if it is running, and start it.

    Args:
        pid: The process that is meant; if another one is running, nothing is done.

    Raises:
        OtherProcess: Another process is running by now.
        ProcessError: As `stop()` and `start()` do.

    """
    with _operation():
        _require(pid)
        if _lock().is_held() or status().state in ANSWERING:
            _stop(waited=False)
        return _start()


class OtherProcess(ProcessError):
    """The process that was to be stopped or restarted has been replaced by another one."""


def _require(pid: int | None) -> None:
    """Raise unless the running process is the one that is meant, so that a form works once.

    Raises:
        OtherProcess: It is another one.

    """
    holder = _lock().holder() if pid is not None else None
    if holder is not None and holder.pid != pid:
        raise OtherProcess(
            _("The process has been restarted already; its PID is %(pid)d now.")
            % {"pid": holder.pid}
        )


@contextmanager
def holding_lock() -> Iterator[bool]:
    """Hold the lock while this process serves, so that the admin recognizes it.

    Used by `runhookbox`, which can also be started by hand. Yield False if another process holds
    the lock (or this one, from before it became runhookbox: see `start()`), or if there is no place
    for a lock file; the server runs anyway.
    """
    lock = _lock()
    keeper = Keeper(lock.path)
    held = False
    try:
        ensure_run_dir(settings.run_dir)
        # Inspecting the lock acquires it for an instant, which excludes us.
        held = _wait(lock.acquire, 0.5, unless=lambda: lock.holder() is not None)
        if held:
            # Inheritable, because this process may become another program (HOOKBOX_EXECUTABLE).
            os.set_inheritable(lock.fd, True)
            lock.enter()
        # Or by an inherited file, from before it became runhookbox.
        if held or lock.is_ours():
            keeper.start()
    except OSError:
        held = False
    try:
        yield held
    finally:
        keeper.end()
        lock.close()


def _start() -> ProcessStatus:
    lock = _lock()
    deadline = time.monotonic() + START_TIMEOUT
    while not lock.acquire():
        # Held by the server, or for an instant by a process that inspects it.
        if lock.holder() is not None and (now := status()).state in ANSWERING:
            return now
        if time.monotonic() > deadline:
            raise ProcessError(
                _("The process is already running but does not answer. Restart it."), log=log_tail()
            )
        time.sleep(POLL)
    try:
        if spawning.is_address_taken():
            raise ProcessError(_taken())
        spawning.spawn(lock.fd, _log_path())
    finally:
        lock.close()  # the server has inherited it
    answered = _wait(
        lambda: status().state in ANSWERING, START_TIMEOUT, unless=lambda: not lock.is_held()
    )
    if answered:
        return status()
    if not lock.is_held():
        raise ProcessError(_("The process ended immediately. See its log file."), log=log_tail())
    raise ProcessError(
        _("The process was started but did not answer within %(seconds)d seconds.")
        % {"seconds": START_TIMEOUT},
        log=log_tail(),
    )


def _stop(waited: bool) -> None:
    holder = _lock().holder()
    if holder is None:
        if _lock().is_held():
            raise ProcessError(_("Cannot verify which process is the server. Stop it manually."))
        if (now := status()).state in ANSWERING:
            raise ProcessError(_not_identified(now.pid))
        if waited:
            return  # another request stopped it while this one was waiting
        raise ProcessError(_("Hookbox is not running."))
    grace = settings.grace_period + 1  # the server may use its whole grace period
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        try:
            sent = holder.send(number)
        except PermissionError as error:
            raise ProcessError(
                _("The process %(pid)d belongs to another user.") % {"pid": holder.pid}
            ) from error
        if not sent or _wait(lambda: not holder.is_alive(), patience):
            # Its last threads may hold the lock a moment longer.
            _wait(lambda: not _lock().is_held(), 1.0)
            return
    raise ProcessError(_("The process %(pid)d cannot be stopped.") % {"pid": holder.pid})


@contextmanager
def _operation() -> Iterator[bool]:
    """Wait until no other operation is running; yield whether it had to wait."""
    if not settings.process_control:
        raise ProcessError(
            _(
                "HOOKBOX_PROCESS_CONTROL is off: the process is started and stopped outside "
                "this site."
            )
        )
    if isolation.is_isolated():
        raise ProcessError(isolation.refusal())
    try:
        ensure_run_dir(settings.run_dir)
        turn = LockFile(settings.run_dir / "control.lock")
        waited = not turn.acquire()
        if waited and not _wait(turn.acquire, START_TIMEOUT + settings.grace_period):
            raise ProcessError(_("Somebody else is starting or stopping the process."))
    except RunDirError as error:
        raise ProcessError(
            _("%(problem)s. Remove it, or set HOOKBOX_RUN_DIR.") % {"problem": error}
        ) from error
    except OSError as error:
        raise ProcessError(
            _("The lock file cannot be used: %(problem)s.") % {"problem": error}
        ) from error
    try:
        yield waited
    finally:
        turn.close()


def _wait(
    happened: Callable[[], bool], seconds: float, unless: Callable[[], bool] = lambda: False
) -> bool:
    """Poll until a condition is met, the time is over, or the condition can no longer be met."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline or unless():
            return happened()
        time.sleep(POLL)
    return True


# ---- places ----------------------------------------------------------------------------------


def _lock() -> LockFile:
    return LockFile(settings.run_dir / "hookbox.lock")


def _log_path() -> Path:
    return settings.run_dir / "hookbox.log"


def _is_local() -> bool:
    """Return whether the process is called at the address where runhookbox would listen."""
    parts = urlsplit(settings.rest_url)
    hosts = ("127.0.0.1", "::1", "localhost", settings.interface)
    return parts.hostname in hosts and parts.port == settings.port


def _is_listening() -> bool:
    """Return whether something listens at the address, although it does not answer."""
    try:
        return spawning.is_address_taken()
    except ProcessError:
        return False


def _not_identified(pid: int | None) -> str:
    """Explain how to stop a process that answers but does not hold our lock."""
    if pid is None or not _is_local() or not started_at(pid):
        return _("It was not started from here. Stop it where it was started.")
    return _(
        "The process (PID %(pid)d) was not started from here, or its lock file "
        "%(path)s was deleted, so it cannot be stopped from here. Stop it where it was "
        "started, or with “kill %(pid)d”, and start it again."
    ) % {"pid": pid, "path": _lock().path}


def _taken() -> str:
    if status().state in ANSWERING:
        text = _("Hookbox is already running on port %(port)d but was not started from here.")
    else:
        text = _("Port %(port)d is used by another program. Stop that program or set HOOKBOX_PORT.")
    return text % {"port": settings.port}


__all__ = [
    "ProcessError",
    "ProcessStatus",
    "State",
    "holding_lock",
    "log_tail",
    "restart",
    "start",
    "status",
    "stop",
]
