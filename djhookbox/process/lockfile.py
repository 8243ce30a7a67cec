"""The lock that shows whether the Hookbox process is running, and which process it is.

The process holds an exclusive `flock` on a file as long as it lives; the file contains its pid and
its start time. The kernel releases the lock when the process ends, so a file left behind by
`kill -9` has no effect, and a pid alone is never trusted.

This module does not import Django. Run as `python -m djhookbox.process.lockfile FD COMMAND…`, it is
the intermediate step between the web process and the server: it detaches, writes its pid to the
locked file that it inherited, and becomes the command.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


class RunDirError(OSError):
    """The folder cannot be used, or other users could change its contents."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


def ensure_run_dir(path: Path) -> None:
    """Create the folder, or check that only this user can write to it.

    It may be in /tmp, where anybody could create a folder or a link with its name first.

    Raises:
        RunDirError: It is not our own folder, or others may access it.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as error:
        raise RunDirError(path, f"cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(info.st_mode):
        raise RunDirError(path, "is not a folder")
    if info.st_uid != os.getuid():
        raise RunDirError(path, "belongs to another user")
    if info.st_mode & 0o077:
        raise RunDirError(path, "is open to other users; its mode must be 0700")


def started_at(pid: int) -> str:
    """Return when a process was started, in the system's own notation, or "" if it has ended.

    A pid can be reused, but together with its start time it is unique.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    else:
        # Field 22; the second field is the program's name, which may contain spaces and brackets.
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    found = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as recorded in the file."""

    pid: int
    started: str

    @classmethod
    def myself(cls) -> Holder:
        """Describe this process."""
        return cls(os.getpid(), started_at(os.getpid()))

    def is_alive(self) -> bool:
        """Return whether this process, and not another one with its pid, is still running."""
        return bool(self.started) and started_at(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return False if the process has ended.

        With a pidfd, there is no gap between checking and sending; elsewhere it is small.
        """
        try:
            if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
                if not self.is_alive():
                    return False
                os.kill(self.pid, number)
                return True
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


class LockFile:
    """An exclusive lock on a file, held for as long as the file is open.

    Two `LockFile`s exclude each other even within one process, so they also exclude threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The open, locked file."""
        if self._fd is None:
            raise ValueError("The lock is not held.")
        return self._fd

    def acquire(self) -> bool:
        """Take the lock without waiting; return False if it is held."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        os.utime(fd)  # see age()
        self._fd = fd
        return True

    def close(self) -> None:
        """Close the file; a child that has inherited it keeps the lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_held(self) -> bool:
        """Return whether the lock is held."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two processes that only check do not take each other for the holder.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def enter(self) -> None:
        """Record this process in the file as the holder of the lock."""
        enter(self.fd)

    def age(self) -> float:
        """Return the seconds since the lock was taken; infinite if it never was."""
        try:
            return time.time() - self.path.stat().st_mtime
        except OSError:
            return float("inf")

    def is_ours(self) -> bool:
        """Return whether this process holds the lock, possibly through an inherited file."""
        holder = self.holder()
        return holder is not None and holder.pid == os.getpid()

    def holder(self) -> Holder | None:
        """Return the process that holds the lock, or None if it is free or its holder unknown."""
        if not self.is_held():
            return None
        try:
            entry = json.loads(self.path.read_text())
            holder = Holder(int(entry["pid"]), str(entry["started"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return holder if holder.is_alive() else None


class Keeper(threading.Thread):
    """Keeps the files of a running process from being deleted, or restores the lock if they are.

    Systems delete files in temporary folders that have not been touched for days.

    Args:
        path: The lock file of this process.
        seconds: The interval between two checks.

    """

    def __init__(self, path: Path, seconds: float = 60.0) -> None:
        super().__init__(name="hookbox-keeper", daemon=True)
        self._path = path
        self._seconds = seconds
        self._ended = threading.Event()
        self._lock: LockFile | None = None

    def end(self) -> None:
        """Stop, and release a lock that was taken again."""
        self._ended.set()
        if self.is_alive():
            self.join()
        if self._lock is not None:
            self._lock.close()

    def run(self) -> None:
        """Check the files until `end()` is called."""
        while not self._ended.wait(self._seconds):
            # Failures are retried; the server does not depend on them.
            with contextlib.suppress(OSError):
                self.look()

    def look(self) -> None:
        """Touch the files, or take the lock again if they are gone.

        Raises:
            OSError: The folder cannot be used.

        """
        if not self._path.exists():
            ensure_run_dir(self._path.parent)
            lock = LockFile(self._path)
            if lock.acquire():
                lock.enter()
                if self._lock is not None:
                    self._lock.close()
                self._lock = lock
            return
        for path in (*self._path.parent.iterdir(), self._path.parent):
            # Not the modification time, which is when the lock was taken: see `age()`.
            os.utime(path, (time.time(), path.stat().st_mtime))


def enter(fd: int) -> None:
    """Record this process in a file whose lock it holds."""
    holder = Holder.myself()
    text = json.dumps({"pid": holder.pid, "started": holder.started})
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def become(fd: int, command: list[str]) -> None:  # pragma: no cover - ends with execv()
    """Detach from the caller and become the command, which keeps the lock.

    After the second fork, the server is a child of init: the web process need not reap it, and can
    end or be replaced without ending it. Signal masks and handlers are reset because a web server
    may have changed them and the new program would inherit them.
    """
    if os.fork():
        os._exit(0)
    with contextlib.suppress(ValueError, OSError):
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    enter(fd)
    os.execv(command[0], command)  # noqa: S606 - our own command, without a shell


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
