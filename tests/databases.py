"""Run a database server for one test run, in a temporary folder.

`HOOKBOX_TEST_DATABASE=postgresql` or `=mariadb` selects one; otherwise the tests use SQLite.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.postgres import Cluster

#: The value of HOOKBOX_TEST_DATABASE, and the backend that Django uses for it.
BACKENDS = {
    "postgresql": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}

#: It holds nothing that a crash could take away, and listens at a socket only.
MARIADB_OPTIONS = (
    "--skip-networking",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=32M",
    "--skip-log-bin",
)
#: Seconds to wait for the server to start, on a machine that is busy with other tests.
PATIENCE = 60


class NoServer(Exception):
    """The database server could not be started; the message says why."""


def asked_for() -> str:
    """Return the database selected by HOOKBOX_TEST_DATABASE, or "" for SQLite."""
    name = os.environ.get("HOOKBOX_TEST_DATABASE", "")
    if name and name not in BACKENDS:
        raise NoServer(f"HOOKBOX_TEST_DATABASE is {name!r}; it must be one of {list(BACKENDS)}.")
    return name


def declared() -> dict[str, Any]:
    """Return the entry for DATABASES that `conftest.py` completes with `server()`."""
    return {"ENGINE": BACKENDS[asked_for()], "NAME": ""}


@contextmanager
def server(name: str) -> Iterator[dict[str, Any]]:
    """Run a database server, and yield the settings to connect to it."""
    if name == "postgresql":
        with Cluster() as cluster:
            yield cluster.settings()
    else:
        with _mariadb() as settings:
            yield settings


def _program(name: str) -> str:
    # Debian keeps the server where only root's PATH looks.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NoServer(f"There is no {name}: install MariaDB (apt install mariadb-server).")
    return found


@contextmanager
def _mariadb() -> Iterator[dict[str, Any]]:
    user = pwd.getpwuid(os.getuid()).pw_name
    # A short name: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="hb-my-", ignore_cleanup_errors=True) as folder:
        data, socket, log = (Path(folder, name) for name in ("data", "socket", "log"))
        temporaries = Path(folder, "tmp")
        temporaries.mkdir()
        # An explicit user, because otherwise the server refuses to run as root. A folder for
        # temporary tables, because servers started at the same time give them the same names.
        common = (
            "--no-defaults", f"--datadir={data}", f"--user={user}", f"--tmpdir={temporaries}",
        )  # fmt: skip
        install = subprocess.run(
            [
                _program("mariadb-install-db"), *common,
                "--auth-root-authentication-method=normal", "--skip-test-db",
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if install.returncode:
            raise NoServer(
                f"mariadb-install-db failed: {(install.stderr or install.stdout)[-2000:]}"
            )
        options = (*common, f"--socket={socket}", f"--pid-file={folder}/pid", *MARIADB_OPTIONS)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [_program("mariadbd"), *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + PATIENCE
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise NoServer(f"mariadbd did not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield {
                "ENGINE": BACKENDS["mariadb"],
                "NAME": "mysql",
                "USER": "root",
                "HOST": str(socket),
                "OPTIONS": {"charset": "utf8mb4"},
            }
        finally:
            # Not politely: nothing in it is worth writing to the disk.
            process.kill()
            process.wait()
