from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from djhookbox.conf import settings as conf
from djhookbox.management.commands import runhookbox
from djhookbox.server import running
from djhookbox.server.config import ServerConfig

from .stand_ins.process import fake_hookbox
from .stand_ins.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://127.0.0.1:8001"


@pytest.fixture(autouse=True)
def run_dir(settings, tmp_path):
    settings.HOOKBOX_RUN_DIR = str(tmp_path / "run")


@pytest.fixture
def server(monkeypatch):
    """Replace the server: record its configuration and return immediately."""
    configs: list[ServerConfig] = []

    def run(config, *, on_ready=None):
        configs.append(config)
        on_ready(ADDRESS)

    monkeypatch.setattr(running, "run", run)
    return configs


@pytest.fixture
def watches(monkeypatch):
    """Record what would have been watched."""
    made = []

    class Watch:
        def __init__(self, url, say, **kwargs):
            made.append((url, kwargs))
            self.started = self.ended = False
            made_watches.append(self)

        def start(self):
            self.started = True

        def end(self):
            self.ended = True

    made_watches: list[Watch] = []
    monkeypatch.setattr(runhookbox.reachability, "WebhookWatch", Watch)
    yield made
    assert all(watch.ended for watch in made_watches)


def call(*arguments):
    out, err = StringIO(), StringIO()
    call_command("runhookbox", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


# ---- settings and options → ServerConfig


@pytest.mark.usefixtures("watches")
class TestConfig:
    def test_settings_are_the_defaults(self, server, settings):
        settings.HOOKBOX_INTERFACE = "::1"
        settings.HOOKBOX_PORT = 9001
        settings.HOOKBOX_CBPATH = "/hookbox/"
        settings.HOOKBOX_WEBHOOK_SECRET = ["new-webhook-secret", "old-webhook-secret"]
        settings.HOOKBOX_REST_SECRET = ["new-rest-secret", "old-rest-secret"]
        settings.HOOKBOX_ALLOWED_ORIGINS = ["https://example.com"]
        settings.HOOKBOX_TRUSTED_PROXIES = ["10.0.0.1"]
        settings.HOOKBOX_POLLING_HOSTS = ["feed.example.com"]
        call()
        (config,) = server
        assert (config.interface, config.port) == ("::1", 9001)
        assert config.webhook_url == "http://127.0.0.1:8000/hookbox"
        assert config.webhook_secret == "new-webhook-secret"
        assert config.rest_secrets == ("new-rest-secret", "old-rest-secret")
        assert config.allowed_origins == ("https://example.com",)
        assert config.trusted_proxies == ("10.0.0.1",)
        assert config.polling_hosts == ("feed.example.com",)
        assert config.webhook_paths == {}
        assert config.webhook_headers == {}
        assert config.version
        assert not config.tell_delivered

    def test_only_with_debug_are_browsers_told_who_is_reached(self, server, settings):
        settings.DEBUG = True
        call()
        assert server[0].tell_delivered

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("webhook_timeout", 3.5),
            ("webhook_concurrency", 7),
            ("max_frame_size", 4321),
            ("max_payload_size", 5432),
            ("max_name_length", 99),
            ("max_channels_per_connection", 12),
            ("max_channels", 13),
            ("max_subscriptions", 14),
            ("max_connections", 34),
            ("max_unconnected", 35),
            ("max_unconnected_per_address", 36),
            ("connect_timeout", 3.7),
            ("jsonp", True),
            ("rest_get", True),
            ("allow_set_config", True),
            ("allowed_hosts", ("a.example",)),
            ("max_unsent", 56789),
            ("max_unsent_total", 567890),
            ("max_incoming", 45678),
            ("max_channel_history", 6789),
            ("max_history", 7890),
            ("max_channel_state", 8901),
            ("max_state", 9012),
            ("max_answer_bytes", 9123),
            ("max_rest_bytes", 9234),
            ("max_cookie_bytes", 9345),
            ("max_frames_per_second", 78),
            ("ping_interval", 9.5),
            ("grace_period", 4.5),
        ],
    )
    def test_each_limit_has_its_setting(self, server, settings, name, value):
        setattr(settings, f"HOOKBOX_{name.upper()}", value)
        call()
        assert getattr(server[0], name) == value

    @pytest.mark.parametrize("long", [False, True])
    def test_the_command_line_wins(self, server, settings, long):
        settings.HOOKBOX_INTERFACE = "0.0.0.0"
        settings.HOOKBOX_PORT = 9001
        arguments = ["-i", "127.0.0.2", "-p", "9002", "-s", "of the line", "-r", "rest of the line"]
        if long:
            names = ["--interface", "--port", "--webhook-secret", "--rest-secret"]
            arguments[::2] = names
        call(*arguments)
        (config,) = server
        assert (config.interface, config.port) == ("127.0.0.2", 9002)
        assert config.webhook_secret == "of the line"
        assert config.rest_secrets == ("rest of the line",)

    def test_the_later_name_of_the_rest_secret(self, server):
        call("--api-security-token", "token")
        assert server[0].rest_secrets == ("token",)

    @pytest.mark.parametrize(
        ("arguments", "url"),
        [
            (["--cbhost", "example.com"], "http://example.com:8000/hookbox"),
            (["--cbhost", "::1"], "http://[::1]:8000/hookbox"),
            (["--cbport", "80"], "http://127.0.0.1:80/hookbox"),
            (["--cbpath", "/x/y/"], "http://127.0.0.1:8000/x/y"),
            (["--cbpath", "/"], "http://127.0.0.1:8000"),
            (["--webhook-url", "https://example.com/h/"], "https://example.com/h"),
        ],
    )
    def test_where_webhooks_go(self, server, arguments, url):
        call(*arguments)
        assert server[0].webhook_url == url

    def test_parts_of_a_webhook_url_can_be_replaced(self, server, settings):
        settings.HOOKBOX_WEBHOOK_URL = "https://example.com/hookbox"
        call("--cbhost", "example.org")
        assert server[0].webhook_url == "https://example.org/hookbox"

    def test_the_options_of_the_genuine_server(self, server):
        names = runhookbox.CALLBACKS
        call(*(f"--cb-{name}=/my-{name}" for name in names), "--cb-single-url", "http://a/b?c=d")
        (config,) = server
        assert config.webhook_paths == {name: f"my-{name}" for name in names}
        assert config.single_url == "http://a/b?c=d"

    def test_origins(self, server):
        call("--allow-origin", "https://a.example/", "--allow-origin", "https://*.b.example")
        assert server[0].allowed_origins == ("https://a.example", "https://*.b.example")

    @pytest.mark.parametrize("name", ["jsonp", "rest_get", "allow_set_config"])
    def test_what_only_clients_of_2011_need_is_off(self, server, name):
        call()
        call(f"--{name.replace('_', '-')}")
        assert [getattr(config, name) for config in server] == [False, True]

    def test_the_header_that_passes_the_ssl_redirect(self, server, settings):
        settings.SECURE_SSL_REDIRECT = True
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        call()
        assert server[0].webhook_headers == {"X-Forwarded-Proto": "https"}


# ---- what cannot work


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "70000"], ["-p/--port", "HOOKBOX_PORT", "65535"]),
        (["-p", "eight"], ["--port", "eight"]),
        (["-i", "http://localhost"], ["-i/--interface", "HOOKBOX_INTERFACE"]),
        (["--webhook-url", "localhost:8000"], ["--webhook-url", "HOOKBOX_WEBHOOK_URL"]),
        (["--webhook-url", "http://a", "--cbport", "80"], ["--webhook-url", "--cbport"]),
        (["--cbport", "0"], ["--cbport"]),
        (["--cbpath", "x"], ["--cbpath", "slash"]),
        (["--cb-single-url", "a"], ["--cb-single-url"]),
        (["--allow-origin", "example.com"], ["--allow-origin", "example.com"]),
        (["--allow-origin", "https://*"], ["--allow-origin"]),
        (["--log-level", "loud"], ["--log-level", "loud"]),
        (["-d"], ["-d/--debug", "--log-level"]),
        (["-o", "5"], ["-o/--objgraph"]),
        (["-E", str(ROOT)], ["-E/--log-file-errors", str(ROOT)]),
        (["-A", "/no/such/folder/x"], ["-A/--log-file-access", "/no/such/folder/x"]),
        (["-e", "/no/such/program"], ["/no/such/program", "--executable", "HOOKBOX_EXECUTABLE"]),
        (["-e", str(ROOT)], ["--executable"]),
        (["-e", sys.executable, "--webhook-url", "https://a/b"], ["--webhook-url", "http://"]),
    ],
)
def test_bad_options_are_named(server, arguments, words):
    with pytest.raises(CommandError) as caught:
        call(*arguments)
    assert [word for word in words if word not in str(caught.value)] == []
    assert server == []


def test_bad_settings_are_named(server, settings):
    settings.HOOKBOX_PING_INTERVAL = "often"
    with pytest.raises(CommandError, match="HOOKBOX_PING_INTERVAL"):
        call("--skip-checks")
    assert server == []


def test_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CommandError) as caught:
            call("-p", str(port))
    for word in (str(port), "-p/--port", "HOOKBOX_PORT", "already in use"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied"), "above 1023"),
        (OSError(errno.EADDRNOTAVAIL, "no"), "not an address of this machine"),
        (socket.gaierror(-2, "Name or service not known"), "not an address of this machine"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ],
)
def test_an_address_that_cannot_be_listened_on(monkeypatch, error, words):
    def run(config, *, on_ready=None):
        raise error

    monkeypatch.setattr(running, "run", run)
    with pytest.raises(CommandError, match=words):
        call()


# ---- what is said


@pytest.mark.usefixtures("server", "watches")
class TestSaid:
    def test_where_everything_is(self):
        out, err = call()
        assert ADDRESS in out
        assert "http://127.0.0.1:8000/hookbox" in out
        assert "Log: " in out
        assert err == ""

    def test_a_wrong_path(self):
        _out, err = call("--cbpath", "/wrong")
        assert "URLconf has no webhook at /wrong/connect" in err

    def test_no_webhooks_at_all(self, settings):
        settings.ROOT_URLCONF = type("NoRoutes", (), {"urlpatterns": []})
        _out, err = call("--skip-checks")
        assert "djhookbox.urls" in err

    def test_foreign_secrets(self, settings):
        _out, err = call("-s", "foreign secret", "-r", "foreign rest secret")
        assert "given with -s" in err
        assert "given with -r" in err
        assert "foreign" not in err

    def test_the_sites_own_secrets(self, settings):
        settings.HOOKBOX_WEBHOOK_SECRET = ["new-webhook-secret", "old-webhook-secret"]
        _out, err = call("-s", "old-webhook-secret", "-r", conf.rest_secrets[0])
        assert err == ""

    def test_a_port_where_the_site_does_not_look(self, settings):
        _out, err = call("-p", "9999")
        assert "HOOKBOX_PORT" in err
        assert "http://127.0.0.1:8001" in err
        assert call("-p", "8001")[1] == ""
        settings.HOOKBOX_REST_URL = "http://127.0.0.1:9999"
        assert call("-p", "9999")[1] == ""

    def test_a_password_for_nothing(self):
        out, _err = call("-a", "secret word")
        assert "-a is ignored" in out
        assert "secret word" not in out

    def test_secrets_are_never_printed(self):
        out, err = call()
        for secret in (*conf.webhook_secrets, *conf.rest_secrets):
            assert secret not in out + err


@pytest.mark.usefixtures("server")
class TestWatch:
    def test_the_webhooks_are_tried(self, watches):
        call()
        ((url, kwargs),) = watches
        assert url == "http://127.0.0.1:8000/hookbox"
        assert kwargs["secret"] == conf.webhook_secrets[0]

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--cbhost", "localhost"],
            ["--cbport", "8000"],
            ["--cbpath", "/hookbox"],
            ["--cb-connect", "connect"],
            ["--webhook-url", "http://localhost:8000/hookbox"],
            ["-s", "x"],
        ],
    )
    def test_another_application_gets_no_call_that_it_does_not_know(self, watches, arguments):
        call(*arguments)
        assert watches[0][1]["secret"] is None

    def test_a_single_url(self, watches):
        call("--cb-single-url", "http://example.com/all")
        assert watches[0][0] == "http://example.com/all"
        assert watches[0][1]["secret"] is None


def test_a_site_is_told_from_another(monkeypatch, settings):
    """The real watch, from the command to an answering site and back."""
    with fake_hookbox() as site:
        settings.HOOKBOX_WEBHOOK_URL = f"{site.url}/hookbox"

        def run(config, *, on_ready=None):
            on_ready(ADDRESS)
            wait_for(lambda: site.requests, "the webhook")

        monkeypatch.setattr(running, "run", run)
        call()
        assert site.requests[0].form["secret"] == conf.webhook_secrets[0]
        assert site.requests[0].form["action"] == "events"


# ---- real processes


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "settings_of_test.py").write_text(
        "from tests.settings import *\n"
        f"HOOKBOX_RUN_DIR = {str(tmp_path / 'run')!r}\n"
        "HOOKBOX_CBPORT = 9\n"  # the discard port: nobody answers
    )
    return {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "settings_of_test",
    }


COMMAND = [sys.executable, "-m", "django", "runhookbox"]


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_real_server(environment, number):
    process = subprocess.Popen(
        [*COMMAND, "-p", "0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        said = ""
        while "Django does not answer" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        address = re.search(r"is listening on (http://127\.0\.0\.1:\d+)", said)[1]
        with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
            assert json.load(response) == {"status": "ok"}
        assert "http://127.0.0.1:9/hookbox" in said
        process.send_signal(number)
        _out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert "Traceback" not in err
    finally:
        process.kill()
        process.communicate()


@pytest.mark.process
def test_another_program_takes_its_place(environment, tmp_path):
    program = tmp_path / "hookbox"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "lost = [n for n in ('PYTHONPATH', 'PYTHONHOME') if n not in os.environ]\n"
        "print(json.dumps([os.getpid(), lost, *sys.argv[1:]]))\n"
        "sys.exit(7)\n"
    )
    program.chmod(0o755)
    process = subprocess.Popen(
        [*COMMAND, "-e", str(program), "-p", "8123", "-s", "ws", "-r", "rs", "-a", "pw",
         "--cb-connect", "c", "--cb-message", "m", "--cb-single-url", "http://a/b",
         "--allow-origin", "http://a", "--jsonp", "-L", "debug",
         "--rest-get", "--allow-set-config",
         "-d", "-E", "errors", "-A", "access", "-c", "sid", "-o", "9"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 7, err  # the program's own status
    said, line = out.splitlines()
    assert str(program) in said
    pid, lost, *arguments = json.loads(line)
    assert pid == process.pid  # so that signals reach it
    assert lost == ["PYTHONPATH", "PYTHONHOME"]  # it may be of another Python
    for option in ("--cb-message", "--allow-origin", "--jsonp", "--rest-get", "--allow-set-config",
                   "--log-level"):  # fmt: skip
        assert f"{option} applies only to the bundled server" in err
    assert "SESSION_COOKIE_HTTPONLY" in err
    assert "receives its secrets on the command line (-s, -r, -a)" in err
    assert "hidepid" in err
    assert arguments == [
        "-i", "127.0.0.1", "-p", "8123", "--cbhost", "127.0.0.1", "--cbport", "9",
        "--cbpath", "/hookbox", "-s", "ws", "-r", "rs", "-a", "pw",
        "--cb-connect", "c", "--cb-single-url", "http://a/b",
        "-d", "-E", "errors", "-A", "access", "-c", "sid", "-o", "9",
    ]  # fmt: skip


def test_a_program_that_cannot_be_run_is_named(tmp_path, server):
    program = tmp_path / "hookbox"
    program.write_bytes(b"\0\1\2")
    program.chmod(0o755)
    with pytest.raises(CommandError, match="cannot be run: Exec format error"):
        call("-e", str(program))
