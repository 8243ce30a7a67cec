"""A private PostgreSQL cluster in a temporary folder, deleted when it is closed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from .procfs import cpu_time_of_family

#: Users to run the server as if we are root, as which it refuses to run.
OTHERS = ("postgres", "nobody")

#: It contains no data that needs to survive a crash.
OPTIONS = {
    "listen_addresses": "''",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
}


class NoPostgreSQL(Exception):
    """PostgreSQL cannot be started; the message says what is missing."""


class Cluster:
    """A context manager that runs a server on a socket in its own folder."""

    def __init__(self) -> None:
        self._bin = _binaries()
        self._user = _other_user()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def socket_folder(self) -> str:
        """The folder to connect to, instead of a host."""
        assert self._folder is not None, "not started"
        return self._folder.name

    def settings(self, name: str = "postgres") -> dict[str, Any]:
        """Return an entry for Django's DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "hookbox",
            "HOST": self.socket_folder,
        }

    def __enter__(self) -> Cluster:
        self._folder = tempfile.TemporaryDirectory(prefix="hookbox-pg-")
        folder = Path(self.socket_folder)
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        try:
            # Not the locale C: its order of texts would let any index find how texts begin.
            self._run("initdb", "-U", "hookbox", "-A", "trust", "-E", "UTF8",
                      "--locale=C.UTF-8", "--no-sync")  # fmt: skip
            options = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())
            self._run("pg_ctl", "-w", "-o", f"-k {folder} {options}",
                      "-l", str(folder / "log"), "start")  # fmt: skip
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._folder is not None
        try:
            self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        finally:
            self._folder.cleanup()

    def cpu_time(self) -> float:
        """Return the user and system time of all its processes in seconds, ended ones included."""
        pid = int(Path(self.socket_folder, "data", "postmaster.pid").read_text().split()[0])
        return cpu_time_of_family(pid)

    def create(self, name: str) -> None:
        """Create a database."""
        self._run_at("createdb", "-h", self.socket_folder, "-U", "hookbox", name)

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL."""
        self._run_at(program, *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        self._run_at(program, "-D", f"{self.socket_folder}/data", *arguments)

    def _run_at(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [self._bin / program, *arguments],
            user=self._user,
            cwd=self.socket_folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            # To a file, because the server inherits it and would keep a pipe open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        if result.returncode:
            problem = (result.stderr or b"").decode(errors="replace").strip()
            raise NoPostgreSQL(f"{program} failed with {result.returncode}. {problem}")


def _binaries() -> Path:
    """Return the folder of the server's programs, of the newest version if there are several."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    # Debian installs them outside the path, in one folder per version.
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    if not folders:
        raise NoPostgreSQL("there is no initdb: install PostgreSQL (apt install postgresql)")
    return Path(max(folders, key=lambda path: int(path.split("/")[-2])))


def _other_user() -> str | None:
    if os.getuid() != 0:
        return None
    for name in OTHERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoPostgreSQL("the server does not run as root, and there is no other user")
