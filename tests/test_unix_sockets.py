"""A site that only listens on a Unix socket, as gunicorn behind nginx often does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler

import pytest
from django.core import checks
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import CommandError

from djhookbox.conf import settings as conf
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.management import configuring
from djhookbox.management.commands import runhookbox
from djhookbox.process.reachability import WebhookWatch
from djhookbox.server.config import ConfigError, ServerConfig, changed_config
from djhookbox.server.metrics import Metrics
from djhookbox.server.site.webhooks import WebhookFailed, Webhooks
from djhookbox.wire.webhooks import Events

URL = "http+unix:///run/site.sock:/hookbox"

pytestmark = pytest.mark.django_db(transaction=True)


class Handler(WSGIRequestHandler):
    """Serves Django like gunicorn: without an address of the peer."""

    def address_string(self) -> str:
        return ""

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if self.parse_request():
            environ = {**self.get_environ(), "SERVER_NAME": "", "SERVER_PORT": ""}
            handler = ServerHandler(self.rfile, self.wfile, StringIO(), environ)
            handler.request_handler = self  # type: ignore[attr-defined]
            handler.run(WSGIHandler())

    def get_environ(self) -> dict[str, Any]:
        self.client_address = ("", 0)
        return super().get_environ()

    def log_message(self, *args: object) -> None:
        pass


class UnixSite(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    base_environ: dict[str, str] = {"SCRIPT_NAME": ""}


@pytest.fixture
def unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[str]:
    """Serve this site on a socket and yield the URL of its webhooks."""
    monkeypatch.chdir(tmp_path)  # the whole path would be too long for a socket
    settings.ALLOWED_HOSTS = [".example.com"]
    path = str(tmp_path / "s")
    with UnixSite("s", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield path
        server.shutdown()


def configured(*arguments: str) -> ServerConfig:
    parser = runhookbox.Command().create_parser("manage.py", "runhookbox")
    return configuring.server_config(vars(parser.parse_args(list(arguments))))


# ---- the setting


def test_the_parts_of_the_url(settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = f"{URL}/"
    assert (conf.webhook_url, conf.webhook_path) == (URL, "/hookbox")
    config = configured()
    assert config.webhook_socket == "/run/site.sock"
    assert config.webhook_url == "http://localhost/hookbox"
    assert config.shown(f"{config.webhook_url}/connect") == f"{URL}/connect"
    assert checks.run_checks(tags=["djhookbox"]) == []


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ([], "localhost"), (["*"], "localhost"), (["a.example", "localhost"], "localhost"),
        (["a.example", "b.example"], "a.example"), ([".example.com"], "example.com"),
    ],
)  # fmt: skip
def test_the_host_is_one_that_the_site_accepts(settings: Any, hosts: list[str], host: str) -> None:
    settings.ALLOWED_HOSTS = hosts
    settings.HOOKBOX_WEBHOOK_URL = URL
    assert conf.webhook_host == host


@pytest.mark.parametrize(
    "url",
    [
        "http+unix://", "http+unix://run/site.sock:/hookbox", "http+unix:///run/site.sock:hookbox",
        "http+unix:/run/site.sock", f"http+unix:///{'x' * 107}:/hookbox",
    ],
)  # fmt: skip
def test_what_is_not_such_a_url(settings: Any, url: str) -> None:
    settings.HOOKBOX_WEBHOOK_URL = url
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_WEBHOOK_URL"):
        conf.webhook_url  # noqa: B018 - raises
    with pytest.raises(ConfigError, match="webhook_url"):
        configured("--webhook-url", url)
    settings.HOOKBOX_WEBHOOK_URL = "https+unix:///run/site.sock:/hookbox"
    with pytest.raises(HookboxMisconfigured, match="HOOKBOX_WEBHOOK_URL"):
        conf.webhook_url  # noqa: B018 - raises


def test_checks_know_the_path(settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = "http+unix:///run/site.sock:/elsewhere"
    (message,) = checks.run_checks(tags=["djhookbox"])
    assert message.id == "djhookbox.W003"
    assert "/elsewhere/connect" in message.msg
    settings.HOOKBOX_WEBHOOK_URL = URL
    settings.SECURE_SSL_REDIRECT = True
    (message,) = checks.run_checks(tags=["djhookbox"])
    assert message.id == "djhookbox.W005"
    assert "r'^hookbox/'" in message.hint


def test_options_win(settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = URL
    config = configured("--cbport", "8080")
    assert (config.webhook_socket, config.webhook_url) == ("", "http://127.0.0.1:8080/hookbox")
    config = configured("--cb-single-url", "http://a.example/all")
    assert (config.webhook_socket, config.single_url) == ("", "http://a.example/all")
    settings.HOOKBOX_WEBHOOK_URL = None
    config = configured("--cb-single-url", "http+unix:///run/b.sock:/all")
    assert (config.webhook_socket, config.single_url) == ("/run/b.sock", "http://localhost/all")
    moved = changed_config(config, {"cbport": 9})
    assert moved.webhook_socket == ""


def test_the_genuine_server_cannot(settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = URL
    with pytest.raises(ConfigError, match="webhook_url"):
        configuring.genuine_arguments(configured(), None)


# ---- calls


async def test_webhooks_arrive(unix_socket: str, settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = f"http+unix://{unix_socket}:/hookbox"
    webhooks = Webhooks(configured(), Metrics(0.0))
    await webhooks.start()
    try:
        for _again in range(2):
            assert (await webhooks.send(Events("[]"))).allowed
        assert "events" in webhooks.accepted
    finally:
        await webhooks.stop()


async def test_a_socket_that_is_not_there(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = "http+unix:///nowhere/site.sock:/hookbox"
    settings.HOOKBOX_WEBHOOK_URL = url
    webhooks = Webhooks(configured(), Metrics(0.0))
    await webhooks.start()
    try:
        with pytest.raises(WebhookFailed):
            await webhooks.send(Events("[]"))
    finally:
        await webhooks.stop()
    assert f"{url}/events" in caplog.text
    assert "No such file" in caplog.text


@pytest.mark.usefixtures("real_process")
def test_the_watch_of_runhookbox(unix_socket: str, settings: Any) -> None:
    url = f"http+unix://{unix_socket}:/hookbox"
    secret = conf.webhook_secrets[0]
    assert WebhookWatch(url, print, secret=secret).problem() == ""
    assert "HOOKBOX_WEBHOOK_SECRET" in WebhookWatch(url, print, secret="wrong").problem()
    settings.ALLOWED_HOSTS = ["other.example"]
    assert WebhookWatch(url, print, secret=secret).problem() == ""
    gone = "http+unix:///nowhere/site.sock:/hookbox"
    assert f"Django does not answer at {gone}" in WebhookWatch(gone, print).problem()


def test_a_socket_of_another_user(unix_socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise PermissionError(13, "Permission denied")

    # Who runs the tests as root may use every socket.
    if os.getuid() == 0:
        monkeypatch.setattr("djhookbox.process.probing.connect", refuse)
    else:
        os.chmod(unix_socket, 0o400)
    problem = WebhookWatch(f"http+unix://{unix_socket}:/hookbox", print).problem()
    assert f"The socket {unix_socket} cannot be used" in problem
    assert "write permission" in problem


def test_runhookbox_says_where_webhooks_go(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HOOKBOX_WEBHOOK_URL = URL

    def run(config: ServerConfig, *, on_ready: Any) -> None:
        on_ready("http://127.0.0.1:8001")

    monkeypatch.setattr("djhookbox.server.running.run", run)
    monkeypatch.setattr(WebhookWatch, "start", lambda self: None)
    out = StringIO()
    from django.core.management import call_command

    try:
        call_command("runhookbox", stdout=out)
    except CommandError as error:  # pragma: no cover - says what went wrong
        pytest.fail(str(error))
    assert f"Webhooks are sent to {URL}." in out.getvalue()
