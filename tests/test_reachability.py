from __future__ import annotations

import queue
import socket

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory, override_settings
from django.urls import include, path

from djhookbox.process import reachability
from djhookbox.process.probing import WebhookAnswer
from djhookbox.process.reachability import WebhookWatch, explain

from .stand_ins.process import Answer, fake_hookbox

URL = "http://site.example:8000/hookbox"
urlpatterns = [path("hookbox/", include("djhookbox.urls"))]


class TwoPlaces:
    urlpatterns = [
        path("first/", include("djhookbox.urls")),
        path("second/", include("djhookbox.urls")),
    ]


class NoRoutes:
    urlpatterns: list = []


# ---- the URLconf


def test_has_webhooks(settings):
    settings.ROOT_URLCONF = __name__
    assert reachability.has_webhooks()
    settings.ROOT_URLCONF = NoRoutes
    assert not reachability.has_webhooks()
    assert not reachability.leads_to_webhook("/hookbox/connect")


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/hookbox/connect", True),
        ("/hookbox/connect/", True),
        ("/hookbox/events", False),
        ("/connect", False),
        ("/hookbox", False),
        ("", False),
    ],
)
def test_leads_to_webhook(settings, path, leads):
    settings.ROOT_URLCONF = __name__
    assert reachability.leads_to_webhook(path) is leads


def test_included_twice(settings):
    settings.ROOT_URLCONF = TwoPlaces
    assert reachability.leads_to_webhook("/first/connect")
    assert reachability.leads_to_webhook("/second/events", "events")


# ---- what an answer means


@pytest.mark.parametrize(
    ("status", "location", "body", "words"),
    [
        (200, "", "[true, {}]", None),
        (200, "", "<html>", ["HOOKBOX_WEBHOOK_URL"]),
        (200, "", "[false, {}]", ["HOOKBOX_WEBHOOK_URL"]),
        (301, "https://site.example/hookbox/events", "", ["SECURE_SSL_REDIRECT", "https://site"]),
        (302, "/login/", "", ["/login/", "middleware"]),
        (301, "http://www.site.example:8000/hookbox/events", "", ["another host", "PREPEND_WWW"]),
        (400, "", "", ["ALLOWED_HOSTS", "site.example"]),
        (403, "", "", ["HOOKBOX_WEBHOOK_SECRET"]),
        (404, "", "", ["HOOKBOX_CBPATH", "djhookbox.urls"]),
        (500, "", "", ["500", "log"]),
        (502, "", "", ["502"]),
    ],
)
def test_explain(status, location, body, words):
    text = explain(URL, WebhookAnswer(status, location, body))
    if words is None:
        assert text == ""
    else:
        assert URL in text
        assert [word for word in words if word not in text] == []


class InLanguages:
    urlpatterns = i18n_patterns(path("hookbox/", include("djhookbox.urls")))


class InOtherLanguages:
    urlpatterns = i18n_patterns(
        path("hookbox/", include("djhookbox.urls")), prefix_default_language=False
    )


def test_i18n_patterns_are_named_and_not_taken_for_https(settings, client):
    settings.ROOT_URLCONF = InLanguages
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    response = client.post("/hookbox/events", {"secret": "x"})
    text = explain(URL + "/events", WebhookAnswer(response.status_code, response["Location"], ""))
    assert "i18n_patterns()" in text
    assert "SECURE_SSL_REDIRECT" not in text
    assert not reachability.leads_to_webhook("/hookbox/connect")
    # A path with a language works in that language, regardless of the language of the command.
    assert reachability.leads_to_webhook("/en/hookbox/connect")
    assert reachability.leads_to_webhook("/de/hookbox/connect")
    settings.ROOT_URLCONF = InOtherLanguages
    assert reachability.leads_to_webhook("/hookbox/connect")
    login = explain(URL, WebhookAnswer(302, "/de/login/", ""))
    assert "i18n_patterns" not in login


@pytest.mark.parametrize("host", ["web_app", "my_site.example", "-_-"])
def test_a_name_that_django_refuses_is_not_blamed_on_allowed_hosts(host):
    url = f"http://{host}:8000/hookbox"
    text = explain(url, WebhookAnswer(400, "", ""))
    assert f"“{host}” is not a valid host name" in text
    assert "underscores are not allowed" in text
    assert "must have" not in text  # the advice about ALLOWED_HOSTS
    other = RequestFactory(SERVER_NAME=host).get("/")
    with override_settings(ALLOWED_HOSTS=["*"]), pytest.raises(DisallowedHost):
        other.get_host()


@pytest.mark.parametrize("host", ["web", "web-app", "10.0.0.1", "::1", "bücher.example"])
def test_names_that_django_takes(host):
    assert not reachability.is_refused_name(host)


# ---- watching


class Said:
    """Collects sentences, and waits for them for a limited time."""

    def __init__(self):
        self.queue = queue.Queue()

    def __call__(self, sentence):
        self.queue.put(sentence)

    def next(self):
        return self.queue.get(timeout=10)

    def nothing_more(self):
        return self.queue.empty()


@pytest.fixture
def watching(monkeypatch):
    monkeypatch.setattr(reachability, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(reachability, "LONGEST_DELAY", 0.05)
    watches = []

    def watch(url, **kwargs):
        said = Said()
        watches.append(WebhookWatch(url, said, timeout=5.0, **kwargs))
        watches[-1].start()
        return watches[-1], said

    yield watch
    for watch in watches:
        watch.end()
        watch.join(10)
        assert not watch.is_alive()


def test_all_is_well_without_a_word(watching):
    with fake_hookbox() as site:
        watch, said = watching(f"{site.url}/hookbox", secret="s", headers={"X-Extra": "1"})
        watch.join(10)
        assert said.nothing_more()
        (request,) = site.requests
        assert request.path == "/hookbox/events"
        assert request.form == {"action": "events", "events": "[]", "secret": "s"}
        assert request.headers["x-hookbox-version"].startswith("djhookbox/")
        assert request.headers["x-extra"] == "1"


def test_it_waits_for_django(watching):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}/hookbox"
    watch, said = watching(url, secret="s")
    sentence = said.next()
    assert url in sentence
    assert "is it running" in sentence.lower()
    with fake_hookbox(port):
        assert said.next() == "Django is answering now."
        watch.join(10)
        assert said.nothing_more()


def test_it_goes_on_until_the_mistake_is_repaired(watching):
    with fake_hookbox() as site:
        site.answer = lambda request: Answer(403, "")
        watch, said = watching(f"{site.url}/hookbox", secret="s")
        assert "HOOKBOX_WEBHOOK_SECRET" in said.next()
        while len(site.requests) < 4:  # the same mistake is reported once
            assert watch.is_alive()
        assert said.nothing_more()
        site.answer = lambda request: Answer(404, "")
        assert "HOOKBOX_CBPATH" in said.next()
        site.answer = lambda request: Answer()
        assert said.next() == "Django is answering now."


def test_a_foreign_application_is_not_called(watching):
    with fake_hookbox() as site:
        watch, said = watching(f"{site.url}/hookbox")
        watch.join(10)
        assert said.nothing_more()
        assert site.requests == []


def test_one_that_hangs_up_is_not_running(watching):
    with fake_hookbox() as site:
        site.answer = lambda request: Answer(hang_up=True)
        _watch, said = watching(f"{site.url}/hookbox", secret="s")
        assert "is it running" in said.next().lower()
