"""The folder of the lock file: its location, how it is kept, and messages if it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from djhookbox._version import __version__
from djhookbox.client import http
from djhookbox.conf import process as conf
from djhookbox.process import control
from djhookbox.process.control import ProcessError
from djhookbox.process.lockfile import Keeper, LockFile

from .stand_ins.process import FakeHookbox, fake_hookbox
from .stand_ins.waiting import wait_for


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the folders of this machine."""
    real = os.stat

    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if str(path).startswith("/run/user/"):
            raise FileNotFoundError(path)
        return real(path, *args, **kwargs)

    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "access", lambda path, mode: False)


@pytest.mark.usefixtures("no_system")
def test_the_folder_of_running_processes_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    assert conf.runtime_dir() == Path(tempfile.gettempdir())
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/run")
    assert conf.runtime_dir() == Path("/run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert conf.runtime_dir() == tmp_path
    settings.HOOKBOX_RUN_DIR = None
    assert conf.ProcessSettings().run_dir.parent == tmp_path
    for useless in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert conf.runtime_dir() == Path("/run")


@pytest.mark.usefixtures("no_system")
def test_the_folder_of_another_user_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 54_321)  # as after su
    assert conf.runtime_dir() == Path(tempfile.gettempdir())


def test_files_are_touched_but_keep_the_time_of_the_start(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "hookbox.lock")
    assert lock.acquire()
    lock.enter()
    log = tmp_path / "hookbox.log"
    log.write_text("")
    before = time.time() - 1_000_000
    for path in (lock.path, log, tmp_path):
        os.utime(path, (before, before))
    Keeper(lock.path).look()
    for path in (lock.path, log, tmp_path):
        assert path.stat().st_atime > before + 999_000
    assert lock.age() > 999_000
    lock.close()


def test_a_swept_folder_comes_back_with_the_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    lock = LockFile(folder / "hookbox.lock")
    assert lock.acquire()
    lock.enter()
    keeper = Keeper(lock.path, seconds=0.02)
    keeper.start()
    try:
        shutil.rmtree(folder)
        wait_for(lock.is_ours, "the lock to be taken again")
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        keeper.end()
        lock.close()
    assert not lock.is_held()


def test_what_serves_is_kept(tmp_path: Path, settings: Any) -> None:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    import threading

    with control.holding_lock() as held:
        assert held
        assert "hookbox-keeper" in {thread.name for thread in threading.enumerate()}
    assert "hookbox-keeper" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def hookbox(settings: Any, tmp_path: Path) -> Any:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_PORT = fake.port
        yield fake
    http.forget_connections()


def test_without_the_lock_the_pid_is_named(hookbox: FakeHookbox, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        hookbox.replies(True, {"version": __version__, "pid": process.pid})
        now = control.status()
        assert f"PID {process.pid}" in now.message
        assert f"kill {process.pid}" in now.message
        assert str(tmp_path / "run" / "hookbox.lock") in now.message
        assert not now.can_stop
        with pytest.raises(ProcessError, match=f"kill {process.pid}"):
            control.stop()
        process.communicate(b"\n")
    # A pid of another machine, or of another container, is nothing that could be killed here.
    assert "kill" not in control.status().message
