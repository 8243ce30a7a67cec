"""Start, stop and describe the process, with a stand-in for the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from djhookbox._version import __version__
from djhookbox.conf import settings as hookbox_settings
from djhookbox.exceptions import HookboxError
from djhookbox.process import control, spawning
from djhookbox.process.control import ProcessError, State
from djhookbox.process.lockfile import Holder, LockFile, RunDirError, ensure_run_dir, started_at

from .ports import free_port
from .stand_ins import process
from .stand_ins.waiting import wait_for

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("real_process")]


@pytest.fixture
def run_dir(settings: Any, tmp_path: Path) -> Path:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    settings.HOOKBOX_PORT = free_port()
    settings.HOOKBOX_GRACE_PERIOD = 3
    return tmp_path / "run"


@pytest.fixture
def stand_in(
    run_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Let start() start the stand-in, and kill remaining processes afterwards."""

    def behave(manner: str = "good", version: str = __version__) -> None:
        arguments = [process.__file__, str(settings.HOOKBOX_PORT), manner, version]
        monkeypatch.setattr(spawning, "command", lambda: [sys.executable, *arguments])

    behave()
    yield behave
    # What a test of bad manners has left behind; the lock proves that it is ours.
    holder = LockFile(run_dir / "hookbox.lock").holder()
    if holder is not None:
        holder.send(signal.SIGKILL)
        wait_for(lambda: not holder.is_alive(), "the process to end")


def by_hand(settings: Any, manner: str = "good") -> subprocess.Popen[bytes]:
    """Run the stand-in without a lock, as somebody might in a shell."""
    port = str(settings.HOOKBOX_PORT)
    child = subprocess.Popen(
        [sys.executable, process.__file__, port, manner, __version__],
        stdout=subprocess.DEVNULL,
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", settings.HOOKBOX_PORT)) == 0

    wait_for(listens, "the stand-in to listen")
    return child


# ---- start, stop, restart --------------------------------------------------------------------


def test_it_starts_describes_and_stops(run_dir: Path, stand_in: Any, settings: Any) -> None:
    assert control.status().state == State.STOPPED
    assert control.status().can_start
    assert not control.status().can_stop

    now = control.start()

    assert now.state == State.RUNNING
    assert now == control.status()
    assert (now.connections, now.users, now.channels) == (3, 2, 1)
    assert (now.uptime, now.engine, now.version) == (1.5, "memory", __version__)
    assert now.address == f"http://127.0.0.1:{settings.HOOKBOX_PORT}"
    assert now.identified
    assert now.can_stop
    assert not now.can_start
    assert now.pid is not None
    assert os.getsid(now.pid) not in (os.getsid(0), now.pid), "it is in a session of its own"
    # Its parent is not us: it neither becomes our zombie nor needs us.
    parent = int(Path(f"/proc/{now.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert (run_dir / "hookbox.log").stat().st_mode & 0o777 == 0o600
    assert control.log_tail().endswith("stand-in good")

    assert control.stop().state == State.STOPPED
    assert not started_at(now.pid)


def test_it_keeps_what_the_web_process_can_import_and_none_of_its_files(
    stand_in: Any, run_dir: Path, tmp_path: Path
) -> None:
    leak = os.open(tmp_path / "leak", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(leak, True)
    try:
        pid = control.start().pid
    finally:
        os.close(leak)
    environment = dict(
        entry.split("=", 1)
        for entry in Path(f"/proc/{pid}/environ").read_text().split("\0")
        if "=" in entry
    )
    assert set(map(os.path.abspath, sys.path)) <= set(environment["PYTHONPATH"].split(":"))
    assert environment["DJANGO_SETTINGS_MODULE"] == "tests.settings"
    files = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert str(run_dir / "hookbox.lock") in files
    assert str(tmp_path / "leak") not in files
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_restart_replaces_it(stand_in: Any) -> None:
    before = control.start().pid
    after = control.restart().pid
    assert after is not None
    assert before != after
    assert control.stop().state == State.STOPPED
    assert control.restart().state == State.RUNNING, "a stopped process is only started"


def test_a_form_that_is_sent_twice_restarts_once(stand_in: Any) -> None:
    before = control.start().pid
    after = control.restart(before).pid
    for again in (control.restart, control.stop):
        with pytest.raises(control.OtherProcess, match=f"its PID is {after} now"):
            again(before)
    assert control.status().pid == after
    assert control.stop(after).state == State.STOPPED
    assert control.restart(after).state == State.RUNNING, "it has been stopped in between"


def test_a_port_that_accepts_and_never_answers_is_not_called_stopped(
    run_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.HOOKBOX_PORT = silent.getsockname()[1]
        settings.HOOKBOX_TIMEOUT = 0.2
        now = control.status()
    assert now.state == State.UNREACHABLE
    assert "did not answer" in now.message
    assert control.status().state == State.STOPPED


def test_two_people_pressing_start_get_one_server(stand_in: Any) -> None:
    outcomes: list[Any] = []
    barrier = threading.Barrier(4)

    def press() -> None:
        barrier.wait()
        try:
            outcomes.append(control.start().pid)
        except HookboxError as error:
            outcomes.append(error)

    people = [threading.Thread(target=press) for _ in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], int)


def test_two_people_pressing_stop_send_one_signal(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("good")
    control.start()
    sent: list[signal.Signals] = []
    send = Holder.send

    def counted(self: Holder, number: signal.Signals) -> bool:
        sent.append(number)
        return send(self, number)

    monkeypatch.setattr(Holder, "send", counted)
    outcomes: list[Any] = []

    def press() -> None:
        try:
            outcomes.append(control.stop().state)
        except HookboxError as error:
            outcomes.append(str(error))

    people = [threading.Thread(target=press) for _ in range(3)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sent == [signal.SIGTERM]
    assert State.STOPPED in outcomes
    assert set(outcomes) <= {State.STOPPED, "Hookbox is not running."}


def test_one_that_ignores_sigterm_is_killed_after_the_grace_period(
    stand_in: Any, settings: Any
) -> None:
    settings.HOOKBOX_GRACE_PERIOD = 0.2
    stand_in("stubborn")
    control.start()
    before = time.monotonic()
    assert control.stop().state == State.STOPPED
    assert time.monotonic() - before >= 1.2


def test_a_lock_that_goes_an_instant_later_is_waited_for(stand_in: Any) -> None:
    stand_in("lingering")
    control.start()
    assert control.stop().state == State.STOPPED


def test_a_stale_lock_file_means_nothing(stand_in: Any, run_dir: Path) -> None:
    pid = control.start().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not started_at(pid), "the process to end")
    assert (run_dir / "hookbox.lock").read_text(), "the file is still there"
    assert control.status().state == State.STOPPED
    with pytest.raises(ProcessError, match="Hookbox is not running"):
        control.stop()
    assert control.start().state == State.RUNNING


# ---- what goes wrong -------------------------------------------------------------------------


def test_stop_when_it_was_never_started(run_dir: Path) -> None:
    with pytest.raises(ProcessError, match="Hookbox is not running"):
        control.stop()


def test_a_taken_port_is_named(run_dir: Path, stand_in: Any, settings: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings.HOOKBOX_PORT = other.getsockname()[1]
        settings.HOOKBOX_TIMEOUT = 0.1
        with pytest.raises(ProcessError, match=f"Port {settings.HOOKBOX_PORT} is used"):
            control.start()
    assert not LockFile(run_dir / "hookbox.lock").is_held()
    assert not (run_dir / "hookbox.log").exists(), "nothing was started"


def test_an_address_of_another_machine_is_named(stand_in: Any, settings: Any) -> None:
    settings.HOOKBOX_INTERFACE = "192.0.2.1"
    settings.HOOKBOX_REST_URL = f"http://127.0.0.1:{settings.HOOKBOX_PORT}"
    with pytest.raises(ProcessError, match=r"HOOKBOX_INTERFACE 192\.0\.2\.1"):
        control.start()


def test_a_log_file_that_cannot_be_written_is_named(run_dir: Path, stand_in: Any) -> None:
    run_dir.mkdir(mode=0o700)
    log = run_dir / "hookbox.log"
    log.symlink_to(run_dir / "elsewhere.log")
    with pytest.raises(ProcessError, match=f"could not be started: .*{log}"):
        control.start()
    assert not (run_dir / "elsewhere.log").exists()
    assert control.status().state == State.STOPPED


def test_one_that_crashes_shows_its_last_words(stand_in: Any) -> None:
    stand_in("crash")
    with pytest.raises(ProcessError, match="ended immediately") as caught:
        control.start()
    assert caught.value.log.endswith("it cannot go on like this")
    assert control.status().state == State.STOPPED


def test_one_that_does_not_answer_is_not_called_started(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "START_TIMEOUT", 3.0)
    stand_in("mute")
    with pytest.raises(ProcessError, match="did not answer") as caught:
        control.start()
    assert "stand-in mute" in caught.value.log
    wait_for(lambda: control.status().state == State.UNREACHABLE, "the port to be silent")
    assert control.status().can_stop
    assert not control.status().can_start
    assert control.stop().state == State.STOPPED


def test_one_that_is_still_starting_says_so(run_dir: Path) -> None:
    ensure_run_dir(run_dir)
    lock = LockFile(run_dir / "hookbox.lock")
    assert lock.acquire()
    assert control.status().state == State.STARTING
    lock.close()


def test_process_control_off(run_dir: Path, settings: Any) -> None:
    settings.HOOKBOX_PROCESS_CONTROL = False
    for operation in (control.start, control.stop, control.restart):
        with pytest.raises(ProcessError, match="HOOKBOX_PROCESS_CONTROL is off"):
            operation()
    assert not control.status().can_start
    assert not run_dir.exists()


# ---- what is not ours ------------------------------------------------------------------------


def test_what_was_started_elsewhere_is_described_but_never_signalled(
    run_dir: Path, settings: Any, tmp_path: Path
) -> None:
    child = by_hand(settings)
    try:
        now = control.status()
        assert now.state == State.RUNNING
        assert now.pid == child.pid
        assert not now.can_stop
        assert "not started from here" in now.message
        for operation in (control.stop, control.restart):
            with pytest.raises(ProcessError, match="not started from here"):
                operation()
        with pytest.raises(ProcessError, match="is already running"):
            control.start()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_pid_in_the_file_proves_nothing(run_dir: Path, settings: Any, tmp_path: Path) -> None:
    """Neither without the lock, nor with it but another start time."""
    child = by_hand(settings)
    ensure_run_dir(run_dir)
    path = run_dir / "hookbox.lock"
    lock = LockFile(path)
    try:
        path.write_text(json.dumps({"pid": child.pid, "started": started_at(child.pid)}))
        assert not control.status().can_stop
        with pytest.raises(ProcessError):
            control.stop()
        assert lock.acquire()
        path.write_text(json.dumps({"pid": child.pid, "started": "1"}))
        assert not control.status().can_stop
        with pytest.raises(ProcessError, match="Cannot verify"):
            control.stop()
        assert child.poll() is None
        assert not Holder(child.pid, "1").send(signal.SIGKILL)
        assert child.poll() is None
    finally:
        lock.close()
        child.kill()
        child.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_lock_file_of_nonsense_names_nobody(run_dir: Path, text: str) -> None:
    ensure_run_dir(run_dir)
    lock = LockFile(run_dir / "hookbox.lock")
    assert lock.acquire()
    lock.path.write_text(text)
    assert lock.holder() is None
    lock.close()


@pytest.mark.parametrize(
    ("manner", "state"),
    [
        ("secret", State.SECRET_REFUSED),
        ("foreign", State.NOT_HOOKBOX),
        ("genuine", State.VERSION_DIFFERS),
        ("static", State.NOT_HOOKBOX),
        # A proxy's 502 is neither an answer of the process nor a misconfiguration.
        ("gateway", State.STOPPED),
    ],
)
def test_what_answers_otherwise(
    run_dir: Path, settings: Any, tmp_path: Path, manner: str, state: State
) -> None:
    child = by_hand(settings, manner)
    try:
        now = control.status()
        assert now.state == state
        assert now.message
    finally:
        child.kill()
        child.wait()


def test_another_version_asks_for_a_restart(stand_in: Any) -> None:
    stand_in("good", "0.0.1")
    now = control.start()
    assert now.state == State.VERSION_DIFFERS
    assert "0.0.1" in now.message
    assert now.can_stop


def test_a_wrong_setting_is_described_not_raised(settings: Any, run_dir: Path) -> None:
    settings.HOOKBOX_PORT = "eight"
    now = control.status()
    assert now.state == State.MISCONFIGURED
    assert "HOOKBOX_PORT" in now.message
    assert not now.can_start


def test_a_process_elsewhere_is_unreachable_rather_than_stopped(
    run_dir: Path, settings: Any
) -> None:
    settings.HOOKBOX_REST_URL = f"http://127.0.0.1:{free_port()}/rt"
    now = control.status()
    assert now.state == State.UNREACHABLE
    assert now.address in now.message


# ---- the folder and the lock -----------------------------------------------------------------


def test_the_folder_must_be_ours_alone(tmp_path: Path, settings: Any) -> None:
    ours = tmp_path / "a" / "b"
    ensure_run_dir(ours)
    ensure_run_dir(ours)
    ours.chmod(0o755)
    with pytest.raises(RunDirError, match="0700"):
        ensure_run_dir(ours)
    link = tmp_path / "link"
    ours.chmod(0o700)
    link.symlink_to(ours)
    with pytest.raises(RunDirError, match="is not a folder"):
        ensure_run_dir(link)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunDirError):
        ensure_run_dir(file)
    settings.HOOKBOX_RUN_DIR = link
    with pytest.raises(ProcessError, match="HOOKBOX_RUN_DIR"):
        control.start()


def test_the_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(RunDirError, match="another user"):
        ensure_run_dir(tmp_path)


def test_those_who_look_do_not_take_each_other_for_the_holder(tmp_path: Path) -> None:
    one, two = LockFile(tmp_path / "lock"), LockFile(tmp_path / "lock")
    assert not one.is_held()
    assert one.acquire()
    assert not two.acquire()
    assert two.is_held()
    assert one.is_held()
    one.close()
    assert not two.is_held()
    with pytest.raises(ValueError, match="not held"):
        _ = two.fd


def test_one_started_by_hand_enters_itself(run_dir: Path) -> None:
    with control.holding_lock() as held:
        assert held
        assert LockFile(run_dir / "hookbox.lock").holder() == Holder.myself()
        with control.holding_lock() as again:
            assert not again, "there is one lock"
    assert not LockFile(run_dir / "hookbox.lock").is_held()


def test_without_a_place_for_the_lock_the_server_still_runs(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.HOOKBOX_RUN_DIR = tmp_path / "file" / "run"
    with control.holding_lock() as held:
        assert not held


def test_start_times_tell_processes_apart() -> None:
    assert started_at(os.getpid()) == started_at(os.getpid()) != ""
    assert Holder.myself().is_alive()
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    wait_for(lambda: not started_at(child.pid), "the child to end")  # a zombie has ended
    child.wait()
    assert not Holder(child.pid, "").is_alive()
    assert not Holder(child.pid, "5").send(signal.SIGTERM)


# ---- how it is launched ----------------------------------------------------------------------


def test_the_interpreter_is_found_where_python_is_embedded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert spawning.interpreter() == sys.executable
    monkeypatch.setattr(sys, "executable", "/usr/sbin/uwsgi")
    found = spawning.interpreter()
    assert found.startswith(f"{sys.prefix}/bin/python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(spawning.shutil, "which", lambda _name: None)
    with pytest.raises(ProcessError, match="runhookbox"):
        spawning.interpreter()
    monkeypatch.setattr(sys, "executable", None)
    with pytest.raises(ProcessError):
        spawning.interpreter()


def test_settings_without_a_module_cannot_be_handed_on(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    with pytest.raises(ProcessError, match="not in a module"):
        control.start()
    assert not hookbox_settings.run_dir.joinpath("hookbox.log").exists()


def test_what_starts_it_is_runhookbox() -> None:
    assert spawning.command()[1:] == ["-m", "django", "runhookbox"]


# ---- the real one ----------------------------------------------------------------------------


@pytest.fixture
def real(
    run_dir: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Write the settings of this test for another process."""
    settings.HOOKBOX_CBPORT = free_port()
    module = tmp_path / "settings_of_this_test.py"
    module.write_text(
        "from tests.settings import *\n"
        f"HOOKBOX_PORT = {settings.HOOKBOX_PORT}\n"
        f"HOOKBOX_CBPORT = {settings.HOOKBOX_CBPORT}\n"
        f"HOOKBOX_RUN_DIR = {str(run_dir)!r}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", module.stem)
    yield
    holder = LockFile(run_dir / "hookbox.lock").holder()
    if holder is not None:
        holder.send(signal.SIGKILL)
        wait_for(lambda: not holder.is_alive(), "the process to end")


def test_the_real_server_starts_restarts_and_stops(real: None) -> None:
    now = control.start()
    assert now.state == State.RUNNING, control.log_tail()
    assert now.can_stop
    assert now.connections == 0
    again = control.restart()
    assert again.state == State.RUNNING, control.log_tail()
    assert again.pid != now.pid
    assert control.stop().state == State.STOPPED


def test_the_real_server_started_in_a_shell_can_be_stopped(real: None) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shell = subprocess.Popen(
        [sys.executable, "-m", "django", "runhookbox"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: control.status().state == State.RUNNING, "the process to run")
        now = control.status()
        assert now.pid == shell.pid
        assert now.can_stop
        assert control.start().pid == shell.pid, "it runs already"
        assert control.stop().state == State.STOPPED
        assert shell.wait(timeout=10) == 0
    finally:
        if shell.poll() is None:
            shell.kill()
            shell.wait()
