"""https addresses with certificates of a private CA, in both directions."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from django.core import checks
from django.core.management import CommandError, call_command

from djhookbox import certificates, client
from djhookbox.client import http
from djhookbox.exceptions import HookboxMisconfigured
from djhookbox.management import configuring
from djhookbox.management.commands import runhookbox
from djhookbox.process import control
from djhookbox.process.reachability import WebhookWatch
from djhookbox.server.config import ConfigError, ServerConfig
from djhookbox.server.metrics import Metrics
from djhookbox.server.site.webhooks import WebhookFailed, Webhooks
from djhookbox.wire.webhooks import Events

from .stand_ins.process import FakeHookbox, fake_hookbox


@dataclass
class Secure:
    """A server behind https, and the file with the certificate of its CA."""

    server: FakeHookbox
    ca_file: str


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in certificates.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def secure(tmp_path: Path, settings: Any) -> Iterator[Secure]:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    http.forget_connections()
    with fake_hookbox(tls=tls) as server:
        server.replies(True, {"version": "1"})
        settings.HOOKBOX_REST_URL = server.url
        yield Secure(server, str(ca_file))
    http.forget_connections()


def configured() -> ServerConfig:
    """Return the configuration that runhookbox would give to the server."""
    parser = runhookbox.Command().create_parser("manage.py", "runhookbox")
    return configuring.server_config(vars(parser.parse_args([])))


# ---- Django calls the process


def test_a_certificate_that_nobody_vouches_for_is_named(secure: Secure) -> None:
    with pytest.raises(HookboxMisconfigured) as caught:
        client.get_server_info()
    text = str(caught.value)
    assert f"The certificate of {secure.server.url} was rejected: " in text
    assert "unable to get local issuer certificate" in text
    assert "HOOKBOX_CA_FILE" in text
    assert "Is it running" not in text
    assert secure.server.requests == []
    status = control.status()
    assert status.state is control.State.MISCONFIGURED
    assert status.message == text


def test_the_setting_names_the_authority(secure: Secure, settings: Any) -> None:
    settings.HOOKBOX_CA_FILE = Path(secure.ca_file)
    assert client.get_server_info().version == "1"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_names_the_authority(
    secure: Secure, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, secure.ca_file)
    assert client.get_server_info().version == "1"


def test_the_setting_wins(
    secure: Secure, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secure.ca_file)
    settings.HOOKBOX_CA_FILE = str(other)
    with pytest.raises(HookboxMisconfigured, match="certificate"):
        client.get_server_info()


def test_another_host_in_the_certificate_is_named(secure: Secure, settings: Any) -> None:
    settings.HOOKBOX_CA_FILE = secure.ca_file
    settings.HOOKBOX_REST_URL = f"https://localhost:{secure.server.port}"
    with pytest.raises(HookboxMisconfigured, match="not valid for 'localhost'"):
        client.get_server_info()


def test_http_where_https_is_spoken(settings: Any) -> None:
    with fake_hookbox() as plain:
        settings.HOOKBOX_REST_URL = plain.url.replace("http:", "https:")
        with pytest.raises(HookboxMisconfigured, match=r"Does this address use https\?"):
            client.get_server_info()


@pytest.mark.parametrize("name", ["HOOKBOX_CA_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_file_that_does_not_exist_is_named_with_who_says_so(
    secure: Secure, settings: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    if name == "HOOKBOX_CA_FILE":
        settings.HOOKBOX_CA_FILE = "/nowhere/ca.pem"
    with pytest.raises(HookboxMisconfigured) as caught:
        client.get_server_info()
    assert str(caught.value) == f"{name} is /nowhere/ca.pem, which does not exist."
    settings.HOOKBOX_REST_URL = "http://127.0.0.1:1"  # not needed without https
    with pytest.raises(ConnectionError):
        client.get_server_info()


def test_a_file_without_certificates(secure: Secure, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("not a certificate")
    settings.HOOKBOX_CA_FILE = tmp_path / "note.txt"
    with pytest.raises(HookboxMisconfigured, match="does not contain certificates in PEM format"):
        client.get_server_info()
    (message,) = checks.run_checks(tags=["djhookbox"])
    assert message.id == "djhookbox.W019"
    assert "does not contain certificates in PEM format" in message.msg
    with pytest.raises(ConfigError, match="does not contain certificates in PEM format"):
        ServerConfig(ca_file=str(tmp_path / "note.txt"))
    settings.HOOKBOX_CA_FILE = secure.ca_file
    assert checks.run_checks(tags=["djhookbox"]) == []


def test_variables_of_openssl_that_name_nothing_are_ignored(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL does so, too, and distributions set them for files that need not be there."""
    for name in certificates.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert certificates.ca_path() is None


def test_a_folder_or_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certificates.unusable(tmp_path) == ""
    monkeypatch.setattr("os.access", lambda *_: False)  # as for a user other than root
    assert certificates.unusable(tmp_path) == "the folder cannot be read"
    assert certificates.unusable(tmp_path / "missing") == "No such file or directory"


# ---- the process calls Django


def test_the_watch_of_runhookbox_names_the_certificate(secure: Secure, settings: Any) -> None:
    url = f"{secure.server.url}/hookbox"
    watch = WebhookWatch(url, print, secret="s")
    assert f"The certificate of {url}/events was rejected" in watch.problem()
    settings.HOOKBOX_CA_FILE = secure.ca_file
    assert watch.problem() == ""


def test_runhookbox_hands_the_authority_on(
    secure: Secure, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secure.ca_file)
    assert configured().ca_file == ""  # webhooks go to http
    settings.HOOKBOX_WEBHOOK_URL = f"{secure.server.url}/hookbox"
    assert configured().ca_file == secure.ca_file


async def test_webhooks_over_https(secure: Secure, caplog: pytest.LogCaptureFixture) -> None:
    url = f"{secure.server.url}/hookbox"
    for ca_file in ("", secure.ca_file):
        webhooks = Webhooks(ServerConfig(webhook_url=url, ca_file=ca_file), Metrics(0.0))
        await webhooks.start()
        try:
            if ca_file:
                reply = await webhooks.send(Events("[]"))
                assert reply.allowed
            else:
                with pytest.raises(WebhookFailed):
                    await webhooks.send(Events("[]"))
                assert "its certificate was rejected: unable to get local issuer" in caplog.text
                assert "HOOKBOX_CA_FILE" in caplog.text
        finally:
            await webhooks.stop()


def test_runhookbox_names_a_missing_file(settings: Any) -> None:
    settings.HOOKBOX_WEBHOOK_URL = "https://example.com/hookbox"
    settings.HOOKBOX_CA_FILE = "/nowhere/ca.pem"
    with pytest.raises(CommandError, match=r"HOOKBOX_CA_FILE is /nowhere"):
        call_command("runhookbox")
