"""The doctor finds each mistake that is made on purpose."""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trustme
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import translation

from djhookbox.batches.rule import AUTHENTICATION, SESSIONS
from djhookbox.doctor import cookies, echo, fallbacks, inside, outside, site, wires
from djhookbox.doctor.base import Check, Finding, Level, Patient
from djhookbox.doctor.examination import CHECKS, NAMES, examine
from djhookbox.process import control
from djhookbox.wire.answers import ServerInfo, WebhookFigures

from . import nginx, proxies
from .documents import blocks
from .needs import need
from .ports import free_port
from .projects import Project
from .stand_ins.process import fake_hookbox
from .stand_ins.web import Handler, serving

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("hookbox/", include("djhookbox.urls"))]
"""
#: Seconds between the pings of the process under test.
PING = 3


def run(check: Check, patient: Patient) -> list[Finding]:
    found = list(check.run(patient))
    assert found, f"{check.name} says nothing"
    assert all(each.advice for each in found if each.level is not Level.OK)
    return found


def worst(findings: list[Finding]) -> Finding:
    order = list(Level)
    return max(findings, key=lambda each: order.index(each.level))


# ---- with real proxies ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("patient"))
    project.write_site(["djhookbox"], urls=URLS, settings=f"HOOKBOX_PING_INTERVAL = {PING}\n")
    try:
        project.migrate()
        project.run()
        yield project
    finally:
        project.stop()


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.HOOKBOX_PING_INTERVAL = PING
    settings.SECRET_KEY = "x" * 50  # that of the project


Proxy = Callable[..., AbstractContextManager[str]]


def documented(language: str) -> str:
    """Return the configuration of a proxy that docs/howto/proxies.rst shows."""
    (found,) = [
        block.text for block in blocks("docs/howto/proxies.rst") if block.language == language
    ]
    return found


NGINX = documented("nginx")
# The doctor asks from the machine itself, which the document allows.
APACHE = documented("apache").replace("Require local", "Require all denied")
# Without what is around it, and the site, which `proxies.caddy` adds.
CADDY = re.sub(
    r"handle \{\s+reverse_proxy 127\.0\.0\.1:8000\s+\}", "",
    documented("text").removeprefix("example.com {").removesuffix("}"),
)  # fmt: skip

KINDS: dict[str, tuple[Proxy, str, str | None]] = {
    "nginx": (nginx.proxy, NGINX, nginx.NGINX),
    "apache": (proxies.apache, APACHE, proxies.APACHE),
    "caddy": (proxies.caddy, CADDY, proxies.CADDY),
}


def diagnosed(
    project: Project,
    folder: Path,
    kind: str,
    change: Callable[[str], str] = lambda text: text,
    *,
    slow: bool = True,
) -> dict[str, list[Finding]]:
    """Return what the outer checks find behind a proxy whose configuration was changed."""
    proxy, snippet, program = KINDS[kind]
    need(program, f"{kind} is not installed")
    changed = change(snippet)
    lines = changed.replace(":8001", f":{project.hookbox_port}")
    with proxy(folder, port=free_port(), site=project.origin, snippet=lines) as origin:
        patient = Patient(f"{origin}/realtime", origin, proxied=True, slow=slow)
        outer = {module.__name__ for module in (outside, cookies, fallbacks)}
        names = [check.name for check in CHECKS if type(check).__module__ in outer]
        return {check.name: found for check, found in examine(patient, names)}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_configurations_are_fine(
    project: Project, tmp_path: Path, kind: str
) -> None:
    found = diagnosed(project, tmp_path, kind)
    assert [each for many in found.values() for each in many if each.level is not Level.OK] == []
    assert len(found) == 10
    assert "and it reaches the site" in found["cookie"][0].text


def without(line: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert line in text
        return text.replace(line, "")

    return change


def instead(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


PLANTED = {
    "nginx without upgrade": (
        "nginx", without("proxy_set_header Upgrade $http_upgrade;"), "websocket", "handshake",
    ),
    "nginx with another port": (
        "nginx", instead("127.0.0.1:8001", "127.0.0.1:9"), "websocket", "does not reach",
    ),
    "nginx forwards nothing": ("nginx", lambda text: "", "websocket", "404"),
    "nginx without the fallback": (
        "nginx", instead(r"(ws|csp/\w+)", "(ws)"), "fallback", "Browsers without WebSockets",
    ),
    "nginx closes early": (
        "nginx", instead("75s", "1s"), "timeouts", "closed after",
    ),
    "nginx removes the cookies": (
        "nginx", instead("Host $host;", 'Host $host; proxy_set_header Cookie "";'),
        "cookie", "does not reach the site",
    ),
    "nginx refuses POST": (
        "nginx", instead("proxy_http_version", "limit_except GET { deny all; } proxy_http_version"),
        "fallback", "HTTP 403",
    ),
    "nginx removes the origin": (
        "nginx", instead("Host $host;", 'Host $host; proxy_set_header Origin "";'),
        "origin", "may connect",
    ),
    "nginx replaces the origin": (
        "nginx",
        instead("Host $host;", 'Host $host; proxy_set_header Origin "https://a.example";'),
        "websocket", "refuses pages of",
    ),
    "nginx forwards REST calls": (
        "nginx", instead(r"(ws|csp/\w+)", r"(ws|csp/\w+|rest/\w+)"), "internal", "/rest/",
    ),
    "nginx forwards webhooks": (
        "nginx", instead("location /hookbox/", "location /other/"), "internal", "/hookbox/events",
    ),
    "nginx redirects": (
        "nginx", lambda text: "location /realtime/ { return 301 https://a.example$request_uri; }",
        "websocket", "redirects",
    ),
    "Apache without upgrade": ("apache", without("upgrade=websocket"), "websocket", "handshake"),
    "Apache removes the cookies": (
        "apache", lambda text: f"{text}\nRequestHeader unset Cookie", "cookie", "does not reach",
    ),
    "Apache closes early": (
        "apache", lambda text: "Timeout 2\n" + text.replace("timeout=75", "timeout=2"),
        "timeouts", "closed after",
    ),
    "Apache replaces the origin": (
        "apache", lambda text: f'{text}\nRequestHeader set Origin "https://a.example"',
        "websocket", "refuses pages of",
    ),
    "Apache with another port": (
        "apache", instead("127.0.0.1:8001/ws", "127.0.0.1:9/ws"), "websocket", "does not reach",
    ),
    "Apache forwards webhooks": (
        "apache", instead("Require all denied", "Require all granted"),
        "internal", "/hookbox/events",
    ),
    "Apache without the fallback": (
        "apache", instead("/realtime/csp/", "/realtime/other/"), "fallback", "does not work",
    ),
    "Apache forwards everything": (
        "apache",
        instead(
            '<Location "/hookbox/">',
            '<Location "/realtime/rest/">\nProxyPass "http://127.0.0.1:8001/rest/"\n</Location>\n'
            '<Location "/hookbox/">',
        ),
        "internal", "/rest/",
    ),
    "Caddy keeps the prefix": (
        "caddy", without("uri strip_prefix /realtime"), "websocket", "404",
    ),
    "Caddy with another port": (
        "caddy", instead("127.0.0.1:8001", "127.0.0.1:9"), "websocket", "does not reach",
    ),
    "Caddy removes the origin": (
        "caddy",
        instead("127.0.0.1:8001", "127.0.0.1:8001 {\n header_up -Origin\n }"),
        "origin", "may connect",
    ),
    "Caddy removes the cookies": (
        "caddy",
        instead("127.0.0.1:8001", "127.0.0.1:8001 {\n header_up -Cookie\n }"),
        "cookie", "does not reach the site",
    ),
    "Caddy buffers streams": (
        "caddy",
        instead("127.0.0.1:8001", f"127.0.0.1:8001 {{\n {proxies.CADDY_BUFFERS}\n }}"),
        "fallback", "are buffered",
    ),
    "Caddy forwards webhooks": (
        "caddy", instead("/hookbox/*", "/elsewhere/*"), "internal", "/hookbox/events",
    ),
    "Caddy forwards REST calls": (
        "caddy", instead("/realtime/csp/*", "/realtime/csp/* /realtime/rest/*"),
        "internal", "/rest/",
    ),
    "Caddy without the fallback": (
        "caddy", without(" /realtime/csp/*"), "fallback", "does not work",
    ),
}  # fmt: skip


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(project: Project, tmp_path: Path, mistake: str) -> None:
    kind, change, name, text = PLANTED[mistake]
    found = diagnosed(project, tmp_path, kind, change, slow=name == "timeouts")
    finding = worst(found[name])
    assert finding.level is not Level.OK, found
    assert text in finding.text
    assert finding.advice


@pytest.mark.process
@pytest.mark.slow
def test_the_command_reports(project: Project) -> None:
    text = project.manage("hookbox", "doctor")
    assert "The process reaches the site." in text
    assert "A visitor can connect." in text
    assert "Streaming works" in text
    report = json.loads(project.manage("hookbox", "doctor", "--json", "--only", "process"))
    assert [(line["check"], line["level"]) for line in report] == [("process", "ok")]


# ---- without a proxy -----------------------------------------------------------------------------


def patient(url: str, origin: str = "", **more: Any) -> Patient:
    return Patient(url, origin or url, proxied=True, timeout=2.0, **more)


def test_what_is_examined_follows_from_the_settings(settings: Any) -> None:
    assert Patient.from_settings() == Patient(
        "http://127.0.0.1:8001", "http://127.0.0.1:8000", proxied=False
    )
    settings.HOOKBOX_PUBLIC_URL = "wss://example.com/realtime/"
    found = Patient.from_settings(slow=True)
    assert (found.public, found.origin) == ("https://example.com/realtime", "https://example.com")
    assert found.proxied
    other = Patient.from_settings("https://rt.example.com", "https://www.example.com/")
    assert (other.public, other.origin) == ("https://rt.example.com", "https://www.example.com")


def test_passwords_of_urls_are_not_shown(settings: Any) -> None:
    settings.HOOKBOX_PUBLIC_URL = "wss://user:secret@example.com/realtime"
    assert Patient.from_settings().public == "https://example.com/realtime"


def test_a_name_that_does_not_resolve() -> None:
    problem = socket.gaierror(-2, "Name or service not known")
    with mock.patch("socket.getaddrinfo", side_effect=problem):
        assert worst(run(outside.Dns(), patient("https://a.invalid"))).level is Level.ERROR


def test_https_pages_need_tls() -> None:
    found = worst(run(outside.Tls(), patient("http://a.example", "https://a.example")))
    assert (found.level, "refuse that" in found.text) == (Level.ERROR, True)
    assert worst(run(outside.Tls(), patient("http://a.example"))).level is Level.OK


@pytest.fixture
def authority(settings: Any, tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings.HOOKBOX_CA_FILE = tmp_path / "ca.pem"
    return authority


def tls_server(certificate: trustme.LeafCert, protocols: Sequence[str] = ()) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                accepted, _address = listener.accept()
                with context.wrap_socket(accepted, server_side=True) as connection:
                    connection.recv(1)
            except OSError:
                pass  # the client refuses the certificate

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
    thread.join(5)


@pytest.mark.parametrize(
    ("name", "days", "level", "text"),
    [
        ("localhost", 90, Level.OK, "89 more days"),
        ("localhost", 5, Level.WARNING, "expires in 4 days"),
        ("other.example", 90, Level.ERROR, "do not accept the certificate"),
    ],
)
def test_certificates(authority: trustme.CA, name: str, days: int, level: Level, text: str) -> None:
    import datetime

    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    for port in tls_server(authority.issue_cert(name, not_after=until)):
        found = worst(run(outside.Tls(), patient(f"https://localhost:{port}")))
        assert (found.level, text in found.text) == (level, True), found


def test_nothing_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in worst(run(outside.Upgrade(), patient(url))).text
    assert worst(run(fallbacks.Fallback(), patient(url))).level is Level.ERROR
    assert worst(run(outside.Origins(), patient(url))).level is Level.WARNING


class Buffering(Handler):
    """A proxy that holds the beginning of a stream back."""

    release = threading.Event()
    polled = b"([[1,0,'']])"

    def do_POST(self) -> None:
        self.body()
        body = b'("OK")'
        if "handshake" in self.path:
            session = b"stream" if "is=1" in self.path else b"poll"
            body = b'({"session": "%b"})' % session
        elif "comet" in self.path and "s=poll" in self.path:
            body = self.polled
        elif "comet" in self.path:
            self.release.wait(30)
        self.answer(body)


@contextmanager
def proxy() -> Iterator[str]:
    """Run the proxy and yield its address; it holds nothing back at the end."""
    with serving(Buffering) as url:
        try:
            yield url
        finally:
            Buffering.release.set()


def test_a_stream_that_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallbacks, "STREAMED", 0.3)
    monkeypatch.setattr(Buffering, "release", threading.Event())
    with proxy() as url:
        found = run(fallbacks.Fallback(), patient(url))
        assert found[0].level is Level.OK
        assert (found[1].level, "buffered" in found[1].text) == (Level.WARNING, True), found
        assert "proxy_buffering off" in found[1].advice
        # Released, it turns out not to be a stream at all.
        Buffering.release.set()
        found = run(fallbacks.Fallback(), patient(url))
        assert (found[1].level, "breaks" in found[1].text) == (Level.WARNING, True), found


def test_an_empty_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Buffering, "polled", b'("OK")')
    with proxy() as url:
        (found,) = run(fallbacks.Fallback(), patient(url))
        assert (found.level, "the poll was empty" in found.text) == (Level.ERROR, True)


def test_checks_that_depend_on_a_failed_one_are_left_out() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    names = ["dns", "websocket", "origin", "timeouts"]
    found = {check.name: each for check, each in examine(patient(url), names)}
    assert list(found) == ["dns", "websocket"]
    assert len(set(NAMES)) == len(CHECKS)


def test_clocks(settings: Any) -> None:
    def at(date: str) -> Any:
        answer = wires.Answer(404, {"date": date} if date else {}, "")
        return mock.patch.object(outside, "request", return_value=answer)

    with at("Thu, 26 Nov 2020 22:00:00 GMT"):
        assert "differ by" in worst(run(outside.Clock(), patient("http://a"))).text
    with at(""):
        assert worst(run(outside.Clock(), patient("http://a"))).level is Level.OK


# ---- cookies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "origin", "public", "text"),
    [
        ({}, "https://a.example", "https://a.example/realtime", ""),
        ({}, "http://localhost:8000", "http://localhost:8001", ""),
        ({"secure": True}, "http://localhost:8000", "http://localhost:8001", ""),
        ({"domain": "a.example"}, "https://www.a.example", "https://rt.a.example", ""),
        ({"same_site": "Lax"}, "https://www.a.example", "https://www.a.example/x", ""),
        ({}, "https://www.a.example", "https://rt.a.example", "another host, rt.a.example"),
        ({"domain": "b.example"}, "https://a.example", "https://a.example", "is for b.example"),
        ({"path": "/shop"}, "https://a.example", "https://a.example/realtime", "the path /shop"),
        ({"path": "/shop"}, "https://a.example", "https://a.example/shop/realtime", ""),
        ({"path": "/sho"}, "https://a.example", "https://a.example/shop", "the path /sho,"),
        ({"secure": True}, "http://a.example", "http://a.example/realtime", "is secure"),
        (
            {"same_site": "Lax", "domain": "example"}, "https://a.example", "http://a.example/x",
            "SameSite=Lax",
        ),
        ({"same_site": "None"}, "https://a.example", "https://a.example", "requires Secure"),
        ({"name": "__Host-s"}, "https://a.example", "https://a.example", "name requires Secure"),
    ],
)  # fmt: skip
def test_where_browsers_send_the_cookie(
    cookie: dict[str, Any], origin: str, public: str, text: str
) -> None:
    given = cookies.Cookie(**{"name": "sessionid", **cookie})
    found = list(cookies.reasons(given, patient(public, origin)))
    assert [text in each.text for each in found] == ([True] if text else [])
    assert all(each.level is Level.ERROR and each.advice for each in found)


def test_the_cookie_is_the_one_that_the_pages_set(settings: Any) -> None:
    settings.LOGIN_URL = "/login/"
    lines = "csrftoken=a; Path=/\nsessionid=b; Path=/shop; Domain=.a.example; Secure; SameSite=Lax"
    answers = {"http://a/login/": wires.Answer(200, {"set-cookie": lines}, "")}

    def request(method: str, url: str, timeout: float) -> wires.Answer:
        return answers.get(url, wires.Answer(200, {}, ""))

    with mock.patch.object(cookies, "request", request):
        found = cookies.as_received(patient("http://a"))
        assert found == cookies.Cookie("sessionid", "/shop", "a.example", True, "Lax")
        answers.clear()
        assert cookies.as_received(patient("http://a")) is None
    with mock.patch.object(cookies, "request", side_effect=wires.NoAnswer("no")):
        assert cookies.as_received(patient("http://a")) is None
    settings.SESSION_COOKIE_DOMAIN = ".A.example"
    assert cookies.Cookie.from_settings().domain == "a.example"


def test_only_the_doctor_learns_the_names_of_cookies() -> None:
    given = {"b": "secret", "a": "secret"}
    assert echo.answer(echo.question(), given) == {echo.KEY: ["a", "b"]}
    for payload in (None, "x", {}, {echo.KEY: 1}, {echo.KEY: "forged"}, [echo.KEY]):
        assert echo.answer(payload, given) is None
    with mock.patch("django.core.signing.time.time", return_value=1):
        old = echo.question()
    assert echo.answer(old, given) is None


# ---- HTTP --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocols", "level", "text"),
    [
        (["h2", "http/1.1"], Level.OK, "HTTP/2"),
        (["http/1.1"], Level.WARNING, "does not offer HTTP/2"),
    ],
)
def test_the_version_of_http(
    authority: trustme.CA, protocols: list[str], level: Level, text: str
) -> None:
    for port in tls_server(authority.issue_cert("localhost"), protocols):
        (found,) = run(fallbacks.HttpVersion(), patient(f"https://localhost:{port}"))
        assert (found.level, text in found.text) == (level, True), found
        # Debian 12 has nginx 1.22, which does not know "http2 on;".
        assert ("listen 443 ssl http2;" in found.advice) == (level is Level.WARNING)


def test_an_old_version_of_http() -> None:
    class Old(Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    for protocol, level in (("HTTP/1.0", Level.ERROR), ("HTTP/1.1", Level.OK)):
        Old.protocol_version = protocol
        with serving(Old) as url:
            (found,) = run(fallbacks.HttpVersion(), patient(url))
            assert (found.level, protocol in found.text) == (level, True), found
    nowhere = patient(f"http://127.0.0.1:{free_port()}")
    assert run(fallbacks.HttpVersion(), nowhere)[0].level is Level.WARNING


def test_an_address_at_which_nothing_listens() -> None:
    entries = [(0, 0, 0, "", (address, 443)) for address in ("192.0.2.1", "2001:db8::1")]
    refused = ConnectionRefusedError(111, "Connection refused")
    with (
        mock.patch("socket.getaddrinfo", return_value=entries),
        mock.patch("socket.create_connection", side_effect=[mock.Mock(), refused]),
    ):
        found = run(outside.Dns(), patient("https://a.example"))
    assert [each.level for each in found] == [Level.OK, Level.WARNING]
    assert "Nothing answers at 2001:db8::1, port 443: Connection refused" in found[1].text


# ---- inside --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (control.State.RUNNING, Level.OK),
        (control.State.VERSION_DIFFERS, Level.WARNING),
        (control.State.STOPPED, Level.ERROR),
        (control.State.SECRET_REFUSED, Level.ERROR),
        (control.State.NOT_HOOKBOX, Level.ERROR),
        (control.State.UNREACHABLE, Level.ERROR),
    ],
)
def test_the_state_of_the_process(state: control.State, level: Level) -> None:
    status = control.ProcessStatus(state=state, message="So it is.")
    with mock.patch.object(control, "status", return_value=status):
        assert worst(run(inside.Process(), patient("http://a"))).level is level


@pytest.mark.usefixtures("real_process")
def test_webhooks(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_as_the_process", lambda patient: ())
    settings.HOOKBOX_WEBHOOK_URL = f"http://127.0.0.1:{free_port()}/hookbox"
    found = worst(run(inside.Webhook(), patient("http://a")))
    assert (found.level, "does not answer" in found.text) == (Level.ERROR, True)
    with fake_hookbox() as fake:
        fake.replies(True, {})
        settings.HOOKBOX_WEBHOOK_URL = f"{fake.url}/hookbox"
        info = ServerInfo(webhooks=WebhookFigures("http://elsewhere/hookbox", 10, 3))
        with mock.patch("djhookbox.client.get_server_info", return_value=info):
            texts = [each.text for each in run(inside.Webhook(), patient("http://a"))]
        assert "answers webhooks" in texts[0]
        assert "http://elsewhere/hookbox" in texts[1]
        assert "3 of 10 webhooks" in texts[2]
        # Without a setting, the process has been told by runserver.
        del settings.HOOKBOX_WEBHOOK_URL
        told = ServerInfo(webhooks=WebhookFigures(f"{fake.url}/hookbox", 10, 0))
        with mock.patch("djhookbox.client.get_server_info", return_value=told):
            assert worst(run(inside.Webhook(), patient("http://a"))).level is Level.OK
        settings.HOOKBOX_WEBHOOK_URL = f"{fake.url}/hookbox"
        fake.replies(False, {"error": "Forbidden."}, status=403)
        assert "secret" in worst(run(inside.Webhook(), patient("http://a"))).text


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        (("CONNECTED", {}), Level.OK, "The process reaches the site."),
        (("ERROR", {"code": "refused", "msg": "No."}), Level.OK, "The process reaches the site."),
        (
            ("ERROR", {"code": "unavailable", "msg": "It sleeps."}),
            Level.ERROR,
            "The process could not ask the site: It sleeps.",
        ),
        (wires.NoAnswer("timed out"), Level.WARNING, "did not answer a connection: timed out"),
    ],
)
def test_webhooks_from_the_side_of_the_process(answer: Any, level: Level, text: str) -> None:
    opened = mock.Mock()
    opened.connect.side_effect = [answer]
    with mock.patch.object(inside.WebSocket, "open", return_value=opened):
        (found,) = inside._as_the_process(patient("http://a"))
    assert (found.level, text in found.text) == (level, True), found
    opened.close.assert_called_once_with()


# ---- the site ------------------------------------------------------------------------------------


def test_settings(settings: Any) -> None:
    assert run(site.Settings(), patient("http://a"))[0].level is Level.OK
    settings.HOOKBOX_PORTS = 1
    settings.HOOKBOX_TIMEOUT = -1
    found = run(site.Settings(), patient("http://a"))
    assert {each.level for each in found} == {Level.ERROR, Level.WARNING}
    assert run(site.Versions(), patient("http://a"))[0].text.startswith("django-hookbox ")


@pytest.mark.django_db
def test_database() -> None:
    assert "all migrations have been run" in run(site.Database(), patient("http://a"))[0].text
    plan = [(mock.Mock(__str__=lambda self: "djhookbox.0009_new"), False)]
    executor = "djhookbox.doctor.site.MigrationExecutor"
    with mock.patch(f"{executor}.migration_plan", return_value=plan):
        assert "0009_new" in worst(run(site.Database(), patient("http://a"))).text
    with mock.patch(executor, side_effect=OperationalError("no server")):
        assert "no server" in worst(run(site.Database(), patient("http://a"))).text


def unknown(get_response: Any) -> Any:
    """Be middleware of the project."""
    return get_response


def test_batches(settings: Any) -> None:
    settings.MIDDLEWARE = [SESSIONS, AUTHENTICATION]
    assert [each.level for each in run(site.Batches(), patient("http://a"))] == [Level.OK]
    settings.MIDDLEWARE = [SESSIONS, AUTHENTICATION, "tests.test_doctor.unknown"]
    settings.SESSION_SAVE_EVERY_REQUEST = True
    found = run(site.Batches(), patient("http://a"))
    assert [each.level for each in found] == [Level.WARNING] * 2
    assert "HOOKBOX_BATCH_MIDDLEWARE" in found[0].text


def test_open_files(settings: Any) -> None:
    limit = site._limit_of(None)
    assert limit is None or limit > 0
    with mock.patch.object(site, "_limit_of", return_value=1024):
        assert "1024 open files" in worst(run(site.Limits(), patient("http://a"))).text
    with mock.patch.object(site, "_limit_of", return_value=65_536):
        assert worst(run(site.Limits(), patient("http://a"))).level is Level.OK
    with mock.patch.object(site, "_limit_of", return_value=None):
        assert worst(run(site.Limits(), patient("http://a"))).level is Level.OK


# ---- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "options", "status"),
    [
        (Level.OK, [], 0),
        (Level.WARNING, [], 0),
        (Level.WARNING, ["--strict"], 1),
        (Level.ERROR, [], 1),
    ],
)
def test_the_exit_status(level: Level, options: list[str], status: int) -> None:
    found = [(site.Versions(), [Finding(level, "So it is.", "Change it.")])]
    out = io.StringIO()
    ended = 0
    with mock.patch("djhookbox.commandline.diagnosing.examine", return_value=found):
        try:
            call_command("hookbox", "doctor", *options, stdout=out, no_color=True)
        except SystemExit as error:
            ended = int(error.code or 0)
    assert ended == status
    assert f"{level.value:8} Versions: So it is.\n         → Change it." in out.getvalue()


def test_the_report_is_in_one_language() -> None:
    found = [(site.Versions(), [Finding(Level.OK, "Alles neu.")])]
    out = io.StringIO()
    with (
        mock.patch("djhookbox.commandline.diagnosing.examine", return_value=found),
        translation.override("de"),
    ):
        call_command("hookbox", "doctor", stdout=out, no_color=True)
    assert "Versionen: Alles neu." in out.getvalue()


@pytest.mark.parametrize("option", ["--url", "--origin"])
@pytest.mark.parametrize("value", ["example.com", "/a", "ftp://example.com", "http://a:0"])
def test_addresses_without_a_scheme_or_host_are_refused(option: str, value: str) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("hookbox", "doctor", option, value)
    problem = f"{option} is “{value}”; it must be a URL such as “https://example.com”."
    assert str(refusal.value) == problem
