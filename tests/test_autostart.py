"""`runserver` starts the Hookbox process, which ends together with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management.base import BaseCommand
from django.core.management.commands.runserver import Command as RunServer

from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.process import autostart, spawning
from djhookbox.process.autostart import Address, Autostart, address
from djhookbox.process.lockfile import Holder, LockFile, started_at
from djhookbox.process.owner import OwnerWatch

from .projects import Project, answers
from .stand_ins.process import fake_hookbox
from .stand_ins.waiting import PATIENCE, wait_for

CHILD = {"RUN_MAIN": "true"}
URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""


@pytest.fixture(autouse=True)
def _development(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(spawning, "_owner", None)


def runserver(*arguments: str, **environment: str) -> Address | None:
    return address(["manage.py", "runserver", *arguments], environment or CHILD)


# ---- when ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Address("127.0.0.1", "8000")),
        (["8080"], Address("127.0.0.1", "8080")),
        (["0.0.0.0:8080"], Address("127.0.0.1", "8080")),
        (["0:8080"], Address("127.0.0.1", "8080")),
        (["192.0.2.7:9000", "--nothreading"], Address("192.0.2.7", "9000")),
        (["-6"], Address("::1", "8000")),
        (["[::]:8080"], Address("::1", "8080")),
        (["dev.example:80", "--settings", "a.b"], Address("dev.example", "80")),
    ],
)
def test_where_it_serves(arguments: list[str], expected: Address) -> None:
    assert runserver(*arguments) == expected


def test_without_reloader_it_serves_itself() -> None:
    assert runserver("--noreload", OTHER="1") == Address("127.0.0.1", "8000")


def test_the_parent_that_watches_files_starts_nothing() -> None:
    assert runserver(OTHER="1") is None


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["--unknown=3", "--port"]]
)
def test_what_serves_nothing(arguments: list[str]) -> None:
    found = runserver(*arguments)
    assert found is None or "--unknown=3" in arguments


@pytest.mark.parametrize("command", ["migrate", "testserver", "runhookbox", "runserver_plus"])
def test_other_commands_start_nothing(command: str) -> None:
    assert address(["manage.py", command], CHILD) is None
    assert address(["manage.py"], CHILD) is None


def test_only_in_debug_unless_asked_for(settings: Any) -> None:
    settings.DEBUG = False
    assert runserver() is None
    settings.HOOKBOX_AUTOSTART = True
    assert runserver() is not None
    settings.DEBUG = True
    settings.HOOKBOX_AUTOSTART = False
    assert runserver() is None


class Replaced(RunServer):
    """A `runserver` of another package, such as Daphne's."""

    default_port = "9000"


@pytest.mark.parametrize("found", ["daphne", Replaced()], ids=["an app", "a command"])
def test_a_replaced_command_is_left_alone(found: str | BaseCommand, settings: Any) -> None:
    with (
        mock.patch.object(autostart, "get_commands", return_value={"runserver": found}),
        mock.patch.object(autostart, "load_command_class", return_value=Replaced()),
    ):
        assert runserver() is None
        settings.HOOKBOX_AUTOSTART = True
        assert runserver() == Address("127.0.0.1", "9000")


def test_a_wrong_setting_is_reported_and_harms_nothing(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.HOOKBOX_AUTOSTART = "yes"
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_AUTOSTART must be True, False or None"):
        runserver()
    assert autostart.begin(["manage.py", "runserver", "--noreload"]) is None
    assert "[hookbox] HOOKBOX_AUTOSTART must be" in capsys.readouterr().err


# ---- what is started -----------------------------------------------------------------------------


@pytest.fixture
def launched(
    settings: Any, tmp_path: Path, unused_port: int
) -> Iterator[tuple[Autostart, mock.Mock, list[str]]]:
    settings.HOOKBOX_RUN_DIR = tmp_path / "run"
    settings.HOOKBOX_PORT = unused_port
    sentences: list[str] = []
    work = Autostart(Address("127.0.0.1", "8123"), os.getpid(), sentences.append)
    with (
        mock.patch.object(autostart.subprocess, "Popen") as started,
        mock.patch.object(autostart.spawning, "environment", return_value={}),
    ):
        started.return_value.pid = os.getpid()
        yield work, started, sentences


@pytest.fixture
def unused_port() -> int:
    from .ports import free_port

    return free_port()


def test_it_is_told_where_runserver_is_and_whom_to_watch(launched: Any) -> None:
    work, started, sentences = launched
    assert work.launch() is started.return_value
    (command,) = started.call_args.args
    assert command[1:4] == ["-m", "django", "runhookbox"]
    assert command[4:6] == ["--owner", str(os.getpid())]
    assert command[command.index("--log-prefix") + 1] == "[hookbox] "
    assert command[-4:] == ["--cbhost", "127.0.0.1", "--cbport", "8123"]
    assert sentences == []
    # Those that the admin starts end together with runserver as well.
    assert spawning.command()[4:] == ["--owner", str(os.getpid())]


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOOKBOX_CBPORT", 9), ("HOOKBOX_CBHOST", "a"), ("HOOKBOX_WEBHOOK_URL", "http://a/b")],
)
def test_settings_about_webhooks_are_respected(
    launched: Any, settings: Any, name: str, value: object
) -> None:
    work, started, _sentences = launched
    setattr(settings, name, value)
    work.launch()
    assert "--cbport" not in started.call_args.args[0]


def test_it_survives_changes_of_the_code_but_not_of_its_settings(
    launched: Any, settings: Any
) -> None:
    work, started, _sentences = launched
    work.launch()
    assert work.launch() is None  # the process that was noted is alive: this one
    with mock.patch.object(work, "_end") as end:
        settings.HOOKBOX_PING_INTERVAL = 7
        work.launch()
    assert end.call_args.args[0] == Holder(os.getpid(), started_at(os.getpid()))
    assert started.call_count == 2


def test_an_earlier_process_is_ended_and_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        threading.Timer(0, process.wait).start()  # reaps it, as init does
        Autostart._end(Holder(process.pid, started_at(process.pid)))
        assert process.wait(PATIENCE) == -signal.SIGTERM


@pytest.mark.django_db
@pytest.mark.usefixtures("real_process")
def test_a_running_process_is_used(launched: Any, settings: Any) -> None:
    work, started, sentences = launched
    with fake_hookbox() as fake:
        fake.replies(True, {"version": "1.0.0"})
        settings.HOOKBOX_REST_URL = fake.url
        assert work.launch() is None
    assert not started.called
    assert "already running" in sentences[0]


def test_a_taken_port_is_named(launched: Any, settings: Any) -> None:
    import socket

    work, started, sentences = launched
    with socket.create_server(("127.0.0.1", settings.HOOKBOX_PORT)):
        assert work.launch() is None
    assert not started.called
    assert f"port {settings.HOOKBOX_PORT} is used by another program" in sentences[0]
    assert "HOOKBOX_AUTOSTART = False" in sentences[0]


def test_what_is_started_elsewhere_is_not_started(launched: Any, settings: Any) -> None:
    work, started, sentences = launched
    settings.HOOKBOX_PROCESS_CONTROL = False
    assert work.launch() is None
    assert sentences == []
    settings.HOOKBOX_PROCESS_CONTROL = True
    settings.HOOKBOX_EXECUTABLE = "/usr/bin/hookbox"
    assert work.launch() is None
    assert "runhookbox" in sentences[0]
    assert not started.called


def test_problems_are_said(launched: Any, settings: Any, tmp_path: Path) -> None:
    work, started, sentences = launched
    (tmp_path / "run").mkdir(mode=0o777)
    (tmp_path / "run").chmod(0o777)
    work.run()
    assert "0700" in sentences.pop()
    (tmp_path / "run").chmod(0o700)
    started.return_value.wait.return_value = 1
    work.run()
    assert "status 1" in sentences.pop()
    started.side_effect = OSError("no memory")
    (tmp_path / "run" / "autostart.json").unlink()
    work.run()
    assert "no memory" in sentences.pop()


# ---- its end, and its lines ----------------------------------------------------------------------


def test_the_owner_is_watched() -> None:
    gone = threading.Event()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        watch = OwnerWatch(owner.pid, gone.set, seconds=0.01)
        watch.start()
        assert not gone.wait(0.1)
        assert owner.stdin
        owner.stdin.close()
        owner.wait()
        assert gone.wait(PATIENCE)
    watch.join(PATIENCE)


def test_watching_can_end() -> None:
    gone = threading.Event()
    watch = OwnerWatch(os.getpid(), gone.set, seconds=0.01)
    watch.start()
    watch.end()
    watch.join(PATIENCE)
    assert not gone.is_set()


def test_every_line_has_the_prefix() -> None:
    script = """
import logging, os, sys
logging.basicConfig()  # a handler that has opened standard error before
from djhookbox.process.prefixing import prefixed
print("before")
with prefixed("[x] "):
    print("one", flush=True)
    logging.warning("two")
    os.write(2, b"three\\r\\nwithout an end")
with prefixed(""):
    print("after")
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.stdout == "before\nafter\n"
    assert sorted(ran.stderr.splitlines()) == [
        "[x] WARNING:root:two", "[x] one", "[x] three", "[x] without an end",
    ]  # fmt: skip


# ---- the whole -----------------------------------------------------------------------------------


class Site(Project):
    """A project whose `runserver` starts the process."""

    def serve(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.start("runserver", f"127.0.0.1:{self.site_port}", *arguments)
        self.wait_until(lambda: answers(f"{self.origin}/admin/login/"), "Django")
        self.wait_until(self.is_up, "Hookbox")
        return self._processes[-1][1]

    def is_up(self) -> bool:
        return answers(f"http://127.0.0.1:{self.hookbox_port}/health")

    def pid(self) -> int:
        """Return the process that holds the lock."""
        holder = LockFile(self.folder / "run" / "hookbox.lock").holder()
        assert holder
        return holder.pid


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.write_site(
        ["djhookbox"], urls=URLS, settings=f"HOOKBOX_RUN_DIR = {str(tmp_path / 'run')!r}\n"
    )
    text = (tmp_path / "settings.py").read_text()
    site.write("settings.py", text.replace("HOOKBOX_AUTOSTART = False", ""))
    site.migrate()
    yield site
    site.stop()


@pytest.mark.process
@pytest.mark.slow
def test_one_terminal_is_enough(site: Site) -> None:
    server = site.serve()
    assert "[hookbox] Hookbox" in site.logs()
    first = site.pid()
    # A change of the code keeps the process, and with it the connections.
    site.write("urls.py", URLS + "# changed\n")
    wait_for(lambda: "changed, reloading" in site.logs(), "the reloader")
    site.wait_until(lambda: answers(f"{site.origin}/admin/login/"), "Django")
    site.wait_until(lambda: site.logs().count("Starting development server") >= 2, "Django")
    assert site.pid() == first
    # A change of a setting replaces it.
    text = (site.folder / "settings.py").read_text()
    site.write("settings.py", text + "HOOKBOX_PING_INTERVAL = 7\n")
    wait_for(lambda: started_at(first) == "", "the end of the first process")
    site.wait_until(site.is_up, "Hookbox")
    second = site.pid()
    assert second != first
    # One that the admin has started ends with runserver, too.
    os.kill(second, signal.SIGTERM)
    wait_for(lambda: started_at(second) == "", "the end of the second process")
    # kill -9 leaves nothing behind.
    group = os.getpgid(server.pid)
    site.write("settings.py", text + "HOOKBOX_PING_INTERVAL = 8\n")
    third = wait_for(lambda: site.is_up() and site.pid(), "the third process")
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    try:
        wait_for(lambda: started_at(third) == "", "the end of the third process")
    finally:
        os.killpg(group, signal.SIGKILL)


@pytest.mark.process
@pytest.mark.slow
def test_control_c_ends_both(site: Site) -> None:
    server = site.serve("--noreload")
    pid = site.pid()
    os.killpg(server.pid, signal.SIGINT)  # as a terminal does
    server.wait(PATIENCE)
    wait_for(lambda: started_at(pid) == "", "the end of the process")
