"""Start and stop the Hookbox process, for the admin page and for scripts.

`describing` identifies the process by the lock that it holds, and only a process that provably
holds it is ever signalled. Only one operation runs at a time, so that two people who press Start
get one server, and a second press of Stop does not send a second signal (which would end the
server without its grace period).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from .. import isolation
from ..conf import settings
from . import spawning
from .describing import (
    START_TIMEOUT,
    lock_file,
    log_path,
    log_tail,
    not_identified,
    status,
)
from .lockfile import Keeper, LockFile, RunDirError, ensure_run_dir
from .spawning import ProcessError
from .states import ANSWERING, ProcessStatus, State

#: Seconds between two checks while waiting.
POLL = 0.05


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
        if lock_file().is_held() or status().state in ANSWERING:
            _stop(waited=False)
        return _start()


class OtherProcess(ProcessError):
    """The process that was to be stopped or restarted has been replaced by another one."""


def _require(pid: int | None) -> None:
    """Raise unless the running process is the one that is meant, so that a form works once.

    Raises:
        OtherProcess: It is another one.

    """
    holder = lock_file().holder() if pid is not None else None
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
    lock = lock_file()
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
    lock = lock_file()
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
        spawning.spawn(lock.fd, log_path())
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
    holder = lock_file().holder()
    if holder is None:
        if lock_file().is_held():
            raise ProcessError(_("Cannot verify which process is the server. Stop it manually."))
        if (now := status()).state in ANSWERING:
            raise ProcessError(not_identified(now.pid))
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
            _wait(lambda: not lock_file().is_held(), 1.0)
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
