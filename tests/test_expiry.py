"""When a session expires, as the site tells the process."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox.users.expiry import seconds_left

from .conftest import Webhooks
from .test_confirming import STORE, identified, with_token

pytestmark = pytest.mark.django_db

DAY = 86_400.0


class SessionStore(DatabaseSessions):
    """A store of a site that fails where Django's do not."""

    def get_expiry_age(self, **kwargs: Any) -> int:
        raise RuntimeError

    def _get_session_from_db(self) -> None:
        return None


@pytest.fixture(autouse=True)
def age(settings: Any) -> None:
    settings.SESSION_COOKIE_AGE = int(10 * DAY)


def expires(page: Webhooks) -> float | None:
    success, reply = page("connect")
    assert success
    left: float | None = reply.get("expires")
    return left


@pytest.mark.parametrize("store", ["db", "cached_db", "cache", "signed_cookies"])
def test_the_connect_reply_says_when(
    webhooks: type[Webhooks], settings: Any, alice: Any, store: str
) -> None:
    settings.SESSION_ENGINE = STORE + store
    left = expires(webhooks(alice))
    assert left is not None
    assert 9 * DAY < left <= 10 * DAY


def test_a_row_tells_exactly_and_costs_no_query(
    webhooks: type[Webhooks], settings: Any, alice: Any
) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    page = webhooks(alice)
    with CaptureQueriesContext(connection) as before:
        expires(page)
    Session.objects.update(expire_date=timezone.now() + datetime.timedelta(seconds=50))
    with CaptureQueriesContext(connection) as after:
        left = expires(page)
    assert left is not None
    assert 0 < left <= 50
    assert len(after) == len(before)


def test_a_signed_cookie_tells_when_it_was_signed(
    webhooks: type[Webhooks], settings: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SESSION_ENGINE = STORE + "signed_cookies"
    page = webhooks(alice)
    later = timezone.now() + datetime.timedelta(days=9)
    monkeypatch.setattr("djhookbox.users.expiry.timezone.now", lambda: later)
    left = expires(page)
    assert left is not None
    assert left <= DAY


def test_others_do_not_expire(webhooks: type[Webhooks]) -> None:
    assert expires(webhooks()) is None


def test_confirming_tells_the_new_end(
    settings: Any, alice: Any, make_user: Callable[..., Any]
) -> None:
    settings.SESSION_ENGINE = STORE + "db"
    known = [identified(Webhooks(alice), "a"), with_token(make_user("bob"), "t")]
    Session.objects.update(expire_date=timezone.now() + datetime.timedelta(seconds=50))
    nobody = dict.fromkeys(("conn_id", "user", "identity"))
    _success, reply = Webhooks()("confirm", **nobody, connections=json.dumps(known))
    assert list(reply["expires"]) == ["a"]
    assert 0 < reply["expires"]["a"] <= 50


def test_a_store_that_does_not_know(settings: Any) -> None:
    assert seconds_left(SessionStore("k")) is None
    assert seconds_left(object()) is None
