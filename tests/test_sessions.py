"""Webhooks read the sessions of browsers without changing them, in any session backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as settings_of_the_site
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from djhookbox.users.sessions import make_read_only

pytestmark = pytest.mark.django_db

ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"


class SavingSessions(SessionMiddleware):
    """Middleware that keeps the sessions of active users alive, as sites have it."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> Any:
        request.session["seen"] = "after the view"
        request.session.save()
        return super().process_response(request, response)


class OtherSessions:
    """A session middleware that is not derived from Django's, as django-user-sessions has it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        key = request.COOKIES.get(settings_of_the_site.SESSION_COOKIE_NAME)
        engine = import_module(settings_of_the_site.SESSION_ENGINE)
        request.session = engine.SessionStore(key)
        response = self.get_response(request)
        if request.session.modified:
            request.session.save()
            response.set_cookie(
                settings_of_the_site.SESSION_COOKIE_NAME, request.session.session_key
            )
        return response


class LastSeen:
    """Middleware that writes to each session before and after the view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.session["seen"] = "before the view"
        response = self.get_response(request)
        request.session["seen"] = "after the view"
        return response


class Greeting(LastSeen):
    """Middleware that reads the user and saves immediately, before the view is called."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.session["user"] = str(request.user)
        request.session.save()
        return self.get_response(request)


@pytest.fixture(params=ENGINES)
def engine(request: Any, settings: Any, tmp_path: Path) -> Iterator[str]:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    yield request.param
    cache.clear()


def kept(settings: Any, key: str) -> tuple[list[str], dict[str, Any]]:
    """Return the keys of all sessions, if they can be listed, and the data of one."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    keys = [*Session.objects.values_list("pk", "expire_date")]
    folder = Path(settings.SESSION_FILE_PATH)
    keys += [(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()]
    return sorted(map(str, keys)), dict(store(key).items())


def rotate(settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next of the keys"


def rotated_unnoticed(settings: Any, page: Any) -> Any:
    """Rotate the key while a page is open, whose webhooks do not notice; return its session."""
    key = page.client.cookies[settings.SESSION_COOKIE_NAME].value
    before = kept(settings, key)
    rotate(settings)
    success, reply = page("connect")
    assert success
    assert (reply["name"], reply["identity"]) == ("alice", page.fields["identity"])
    assert page("unsubscribe", channel_name="/a/")[0]
    assert page.client.cookies[settings.SESSION_COOKIE_NAME].value == key
    assert kept(settings, key) == before
    return before


def test_while_the_secret_key_is_rotated_sessions_keep_their_keys(
    engine: str, settings: Any, webhooks: Any, alice: Any
) -> None:
    page = webhooks(alice)
    rotated_unnoticed(settings, page)
    # A view of the site does what Django does.
    page.client.get("/admin/login/")
    assert page.client.session[HASH_SESSION_KEY] == alice.get_session_auth_hash()


@pytest.mark.parametrize("other", [False, True])
def test_nor_do_they_change_if_middleware_asks_for_the_user_first(
    other: bool, engine: str, settings: Any, webhooks: Any, alice: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_sessions.Greeting"]
    if other:
        theirs = "tests.test_sessions.OtherSessions"
        settings.MIDDLEWARE = [theirs if m == SESSION else m for m in settings.MIDDLEWARE]
    page = webhooks(alice)
    before = rotated_unnoticed(settings, page)
    # Views of the site, and addresses that only look like a webhook, keep Django's behaviour.
    page.client.get("/admin/connect/")
    assert kept(settings, page.client.cookies[settings.SESSION_COOKIE_NAME].value) != before


@pytest.mark.parametrize(
    "middleware", [None, "tests.test_sessions.SavingSessions", "tests.test_sessions.LastSeen"]
)
def test_no_webhook_writes_a_session(
    middleware: str | None, engine: str, settings: Any, webhooks: Any, alice: Any
) -> None:
    page = webhooks(alice)
    key = page.client.cookies[settings.SESSION_COOKIE_NAME].value
    before = kept(settings, key)
    settings.SESSION_SAVE_EVERY_REQUEST = True
    if middleware == "tests.test_sessions.LastSeen":
        place = settings.MIDDLEWARE.index(SESSION) + 1
        settings.MIDDLEWARE = [*settings.MIDDLEWARE]
        settings.MIDDLEWARE.insert(place, middleware)
    elif middleware:
        settings.MIDDLEWARE = [middleware if m == SESSION else m for m in settings.MIDDLEWARE]
    for _ in range(2):
        assert page("connect")[1]["name"] == "alice"
        assert page.client.cookies[settings.SESSION_COOKIE_NAME].value == key
        assert kept(settings, key) == before


def test_a_changed_password_ends_the_connection_and_leaves_the_session_to_the_site(
    settings: Any, webhooks: Any, alice: Any
) -> None:
    page = webhooks(alice)
    before = list(Session.objects.values())
    alice.set_password("another")
    alice.save()
    assert page("subscribe", channel_name="/a/")[1]["code"] == "session_expired"
    assert page("connect")[1]["name"].startswith(" _")
    assert list(Session.objects.values()) == before


def test_a_forged_webhook_writes_no_session_either(
    settings: Any, webhooks: Any, alice: Any
) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = True
    page = webhooks(alice)
    before = list(Session.objects.values())
    assert page.post("connect", secret="wrong").status_code == 403
    assert list(Session.objects.values()) == before


@pytest.mark.parametrize(
    "write",
    [
        "save", "create", "delete", "cycle_key", "flush",
        "asave", "acreate", "adelete", "acycle_key", "aflush",
    ],
)  # fmt: skip
def test_no_method_writes_a_read_only_session(write: str) -> None:
    """Asynchronous middleware and views call the second five."""
    session = SessionStore()
    session["seen"] = "before"
    session.save()
    rows = list(Session.objects.values())
    request = HttpRequest()
    request.session = SessionStore(session.session_key)
    make_read_only(request)
    request.session["seen"] = "afterwards"
    method = getattr(request.session, write)
    async_to_sync(method)() if write.startswith("a") else method()
    assert not request.session.modified
    assert list(Session.objects.values()) == rows
